"""A server that is asked to stop answers everyone who waits, tells each to go elsewhere, and is gone soon."""

import itertools
import os
import signal
import time

import pytest

from tests.support.clients import (
    Follower,
    Followers,
    Herd,
    Line,
    Publisher,
    get,
    post,
    published,
    publishing,
    subscription,
)
from tests.support.servers import Server, await_that, is_running

DRAIN_SECONDS = 1
ENV = {"BIDE_DRAIN_SECONDS": DRAIN_SECONDS}

# With the checkout's gunicorn.conf.py, and as `gunicorn -k gevent wsgi:app` from a folder without it.
STARTS = pytest.mark.parametrize("conf", [pytest.param(True, id="conf"), pytest.param(False, id="plain")])


def park(server, herd, count, channel="parked"):
    """Add so many parked polls to the herd, and wait until the server holds them."""
    before = server.counts()["polls"]
    herd.add(subscription(channel), count)
    await_that(lambda: server.counts()["polls"] == before + count)


def is_timeout(answer, channel="parked"):
    """Whether a poll was answered as if its time were up, with a cursor, on a connection that closes."""
    body = answer.json()
    return (
        answer.status == 200
        and body["status"] == "timeout"
        and body["channel"] == channel
        and answer.headers[b"last-event-id"] == b"%d" % body["last_event_id"]
        and answer.closes
    )


@STARTS
def test_on_sigterm_all_parked_polls_are_answered_spread_over_the_drain_time_and_the_server_is_gone(tmp_path, conf):
    with Server(tmp_path, conf=conf, inspected=True, env=ENV) as server:
        first = server.publish("parked", "first")
        with Herd(server) as parked, Herd(server) as idle, Herd(server) as silent:
            parked.add(subscription("parked", first), 500)
            await_that(lambda: server.counts()["polls"] == 500)
            idle.add(get("/healthz"), 200)
            idle.read(lambda: len(idle.answers) == 200)
            silent.add(b"", 20)
            asked_at = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            parked.read(lambda: not parked.open)
            code, took = server.await_end(asked_at)
            # They were all kept until then, and were told to go without a byte.
            idle.read(lambda: not idle.open)
            silent.read(lambda: not silent.open)
        assert code == 0, server.output()
        assert took < 4
        assert len(parked.answers) == 500
        assert parked.torn == 0
        assert all(is_timeout(answer) and answer.json()["last_event_id"] == first for answer in parked.answers)
        times = sorted(answer.at - asked_at for answer in parked.answers)
        assert times[-1] < DRAIN_SECONDS + 1
        # Spread: not one herd at the begin, nor at the end.
        assert times[-1] - times[0] > DRAIN_SECONDS / 2
        in_one_fifth = max(sum(at <= each < at + DRAIN_SECONDS / 5 for each in times) for at in times)
        assert in_one_fifth < 300
        assert len(idle.answers) == 200
        assert (idle.torn, silent.torn, silent.answers) == (0, 0, [])


@STARTS
def test_a_publish_that_is_in_work_when_the_server_stops_is_finished_and_stored(tmp_path, conf):
    with Server(tmp_path, conf=conf, inspected=True, env=ENV) as server:
        request = post("/publish/late", {"message": "in the drain"})
        with Line(server) as line, Herd(server) as parked:
            # On a connection that was idle before: such a one is shut, unless it has asked again.
            assert line.ask(get("/healthz")).status == 200
            line.send(request[:-5])
            park(server, parked, 10)
            asked_at = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            # The drain has begun once a poll is answered.
            parked.read(lambda: parked.answers)
            answer = line.ask(request[-5:])
            code, took = server.await_end(asked_at)
        assert (code, answer.status, answer.closes) == (0, 200, True)
        assert took < 4
        server.start()
        (event,) = server.events("late")
        assert (event["id"], event["message"]) == (answer.json()["event_id"], "in the drain")


@STARTS
def test_a_poll_that_comes_while_the_server_stops_is_answered_soon(tmp_path, conf):
    """Once draining, a worker lets connections that it has taken just before ask once.

    They have half a second for it. Where a busy machine let none of them come in time, it is tried again.
    """
    for attempt in range(8):
        with (
            Server(tmp_path / str(attempt), conf=conf, inspected=True, env={"BIDE_DRAIN_SECONDS": 4}) as server,
            Herd(server) as parked,
            Herd(server) as late,
        ):
            park(server, parked, 200)
            late.add(b"", 10)
            server.process.send_signal(signal.SIGTERM)
            parked.read(lambda parked=parked: parked.answers)
            begun = time.monotonic()
            for sock in late.open:
                sock.send(subscription("late"))
            # Each is answered, or was told to go before it asked.
            late.read(lambda late=late: not late.open)
            assert all(is_timeout(answer, "late") and answer.at - begun < 2 for answer in late.answers)
            assert late.torn == 0
            # The drain itself takes its time.
            assert len(parked.answers) < 200
        if late.answers:
            return
    pytest.fail("no poll came in time to be answered")


