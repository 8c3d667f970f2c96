"""Everything that can happen to a server, at random and at once: no event is lost, doubled or disordered.

`--seed N` repeats what a run did, as far as processes repeat anything. What was done and met is told at the run's end.
"""

import bisect
import contextlib
import json
import random
import sqlite3
import time
from collections import Counter

import pytest

from tests.gunicorn.test_kill import check_file
from tests.support.chaos import Chaos
from tests.support.crowd import (
    DELETED,
    DURABLE,
    ENV,
    HABITS,
    SILENT,
    SMALL,
    SMALL_KEEPS,
    Doors,
    Ledger,
    Publishing,
    Reading,
    Wanderer,
    Wanderers,
    uid_of,
)
from tests.support.servers import Server, await_that
from tests.support.verdict import Verdict

pytestmark = pytest.mark.timeout(400)

#: Of the time that a run is given: for the start, and for the end with its checks.
AROUND_SECONDS = 14

LONG = [pytest.mark.long, pytest.mark.timeout(1800 + 600)]


def publishers(doors, ledger, seed):
    """Who publishes what, and with which pauses at most."""
    plans = [(DURABLE, 0.1), (DURABLE, 0.1), (DURABLE, 0.3), ((SMALL,), 0.1), ((DELETED,), 0.1)]
    return [Publishing(doors, ledger, f"{n} {seed}", pause, channels=its) for n, (its, pause) in enumerate(plans)]


def followers(seed):
    """Who follows what: of one channel and of several, with limits and without, each with its habit."""
    its = [Wanderer((channel,), 1000, hop=3, seed=seed) for channel in DURABLE]
    its += [Wanderer((channel,), 20, habit="leaving", seed=seed) for channel in "ab"]
    its += [
        Wanderer(DURABLE, 50, hop=5, seed=seed),
        Wanderer(DURABLE, 7, hop=2, seed=seed),
        Wanderer(DURABLE, 1000, habit="leaving", seed=seed),
        Wanderer(("c",), 1000, habit="slow", seed=seed),
        Wanderer(("d",), hop=10, seed=seed),
        Wanderer(("d", SMALL, DELETED), 100, hop=3, seed=seed),
        Wanderer((SMALL,), 1000, hop=3, seed=seed),
        Wanderer((SMALL,), 10, habit="slow", seed=seed),
        Wanderer((DELETED,), 1000, hop=3, seed=seed),
        Wanderer((DELETED,), 1000, habit="leaving", seed=seed),
        Wanderer((DELETED,), 500, habit="slow", seed=seed),
    ]
    # They meet nothing but the end of their time.
    return its + [Wanderer((SILENT,), limit, timeout=1, hop=3, seed=seed) for limit in (None, 10)]


class FileVerdict(Verdict):
    """Of a store that is one file, which is there to be looked into."""

    def judge_jobs(self, jobs, held, deleted_at):
        """Each publish that was acknowledged is stored once under its ids, what was refused is not, and the rest once
        or not at all; a batch is whole, and nothing lies within it. `held` is the file: per channel (id, uid)."""
        places = {channel: {uid: place for place, (_, uid) in enumerate(rows)} for channel, rows in held.items()}
        known = set()
        for job in jobs:
            for channel in job.channels:
                of_channel, rows = places.get(channel, {}), held.get(channel, [])
                found = [of_channel[uid] for uid in job.uids if uid in of_channel]
                known |= {(channel, uid) for uid in job.uids}
                name = f"{channel} {job.uids[0]} {job.key}"
                whole = len(found) == len(job.uids)
                if job.ids is not None:
                    if channel in DURABLE or (channel == DELETED and job.begun_at > deleted_at):
                        self.find("lost", len(job.uids) - len(found), f"were acknowledged: {name}")
                    ids = [rows[place][0] for place in found]
                    # Of what is trimmed the end is left.
                    self.find("under another id", ids != job.ids[channel][len(job.uids) - len(found) :], name)
                    self.find("replayed although nothing was cut", job.replayed and not job.cuts, name)
                else:
                    self.find("stored although refused", len(found) if not job.cuts else 0, name)
                    self.find("stored in part", found != [] and not whole, name)
                torn = found != list(range(found[0], found[0] + len(found))) if found else False
                self.find("disordered", torn, f"within the batch {name}")
        for channel, rows in held.items():
            self.find("published by nobody", sum((channel, uid) not in known for _, uid in rows), f"in {channel}")
            self.find("doubled", len(rows) - len(places[channel]), f"in the file, in {channel}")

    def judge_follower(self, follower, truth, held):
        """`truth` is all that was ever acknowledged or stored: per channel (id, uid), by id."""
        self.find("doubled", follower.doubles, f"for {follower.name}")
        self.find("disordered", follower.disorder, f"for {follower.name}")
        for channel in follower.channels:
            events, told = list(zip(follower.ids[channel], follower.uids[channel], strict=True)), follower.told[channel]
            if channel in (*DURABLE, SILENT):
                self.find("gaps told of nothing", len(told), f"for {follower.name} in {channel}")
            right = truth.get(channel, [])
            self.find("met but never published", len(set(events) - set(right)), f"for {follower.name} in {channel}")
            got, told = set(events), set(told)
            ids = [id for id, _ in events]
            # What is missing lies before the event at that place of the follower's, and a gap was told there.
            missing = [event for event in right if event not in got and bisect.bisect(ids, event[0]) not in told]
            self.find("lost", len(missing), f"for {follower.name} in {channel}, the first is {missing[:1]}")
            last = [event for event in held.get(channel, [])[-1:] if event not in got]
            self.find("lost", len(last), f"at the end, for {follower.name} in {channel}")

    def judge_reader(self, seen, held):
        for channel, after, to, count in seen:
            ids = [id for id, _ in held[channel]]
            missing = bisect.bisect(ids, to) - bisect.bisect(ids, after) - count
            self.find("lost", max(0, missing), f"in a page of {channel} from {after} to {to}")
            self.find("doubled", max(0, -missing), f"in a page of {channel} from {after} to {to}")


