"""`kill -9` under load: what was acknowledged stays, what was not is there wholly or not at all.

Each round kills the server while publishes are unanswered, in one of two ways. Either the worker kills itself at a
point of the aimed publish (before it, at a statement of its transaction, after its commit), and the master starts
another; or the whole server is killed from outside, some time after the aimed publish was sent, and started again.
"""

import itertools
import os
import signal
import sqlite3
import time
from collections import Counter

import pytest

from tests.support.clients import (
    Follower,
    Followers,
    Herd,
    Line,
    Publisher,
    post,
    publication,
    publishing,
    subscription,
)
from tests.support.servers import Server, await_that, is_running

CHANNELS = ("a", "b", "c")

# Where each round's kill is aimed: at a point in the worker's work on a publish, or from outside, milliseconds after
# its last byte was sent. A batch of 200 and what is in work before it take some milliseconds.
WITHIN = ("before", "1", "2", "4", "5", "9", "40", "150", "after", "after")
OUTSIDE = (0, 0.3, 0.6, 1, 1.5, 2, 2.5, 3, 4, 7)
AIMS = tuple(itertools.chain.from_iterable(zip(WITHIN, OUTSIDE, strict=True)))
# Of a normal run: the ends of both, and one that may hit amid it.
SOME_AIMS = ("before", 0, "4", 1, "40", 2.5, "after", 7)

ENV = {"BIDE_RETENTION_EVENTS": 100_000}

_numbers = itertools.count()


def fresh(count):
    """Messages that no other publish has."""
    return [{"uid": next(_numbers)} for _ in range(count)]


def endless(channel):
    """Jobs of a publisher under load: single events and small batches."""
    for size in itertools.cycle((1, 1, 8, 1, 20)):
        yield channel, fresh(size)


def uids(messages):
    return [message["uid"] for message in messages]


class Book:
    """What is known of the publishes so far, and what the server must hold because of it."""

    def __init__(self):
        self.acknowledged = {}
        self.unanswered = []

    def note(self, channel, ids, messages):
        for id, message in zip(ids, messages, strict=True):
            assert id not in self.acknowledged.get(channel, {}), "an id was given twice"
            self.acknowledged.setdefault(channel, {})[id] = message

    def check(self, server):
        """Hold every channel against the book; returns the events per channel."""
        held = {channel: server.events(channel) for channel in CHANNELS}
        for channel, events in held.items():
            ids = [event["id"] for event in events]
            assert ids == sorted(set(ids)), "ids must grow, none twice"
            by_id = {event["id"]: event["message"] for event in events}
            missing = {id for id, message in self.acknowledged.get(channel, {}).items() if by_id.get(id) != message}
            assert not missing, f"{len(missing)} acknowledged events are missing in {channel}"
        times = Counter(event["message"]["uid"] for events in held.values() for event in events)
        assert max(times.values(), default=1) == 1, "an event is there twice"
        known = {uid for each in self.acknowledged.values() for uid in uids(each.values())}
        sequences = {channel: uids(event["message"] for event in events) for channel, events in held.items()}
        for channel, messages in self.unanswered:
            sent, sequence = uids(messages), sequences[channel]
            if sent[0] in times:
                begin = sequence.index(sent[0])
                assert sequence[begin : begin + len(sent)] == sent, "a batch is whole, and nothing lies within it"
                known.update(sent)
            else:
                assert not times.keys() & set(sent), "a batch is stored wholly or not at all"
        assert set(times) <= known, "there is an event that nobody published"
        return held


def check_file(server):
    database = sqlite3.connect(server.database)
    try:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        # The counts that bounds are held by agree with the rows.
        wrong = database.execute(
            "SELECT channel FROM channels "
            "WHERE events != (SELECT count(*) FROM events WHERE number = channels.number AND id > deleted_to) "
            "OR keys != (SELECT count(*) FROM idempotency WHERE number = channels.number)"
        )
        assert wrong.fetchall() == []
    finally:
        database.close()


def kill_amid(server, line, request, aim, late, last):
    """Send the aimed publish and kill the server amid it; returns when that was.

    From outside a last publish (on the line `late`) goes out in the moment before the kill, so that there is one that
    is not answered however long the aim is.
    """
    (worker,) = server.worker_pids()
    line.send(request)
    if isinstance(aim, str):
        await_that(lambda: not is_running(worker))
        # Not the moment of the kill, but none is later: what was sent before it and not answered was met by it.
        return time.monotonic()
    time.sleep(aim / 1000)
    late.send(last)
    killed_at = time.monotonic()
    os.killpg(server.pid, signal.SIGKILL)
    server.kill9()
    return killed_at


