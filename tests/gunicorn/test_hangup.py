"""A client that leaves takes its poll with it at once, and nothing of it stays behind, ten thousand times over."""

import contextlib
import socket
import time

import pytest

from tests.support.clients import Herd, Line, get, reset, subscription
from tests.support.servers import Server, await_that, make_certificate

# How soon a poll ends after its client has gone; it takes some milliseconds.
GONE_SECONDS = 0.5
# A poll that is not noticed to have lost its client stays for at least this.
HELD_SECONDS = 50

# Polls at once in each round of the normal run, and of the long one. The first has more, so that the memory that a peak
# leaves torn to pieces is there for the second as for the third.
SOME = (5000, 4000, 4000)
MANY = (12_500, 10_000, 10_000)
LEAVES = (socket.socket.close, reset, socket.socket.close)
CHANNELS = 1000


def close(line):
    line.sock.close()


def reset_connection(line):
    reset(line.sock)


def half_close(line):
    line.sock.shutdown(socket.SHUT_WR)


def close_behind_pipelined_data(line):
    line.send(get("/healthz") * 3)
    line.sock.close()


def half_close_behind_pipelined_data(line):
    line.send(get("/healthz") * 3)
    line.sock.shutdown(socket.SHUT_WR)


WAYS = (close, reset_connection, half_close, close_behind_pipelined_data, half_close_behind_pipelined_data)


def is_gone(server, within=GONE_SECONDS):
    """Wait until the server holds no poll, and check that nothing of one is left; returns how long it took."""
    begun = time.monotonic()
    await_that(lambda: server.counts()["polls"] == 0, within)
    counts = server.counts()
    assert (counts["waiters"], counts["hang_ups"]) == (0, 0)
    return time.monotonic() - begun


def parked(server, channels="news"):
    """A line with a poll parked on it."""
    line = Line(server).send(subscription(channels, timeout=HELD_SECONDS))
    await_that(lambda: server.counts()["polls"] == 1)
    return line


@pytest.fixture(scope="module")
def conf_server(worker, tmp_path_factory):
    with Server(tmp_path_factory.mktemp("conf"), inspected=True) as server:
        yield server


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("plain"), inspected=True, conf=False) as server:
        yield server


