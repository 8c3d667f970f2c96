"""Random and mutated bytes on the socket: no 5xx, no traceback, nothing held longer than it may be, nothing left
behind; and beside it well-behaved clients get each event once and in order.

`--seed N` repeats what a run sent; a fault names its seed and number, which make the same bytes again.
"""

import itertools
import random
import threading
import time

import pytest

from tests.support.clients import Follower, Followers, Publisher, publishing
from tests.support.noise import KINDS, Noise
from tests.support.servers import Server, await_that

#: A seed of the short form, which is the same in every run.
SEED = 1
ROUND = 1000
HOLD_SECONDS = 1
#: The longest of what is documented, shortened: a head, then for each of several pipelined requests its hold, its body
#: and the rest of it that is thrown away, and an idle connection's time. On a busy machine it may be late.
WITHIN_SECONDS = 40
ENV = {
    "TEST_HEAD_SECONDS": 1,
    "TEST_BODY_SECONDS": 1,
    "TEST_IDLE_SECONDS": 0.5,
    # What is remembered up to a bound (matched paths, say) is to reach it in the first round.
    "TEST_REMEMBERED": 100,
    "BIDE_DEFAULT_TIMEOUT_SECONDS": HOLD_SECONDS,
    "BIDE_MAX_TIMEOUT_SECONDS": HOLD_SECONDS,
    "BIDE_PRESENCE_SECONDS": 0,
}
OPTIONS = ("--keep-alive", "2")
#: After a first round, which fills caches, a worker may have so much more of it, however many rounds come. It is less
#: than one object for each request that is answered.
MORE = {"blocks": 1500, "descriptors": 2, "greenlets": 5, "resident": 6 * 1024 * 1024}
#: Minutes bring sixty rounds.
OF_MINUTES = MORE | {"blocks": 3000}
#: Minutes of publishing fill SQLite's page caches and tails, and what these leave of the heap is not whole again.
OF_LOAD = OF_MINUTES | {"resident": 16 * 1024 * 1024}
HEALTH_SECONDS = 3

LONG_SECONDS = 180
LONG = [pytest.mark.long, pytest.mark.timeout(LONG_SECONDS + 300)]

CHANNELS = 20


def serving(folder, workers=1):
    return Server(folder, inspected=True, workers=workers, env=ENV, options=OPTIONS)


def at_rest(server):
    """What the one worker holds once nothing is held for a client any more."""
    await_that(lambda: not any(server.counts().values()))
    await_that(lambda: server.weight()["connections"] == 1)
    return server.weight()


def check_left(before, after, more=MORE):
    grown = {what: after[what] - before[what] for what in more}
    assert {what: count for what, count in grown.items() if count > more[what]} == {}, grown


class Health(threading.Thread):
    """Asks whether the server answers, from entry to exit of a `with` block; `slowest` is how long that took."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self._server = server
        self._stopping = False
        self.slowest = 0.0
        self.asked = 0
        self.failure = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stopping = True
        self.join()

    def run(self):
        try:
            while not self._stopping:
                begun = time.monotonic()
                assert self._server.get("/healthz")[0] == 200
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.asked += 1
                time.sleep(0.05)  # the pace of the asking
        except BaseException as error:
            self.failure = error

    def check(self):
        if self.failure is not None:
            raise self.failure
        assert self.asked
        assert self.slowest < HEALTH_SECONDS


def paced(channels):
    """Events for each channel in turn, without an end."""
    for number in itertools.count():
        yield channels[number % len(channels)], [{"number": number}]
        time.sleep(0.005)  # the pace of the publisher


def check_noise(noise):
    assert noise.faults == []
    assert {kind.__name__ for kind in KINDS} == {name.partition(",")[0] for name in noise.done if "," in name}
    assert noise.done["status 200"]
    assert noise.done["status 400"]


def check_load(followers, publisher):
    """Every event came to every follower of its channel, once and in order."""
    acknowledged = {follower.path: [] for follower in followers}
    for channel, ids, messages in publisher.acknowledged:
        acknowledged[channel] += zip(ids, messages, strict=True)
    assert publisher.refused == []
    assert publisher.unanswered is None
    followers.await_count(lambda each: len(acknowledged[each.path]))
    for follower in followers:
        assert follower.events[follower.path] == acknowledged[follower.path]
        assert follower.faults == {"gaps": 0, "doubles": 0, "disorder": 0}
        assert set(follower.statuses) == {200}
        assert not follower.cuts


def attack(server, seed, rounds, loaded):
    """Send rounds of noise; with a load beside it, which is judged. Returns what was sent and came, counted."""
    with Noise(server, seed, WITHIN_SECONDS) as noise, Health(server) as health:
        if not loaded:
            for _ in rounds:
                noise.send(ROUND)
        else:
            channels = [f"well-behaved-{seed}-{number}".replace(" ", "-") for number in range(CHANNELS)]
            its = [Follower((channel,), limit, timeout=HOLD_SECONDS) for channel in channels for limit in (None, 100)]
            with Followers(server, its) as followers:
                with publishing([Publisher(server, paced(channels))]) as (publisher,):
                    for _ in rounds:
                        noise.send(ROUND)
                check_load(followers, publisher)
                assert len(publisher.acknowledged) > ROUND / 20
    health.check()
    check_noise(noise)
    return noise.done


@pytest.mark.parametrize("loaded", [pytest.param(False, marks=pytest.mark.long), True], ids=["alone", "with load"])
def test_noise_is_answered_or_closed_and_leaves_nothing_behind(tmp_path, loaded):
    with serving(tmp_path) as server:
        attack(server, SEED, range(1), loaded)
        before = at_rest(server)
        attack(server, SEED + 1, range(2), loaded)
        check_left(before, at_rest(server))
        assert "Traceback" not in server.output()


def test_noise_on_two_workers_costs_well_behaved_clients_nothing(tmp_path):
    with serving(tmp_path, workers=2) as server:
        pids = server.worker_pids()
        attack(server, SEED + 2, range(1), loaded=True)
        assert "Traceback" not in server.output()
        assert server.worker_pids() == pids


def for_seconds(seconds):
    """Rounds for so long."""
    end = time.monotonic() + seconds
    return itertools.takewhile(lambda _: time.monotonic() < end, itertools.count())


@pytest.mark.parametrize(
    ("workers", "loaded"),
    [pytest.param(1, False, marks=LONG), pytest.param(1, True, marks=LONG), pytest.param(2, True, marks=LONG)],
    ids=["alone", "with load", "two workers"],
)
def test_noise_for_minutes_leaves_no_more_behind(tmp_path, request, record_property, workers, loaded):
    seed = request.config.getoption("--seed") or random.randrange(10**6)
    print(f"--seed {seed}")
    with serving(tmp_path, workers) as server:
        done = attack(server, f"{seed} first", range(1), loaded)
        before = at_rest(server) if workers == 1 else None
        done += attack(server, seed, for_seconds(LONG_SECONDS), loaded)
        if workers == 1:
            check_left(before, at_rest(server), OF_LOAD if loaded else OF_MINUTES)
        assert "Traceback" not in server.output()
    counted = [f"{count:9,}  {name}" for name, count in sorted(done.items())]
    record_property("table", "\n".join([f"noise, --seed {seed}", *counted]))