@pytest.mark.timeout(600)
@pytest.mark.parametrize("aims", [SOME_AIMS, pytest.param(AIMS, marks=pytest.mark.long)], ids=len)
def test_killed_again_and_again_under_load_nothing_acknowledged_is_lost_and_nothing_comes_twice(
    tmp_path, record_property, aims
):
    book = Book()
    aimed = Counter()
    followers = [Follower((channel,), limit) for channel in CHANNELS for limit in (1000, 50)]
    followers += [Follower(CHANNELS, 1000), Follower(("quiet",))]
    with Server(tmp_path, inspected=True, env=ENV) as server, Followers(server, followers) as running:
        quiet = []
        for number, aim in enumerate(aims):
            # Two cursors from before the kill: of a channel without an event, and of one that has some.
            unborn = server.poll(f"unborn-{number}", timeout=0)["last_event_id"]
            beginning = server.poll("a", last_event_id="latest")["last_event_id"]
            headers = [f"Idempotency-Key: key-{number}"] if number % 4 < 2 else []
            channel, messages = CHANNELS[number % 3], fresh(1 if number % 5 == 0 else 200)
            die = [f"X-Die: {aim}"] if isinstance(aim, str) else []
            load = [Publisher(server, endless(channel)) for channel in CHANNELS]
            last = fresh(1)
            with Line(server) as line, Line(server) as late, Herd(server) as parked:
                parked.add(subscription(f"nothing-{number}"), 20)
                with publishing(load):
                    await_that(lambda load=load: all(len(each.acknowledged) >= 5 for each in load))
                    await_that(lambda: server.counts()["polls"] >= 20)
                    request = publication(channel, messages, *headers, *die)
                    killed_at = kill_amid(server, line, request, aim, late, publication("b", last))
                    answer = line.answer()
                    # Where the worker killed itself nothing was sent on that line, and so nothing answered.
                    last_answer = late.answer()
                    # The load ends by itself, each at the publish that was not answered.
                    for publisher in load:
                        publisher.finish()
                parked.read(lambda parked=parked: not parked.open)
                assert parked.answers == []
                assert parked.torn == 0
            if not isinstance(aim, str):
                server.start()
            server.await_ready()
            check_file(server)
            for publisher in load:
                assert publisher.refused == []
                assert publisher.unanswered is not None
                book.unanswered.append(publisher.unanswered)
                for acknowledged in publisher.acknowledged:
                    book.note(*acknowledged)
            for each, its_channel, its_messages in ((answer, channel, messages), (last_answer, "b", last)):
                if each is not None:
                    book.note(its_channel, ids_of(each), its_messages)
                else:
                    book.unanswered.append((its_channel, its_messages))
            met = sum(publisher.sent_at < killed_at for publisher in load)
            assert met or answer is None or last_answer is None, "the kill met no publish"
            held = book.check(server)
            stored = any(event["message"] == messages[0] for event in held[channel])
            if answer is not None:
                aimed["answered before the kill"] += 1
            else:
                aimed["unanswered and stored" if stored else "unanswered and not stored"] += 1
                if isinstance(aim, str):
                    assert stored == (aim == "after")
            if headers:
                retry_aimed_publish(server, book, channel, messages, headers, answer, stored)
            check_cursors(server, number, unborn, beginning, book)
            quiet.append((server.publish("quiet", number), number))
        for outcome, rounds in aimed.items():
            record_property(outcome, rounds)
        # Both endings were met.
        assert aimed["unanswered and stored"] > 0
        assert aimed["unanswered and not stored"] > 0
        held = {channel: [(each["id"], each["message"]) for each in server.events(channel)] for channel in CHANNELS}
        held["quiet"] = quiet
        running.await_count(lambda follower: sum(len(held[channel]) for channel in follower.channels))
    for follower in followers:
        assert follower.faults == {"gaps": 0, "doubles": 0, "disorder": 0}
        assert follower.events == {channel: held[channel] for channel in follower.channels}
        assert follower.cuts > 0
    assert [name for name in (tmp_path / "data").iterdir() if name.suffix == ".db"] == [server.database]


def ids_of(answer):
    body = answer.json()
    return body.get("event_ids", [body["event_id"]])


def retry_aimed_publish(server, book, channel, messages, headers, answer, was_stored):
    """The publisher's retry of a publish of which it does not know: stored once, whatever came of the first."""
    with Line(server) as line:
        retried = line.ask(publication(channel, messages, *headers))
    assert retried.status == 200
    assert (b"idempotency-replayed" in retried.headers) == was_stored
    if answer is None:
        book.note(channel, ids_of(retried), messages)
    else:
        assert retried.json() == answer.json()
    book.check(server)


def check_cursors(server, number, unborn, beginning, book):
    """Cursors that were handed out before the kill lose nothing after it."""
    id = server.publish(f"unborn-{number}", "born")
    page = server.poll(f"unborn-{number}", last_event_id=unborn)
    assert (page["id"], page["message"]) == (id, "born")
    assert "gap" not in page
    messages = fresh(1)
    last = server.publish("a", messages[0])
    assert last > max(book.acknowledged["a"], default=0), "ids grow across the restart"
    book.note("a", [last], messages)
    seen, cursor = [], beginning
    while True:
        page = server.poll("a", last_event_id=cursor, limit=1000)
        assert "gap" not in page
        if not page["events"]:
            break
        seen += [event["id"] for event in page["events"]]
        cursor = page["last_event_id"]
    assert set(seen) >= {id for id in book.acknowledged["a"] if id > beginning}
    assert min(seen) > beginning


@pytest.mark.parametrize("aim", ["before", "6", "after"])
def test_a_publish_to_several_channels_that_was_killed_is_completed_by_its_retry(tmp_path, aim):
    several = publication_to_several(("x", "y", "z"), "hello")
    with Server(tmp_path, inspected=True) as server:
        with Line(server) as line:
            assert line.ask(several(f"X-Die: {aim}")) is None
        server.await_ready()
        with Line(server) as line:
            answer = line.ask(several())
            assert answer.status == 200
            again = line.ask(several())
        assert again.json() == answer.json()
        for published_to in answer.json()["events"]:
            (event,) = server.events(published_to["channel"])
            assert (event["id"], event["message"]) == (published_to["event_id"], "hello")


def publication_to_several(channels, message):
    def request(*headers):
        return post("/publish", {"channels": channels, "message": message}, "Idempotency-Key: one", *headers)

    return request