@pytest.fixture(scope="module")
def tls_server(worker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    with Server(folder, inspected=True, tls=make_certificate(folder)) as server:
        yield server


@pytest.mark.parametrize("leave", WAYS)
def test_the_poll_of_a_client_that_leaves_ends_at_once(conf_server, leave):
    line = parked(conf_server)
    leave(line)
    is_gone(conf_server)
    line.sock.close()


@pytest.mark.parametrize("leave", [close, reset_connection, half_close])
def test_so_it_does_on_the_plain_worker(plain_server, leave):
    line = parked(plain_server)
    leave(line)
    is_gone(plain_server)
    line.sock.close()


def test_a_client_that_closed_only_its_own_direction_still_gets_the_answer(conf_server):
    with parked(conf_server) as line:
        half_close(line)
        answer = line.answer()
        assert answer.status == 200
        assert answer.json()["status"] == "timeout"
        assert int(answer.headers[b"last-event-id"]) == answer.json()["last_event_id"]
        # And the connection ends, as the client's own did.
        assert line.answer() is None


def test_a_client_that_closed_its_own_direction_behind_requests_gets_all_answers_in_order(conf_server):
    with parked(conf_server) as line:
        half_close_behind_pipelined_data(line)
        answers = [line.answer() for _ in range(4)]
        assert [answer.status for answer in answers] == [200] * 4
        assert answers[0].json()["status"] == "timeout"
        assert [answer.json() for answer in answers[1:]] == [{"status": "alive"}] * 3


def test_a_client_that_closed_its_own_direction_before_the_poll_was_parked_is_answered(conf_server):
    with Line(conf_server) as line:
        line.send(subscription("news", timeout=HELD_SECONDS))
        half_close(line)
        assert line.answer().json()["status"] == "timeout"
    is_gone(conf_server)


def test_a_poll_of_many_channels_ends_in_all_of_them(conf_server):
    line = parked(conf_server, ",".join(f"many-{number}" for number in range(100)))
    reset(line.sock)
    is_gone(conf_server)


def unwrap_and_close(line):
    """End TLS in order: a closing alert, then the connection."""
    line.sock.settimeout(0)
    with contextlib.suppress(OSError):  # the server's own alert is not waited for
        line.sock.unwrap()
    line.sock.close()


@pytest.mark.parametrize("leave", [close, unwrap_and_close, reset_connection, close_behind_pipelined_data])
def test_the_poll_of_a_tls_client_that_leaves_ends_at_once(tls_server, leave):
    line = parked(tls_server)
    leave(line)
    is_gone(tls_server)


def test_a_client_that_leaves_does_not_end_the_polls_of_others(conf_server):
    with Herd(conf_server) as stay, Herd(conf_server) as go:
        stay.add(subscription("news", timeout=HELD_SECONDS), 20)
        go.add(subscription("news", timeout=HELD_SECONDS), 20)
        await_that(lambda: conf_server.counts()["polls"] == 40)
        go.leave()
        await_that(lambda: conf_server.counts()["polls"] == 20, GONE_SECONDS)
        id = conf_server.publish("news", "to those who stay")
        stay.read(lambda: len(stay.answers) == 20)
        assert {answer.json()["id"] for answer in stay.answers} == {id}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rounds", [SOME, pytest.param(MANY, marks=pytest.mark.long)], ids=sum)
def test_after_thousands_of_polls_that_were_left_everything_is_as_before(tmp_path, record_property, rounds):
    env = {"BIDE_PRESENCE_SECONDS": 0, "TEST_IDLE_SECONDS": 1}
    with Server(tmp_path, inspected=True, env=env) as server:
        # What is made at its first use is no leak.
        server.publish("first", "use")
        reset(parked(server, "leak-0").sock)
        empty, light = settled(server)
        weights = [left_behind(server, polls, leave, empty, light) for polls, leave in zip(rounds, LEAVES, strict=True)]
        if weights[-1]["resident"] > weights[-2]["resident"] * 1.02:
            # The allocator may lay a round out by some per cent worse than the one before, once; a leak comes again.
            weights.append(left_behind(server, rounds[-1], LEAVES[-1], empty, light))
        *_, second, third = weights
        for name in ("resident", "blocks"):
            record_property(name, [each[name] for each in (light, *weights)])
        assert third["resident"] <= second["resident"] * 1.02
        # Finer than pages: a single object that each poll left behind would be nearly twice that, or five times.
        assert third["blocks"] <= second["blocks"] * 1.01


def left_behind(server, polls, leave, empty, light):
    """Park so many polls, let all their clients leave, and give the server's weight once everything is as before."""
    with Herd(server) as herd:
        for number in range(1, polls + 1):
            herd.add(subscription(f"leak-{number % CHANNELS}", timeout=HELD_SECONDS))
            if number % 500 == 0:  # not all at once: its backlog ends somewhere
                await_that(lambda number=number: server.counts()["polls"] == number)
        held = server.counts()
        assert held["waiters"] == held["present"] == polls
        assert held["tails"] == CHANNELS
        assert server.weight()["descriptors"] >= light["descriptors"] + polls
        herd.leave(leave)
    return settled(server, (empty, light))[1]


def settled(server, before=None):
    """Wait until nothing of a poll is held and the process holds what it held before; gives counts and weight.

    Where that is not known yet, until it no more changes.
    """

    def known(weight):
        return weight["greenlets"], weight["descriptors"]

    await_that(lambda: not any(server.counts().values()), step=0.05)
    if before is None:
        # The log of the store, its thread and what it opens come within a second.
        weights = [server.weight()]
        while len(weights) < 4 or len(set(map(known, weights[-4:]))) > 1:
            assert len(weights) < 100, weights
            time.sleep(0.5)
            weights.append(server.weight())
        return server.counts(), weights[-1]
    weight = None

    def same():
        nonlocal weight
        weight = server.weight()
        return known(weight) == known(before[1])

    try:
        await_that(same, step=0.1)
    except AssertionError:
        assert weight == before[1]
        raise
    counts = server.counts()
    assert counts == before[0]
    return counts, weight