def stored(server):
    """What the file holds: per channel (id, uid), by id, each with its right content and its link."""
    held, last = {}, {}
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        for channel, id, prev, message in database.execute(
            "SELECT channel, id, prev, message FROM events JOIN channels USING (number) ORDER BY id"
        ):
            # Each names the one before it; of a channel that is trimmed or deleted the first names one that is gone.
            assert prev == last.get(channel, prev)
            last[channel] = id
            held.setdefault(channel, []).append((id, uid_of(json.loads(message))))
    return held


def everything_ever(jobs, held):
    """Per channel (id, uid) of all that was acknowledged or is stored, by id."""
    ever = {channel: set(rows) for channel, rows in held.items()}
    for job in jobs:
        for channel, ids in (job.ids or {}).items():
            ever.setdefault(channel, set()).update(zip(ids, job.uids, strict=True))
    return {channel: sorted(rows) for channel, rows in ever.items()}


@pytest.mark.parametrize("seconds", [25, pytest.param(1800, marks=LONG)])
def test_whatever_happens_to_a_server_no_event_is_lost_doubled_or_disordered(
    tmp_path, record_property, pytestconfig, seconds
):
    begun = time.monotonic()
    seed = pytestconfig.getoption("--seed") or random.randrange(1, 1_000_000)
    print(f"--seed {seed}")
    ledger, verdict = Ledger(), FileVerdict()
    with Server(tmp_path, workers=2, inspected=True, env=ENV) as server:
        doors = Doors(server, seed)
        at_work = [*publishers(doors, ledger, seed), Reading(doors, ledger, f"reader {seed}", 0.5)]
        with Wanderers(doors, followers(seed)) as running:
            chaos = Chaos(server, doors, ledger, running, tmp_path, seed)
            for each in at_work:
                each.start()
            try:
                chaos.run(seconds - AROUND_SECONDS, at_work)
            finally:
                assert server.process.poll() is None, f"it ended by itself:\n{server.output()[-3000:]}"
            for each in at_work:
                each.stopping = True
            for each in at_work:
                each.join(60)
                assert not each.is_alive()
                if each.failure is not None:
                    raise each.failure
            chaos.pulse(HABITS)
            # Also over the wire each durable channel is what the file says, below.
            served = {
                channel: [(event["id"], event["message"]["uid"]) for event in server.events(channel)]
                for channel in DURABLE
            }
        await_that(lambda: server.counts()["polls"] == 0)
        chaos.finish()
    check_file(server)
    held = stored(server)
    verdict.judge_jobs(ledger.jobs, held, chaos.deleted_at)
    truth = everything_ever(ledger.jobs, held)
    for follower in running:
        verdict.judge_follower(follower, truth, held)
    verdict.judge_reader(at_work[-1].seen, held)
    record_property("table", table(seed, begun, chaos, ledger, running, verdict))
    verdict.hold()
    assert not chaos.faults, "\n".join(chaos.faults)
    assert {channel: held[channel] for channel in DURABLE} == served
    assert all(chaos.done.values())
    assert all(each.rounds > seconds / 5 for each in at_work)
    assert all(follower.count > seconds for follower in running if SILENT not in follower.channels)
    assert all(follower.timeouts > seconds / 10 for follower in running if SILENT in follower.channels)
    for follower in running:
        assert set(follower.statuses) <= {200, 503}
        assert follower.left > 0 or follower.habit != "leaving"
    # The long lock at least was met, the cuts were repeated, and gaps came where they may.
    assert sum(job.refusals for job in ledger.jobs) > 0
    assert sum(job.replayed for job in ledger.jobs) > 0
    assert sum(len(follower.told.get(SMALL, ())) for follower in running) > 0


def table(seed, begun, chaos, ledger, running, verdict):
    """What was done and what came of it, for people."""
    jobs, its = ledger.jobs, list(running)
    told = Counter(
        {channel: sum(len(each.told.get(channel, ())) for each in its) for channel in (*DURABLE, SMALL, DELETED)}
    )
    figures = {
        "publishes acknowledged": sum(job.ids is not None for job in jobs),
        "publishes repeated": sum(job.key is not None and job.cuts + job.refusals > 0 for job in jobs),
        "publishes refused (503)": sum(job.refusals for job in jobs),
        "publishes cut": sum(job.cuts for job in jobs),
        "publishes answered as replayed": sum(job.replayed for job in jobs),
        "publishes never acknowledged": sum(job.ids is None for job in jobs),
        "events acknowledged": sum(len(ids) for job in jobs for ids in (job.ids or {}).values()),
        "events delivered": sum(each.count for each in its),
        "polls": sum(each.polls for each in its),
        "polls cut": sum(each.cuts for each in its),
        "polls aborted": sum(each.left for each in its),
        "polls refused (503)": sum(each.statuses[503] for each in its),
        "workers met": len({pid for each in its for pid in each.pids}),
        f"gaps told in the channel that keeps {SMALL_KEEPS} events": told.pop(SMALL, 0),
        "gaps told in the channel of the deletes": told.pop(DELETED, 0),
        "gaps told elsewhere": told.total(),
        **{f"events {kind}": count for kind, count in verdict.counts.items()},
    }
    title = f"everything at random, --seed {seed}, {time.monotonic() - begun:.0f} s"
    return "\n".join([title, *(f"{count:9,}  {name}" for name, count in [*chaos.done.items(), *figures.items()])])