def test_a_poll_on_a_kept_connection_that_comes_with_the_signal_is_answered(tmp_path):
    """The worker is held still, so that it finds the poll and the signal at the same moment."""
    with Server(tmp_path, inspected=True, env=ENV) as server:
        (worker,) = server.worker_pids()
        lines = [Line(server) for _ in range(20)]
        for line in lines:
            assert line.ask(get("/healthz")).status == 200
        os.kill(worker, signal.SIGSTOP)
        asked_at = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        os.kill(worker, signal.SIGTERM)
        for line in lines:
            line.send(subscription("kept"))
        os.kill(worker, signal.SIGCONT)
        answers = [line.answer() for line in lines]
        assert all(answer is not None and is_timeout(answer, "kept") for answer in answers)
        assert max(answer.at for answer in answers) - asked_at < DRAIN_SECONDS + 1
        code, _ = server.await_end(asked_at)
        assert code == 0
        for line in lines:
            line.sock.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["SIGINT", "SIGQUIT"])
def test_on_a_quick_stop_every_poll_is_answered_wholly_or_closed_and_the_server_is_gone(
    tmp_path, number, record_property
):
    with Server(tmp_path, inspected=True, env=ENV) as server, Herd(server) as parked:
        park(server, parked, 200)
        code, took = server.terminate(number)
        parked.read(lambda: not parked.open)
        record_property("answered", len(parked.answers))
        record_property("cut", parked.cut)
        assert code == 0
        assert took < 4
        assert len(parked.answers) + parked.cut == 200
        assert parked.torn == 0
        assert all(is_timeout(answer) for answer in parked.answers)


@STARTS
def test_on_sighup_nothing_is_lost_or_doubled_and_the_old_workers_polls_are_answered(tmp_path, conf, record_property):
    channels = ("a", "b")
    followers = [Follower((channel,), limit) for channel in channels for limit in (None, 100) for _ in range(5)]
    with Server(tmp_path, conf=conf, inspected=True, env=ENV | {"BIDE_RETENTION_EVENTS": 100_000}) as server:
        publishers = [Publisher(server, steady(number, channels), keep=False) for number in range(3)]
        pids = set(server.worker_pids())
        with Followers(server, followers) as running, Herd(server) as parked:
            await_that(lambda: server.counts()["polls"] == len(followers))
            park(server, parked, 100)
            with publishing(publishers):
                await_that(lambda: all(len(each.acknowledged) > 10 for each in publishers))
                for _ in range(2):
                    before = [len(each.acknowledged) for each in publishers]
                    old = server.hup()
                    assert not any(map(is_running, old))
                    pids.update(server.worker_pids())
                    await_that(
                        lambda before=before: all(
                            len(each.acknowledged) > count + 10 for each, count in zip(publishers, before, strict=True)
                        )
                    )
            stored = published(publishers)
            running.await_count(lambda follower: len(stored[follower.channels[0]]))
            parked.read(lambda: not parked.open)
        assert len(pids) == 3
        assert all(each.refused == [] and each.unanswered is None for each in publishers)
        for follower in followers:
            assert follower.faults == {"gaps": 0, "doubles": 0, "disorder": 0}
            assert follower.events == {channel: stored[channel] for channel in follower.channels}
            assert set(follower.statuses) == {200}
            assert follower.torn == 0
        assert len(parked.answers) == 100
        assert all(is_timeout(answer) for answer in parked.answers)
        assert {event["id"] for channel in channels for event in server.events(channel)} == {
            id for channel in channels for id, _ in stored[channel]
        }
        record_property("cut on kept connections", sum(follower.cuts for follower in followers))


def steady(number, channels):
    """One publish in some milliseconds, for as long as it is asked for."""
    for each in itertools.count():
        yield channels[each % len(channels)], [{"by": number, "n": each}]
        time.sleep(0.005)


@STARTS
def test_clients_that_come_back_in_the_drain_are_held_and_not_answered_again_and_again(tmp_path, conf):
    """gunicorn accepts for up to a second after it was told to stop: each client was answered sixty times in it."""
    with Server(tmp_path, conf=conf, inspected=True, env=ENV) as server, Herd(server) as herd:
        park(server, herd, 20)
        server.process.send_signal(signal.SIGTERM)
        seen = 0
        while server.process.poll() is None:
            herd.read(lambda seen=seen: len(herd.answers) > seen or server.process.poll() is not None)
            came, seen = len(herd.answers) - seen, len(herd.answers)
            herd.add(subscription("parked"), came)
        assert server.process.returncode == 0
        assert 20 <= seen <= 2 * 20
        assert all(map(is_timeout, herd.answers))


@STARTS
def test_a_server_that_stopped_leaves_one_file_and_no_sockets(tmp_path, conf):
    """The file alone is then a whole copy of the store."""
    with Server(tmp_path, conf=conf) as server:
        server.publish("a", 1)
        assert server.terminate()[0] == 0
        assert sorted(path.name for path in server.data.iterdir()) == ["bide.db", "bide.db-listeners"]
        assert not list((server.data / "bide.db-listeners").iterdir())
        assert "Traceback" not in server.output()


def test_a_stop_before_the_workers_have_begun_is_not_forgotten(tmp_path):
    """The signal met the master's handler in a worker that had just been forked: it served on for ten seconds."""
    with Server(tmp_path, workers=2) as server:
        for number in range(6):
            # Later each time, over what a worker needs until it has handlers of its own.
            server.terminate()
            server.await_ready = lambda: None
            server.start()
            await_that(lambda: len(server.worker_pids()) == 2, step=0.001)
            time.sleep(number * 0.02)
            code, seconds = server.terminate()
            assert code == 0
            assert seconds < 5  # an idle server needs none
