"""An idle channel is forgotten an hour after its last event, but not while any worker has a subscriber of it.

By a clock that is turned; a round of housekeeping, five seconds otherwise, takes a part of one.
"""

import contextlib
import os
import signal
import sqlite3

from tests.gunicorn.test_clock import HOUR, Clock
from tests.support.clients import get, line_to, subscription
from tests.support.servers import Server, await_that

RETENTION_SECONDS = 60
ROUND_SECONDS = 0.1
#: A subscriber's worker says so in the file this long before the head is due, and for so long.
EARLY_SECONDS, KEPT_SECONDS = 150, 300


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def channels(server):
    """The channels that have a head, and until when the file says that it is kept, in seconds."""
    database = sqlite3.connect(server.database)
    try:
        return dict(database.execute("SELECT channel, kept_us / 1e6 FROM channels"))
    finally:
        database.close()


def told_a_gap(line, channel, cursor, above):
    """A poll of a channel that was forgotten, with a cursor from before; the cursor that it hands out."""
    assert line.ask(get(f"/channels/{channel}")).status == 404
    page = line.ask(subscription(channel, cursor, timeout=0)).json()
    assert page["gap"] is True
    assert page["oldest_event_id"] is None
    assert page["last_event_id"] > above
    return page["last_event_id"]


def test_a_channel_keeps_its_head_while_either_worker_has_a_subscriber_and_is_forgotten_then(tmp_path):
    clock = Clock(tmp_path / "clock")
    env = {
        "TEST_CLOCK": clock.path,
        "TEST_SWEEP_SECONDS": ROUND_SECONDS,
        "BIDE_RETENTION_SECONDS": RETENTION_SECONDS,
        "BIDE_PRESENCE_SECONDS": 0,
    }
    with Server(tmp_path, workers=2, inspected=True, env=env) as server:
        with_subscriber, without = server.worker_pids()
        (before_idle, idle), (before_kept, kept) = (server.publish_all(name, [1, 2]) for name in ("idle", "kept"))
        published_at = kept / 1e6
        with line_to(server, with_subscriber) as waiting, line_to(server, without) as other:
            waiting.send(subscription("kept", kept))
            clock.set(2 * RETENTION_SECONDS)
            # The events are over at once for who asks, and the rows soon after; the heads stay.
            for channel, head in (("idle", idle), ("kept", kept)):
                page = server.poll(channel, last_event_id=head)
                assert page["last_event_id"] == head
                assert "gap" not in page
                assert server.poll(channel, limit=10)["events"] == []
            assert set(channels(server)) == {"idle", "kept"}
            # The subscriber's worker says that it has one, before the head is due.
            clock.set(HOUR - EARLY_SECONDS + 50)
            await_that(lambda: channels(server)["kept"] > published_at + HOUR - EARLY_SECONDS + KEPT_SECONDS)
            with stopped(with_subscriber):
                # The other one is alone with the heads that are due, and looks at both of them in one step.
                clock.set(HOUR + 50)
                await_that(lambda: "idle" not in channels(server))
                assert set(channels(server)) == {"kept"}
            for more in range(100, 1000, 200):
                clock.set(HOUR + more)
                await_that(lambda more=more: channels(server)["kept"] > published_at + HOUR + more + KEPT_SECONDS - 1)
            # Who was away is told of nothing where nothing came.
            page = other.ask(subscription("kept", kept, timeout=0)).json()
            assert page == {"status": "timeout", "channel": "kept", "last_event_id": kept}
            told_a_gap(other, "idle", before_idle, above=idle)
        # Nobody subscribes any more.
        clock.set(2 * HOUR)
        await_that(lambda: channels(server) == {})
        for pid in (with_subscriber, without):
            with line_to(server, pid) as line:
                told_a_gap(line, "idle", before_idle, above=idle)
                cursor = told_a_gap(line, "kept", before_kept, above=kept)
        sent = server.publish("kept", 3)
        assert sent > cursor
        page = server.poll("kept", last_event_id=cursor)
        assert page["id"] == sent
        assert "gap" not in page
