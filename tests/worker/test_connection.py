"""A connection's states: what leads from one to the next, and that nothing is kept of what is over."""

import contextlib
import json
import socket

import gevent
import pytest

from app import guard
from app.grant import Grant
from app.worker import parked
from app.worker.state import State
from tests.support.app import assert_nothing_left, staged
from tests.worker.conftest import HEAD, KNOWN, read, taken, until


def publish(bide, message="hello"):
    return bide.publisher.publish("news", message)


def body(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_the_head_of_an_answer_goes_with_its_body(office, connect, monkeypatch):
    sent = []
    connection, client = connect()
    send = connection._send_some
    monkeypatch.setattr(type(connection), "_send_some", lambda self, data: (sent.append(bytes(data)), send(data))[1])

    def view(connection):
        for piece in (b"head", b"body", b"more"):
            connection.sendall(piece)

    office.view = view
    client.sendall(HEAD)
    answer = b""
    while len(answer) < len(b"headbodymore"):
        answer += read(client)
    assert answer == b"headbodymore"
    assert sent == [b"headbody", b"more"]


def test_a_connection_that_a_view_gives_up_is_closed(office, connect):
    connection, client = connect()
    office.view = lambda connection: False
    client.sendall(HEAD)
    assert read(client) == b""
    assert office.left == [connection]


def test_a_parked_poll_is_answered_by_the_event_and_the_next_request_is_read(office, bide, park):
    connection, client = park()
    id = publish(bide)
    answer = read(client)
    assert answer.startswith(KNOWN + b"Connection: keep-alive\r\nDate: ")
    assert f"Last-Event-ID: {id}\r\n".encode() in answer
    assert body(answer)["message"] == "hello"
    assert connection.state is State.READING
    assert_nothing_left(bide)
    client.sendall(HEAD)
    until(lambda: len(office.served) == 2)


def test_whoever_published_is_answered_before_the_polls(bide, park):
    _, client = park()
    publish(bide)
    assert taken(client) is None  # no poll was looked at before the publish returned
    assert body(read(client))["message"] == "hello"


def test_a_poll_whose_event_comes_while_it_is_being_parked_is_answered(office, bide, connect):
    def view(connection):
        grant = Grant(bide.subscriber.open({"news": 0}, connection.waiter(), timeout=50))
        grant.head = KNOWN
        connection.hold(grant)
        publish(bide)

    office.view = view
    _, client = connect()
    client.sendall(HEAD)
    assert body(read(client))["message"] == "hello"
    until(lambda: bide.subscriber.polls == 0)
    assert_nothing_left(bide)


def test_a_poll_whose_time_is_up_is_answered(bide, park):
    _, client = park(timeout=0.1)
    assert body(read(client))["status"] == "timeout"
    assert_nothing_left(bide)


def test_a_poll_ends_with_its_client(office, bide, park):
    connection, client = park()
    client.close()
    until(lambda: office.left)
    assert office.left == [connection]
    assert_nothing_left(bide)
    assert len(office.deadlines) == len(office.hang_ups) == 0


def test_a_client_that_closed_its_own_direction_is_answered(bide, park):
    _, client = park()
    client.shutdown(socket.SHUT_WR)
    answer = read(client)
    assert body(answer)["status"] == "timeout"
    assert b"Connection: close\r\n" in answer
    assert read(client) == b""
    assert_nothing_left(bide)


def test_what_he_asked_behind_the_poll_is_answered_too(office, bide, park):
    connection, client = park()
    office.view = lambda connection: connection.sendall(b"second")
    client.sendall(HEAD)
    client.shutdown(socket.SHUT_WR)
    answer = b""
    while data := read(client):
        answer += data
    assert b'"status":"timeout"' in answer
    assert answer.endswith(b"second")
    assert office.left == [connection]
    assert_nothing_left(bide)


def test_a_request_behind_a_parked_poll_waits_for_its_turn(office, bide, park):
    _, client = park()
    client.sendall(HEAD[:5])
    gevent.sleep(0.01)
    client.sendall(HEAD[5:])
    gevent.sleep(0.01)
    assert len(office.served) == 1
    office.view = lambda connection: connection.sendall(b"second")
    publish(bide)
    until(lambda: len(office.served) == 2)
    assert read(client).endswith(b"second")


def test_bytes_without_end_behind_a_poll_are_not_read_and_do_not_hide_a_hang_up(office, bide, park, monkeypatch):
    monkeypatch.setattr(parked, "BEHIND_BYTES", 100)
    connection, client = park()
    client.sendall(b"x" * 101)
    until(lambda: len(connection.unread) > 100)
    client.sendall(b"y" * 1000)
    gevent.sleep(0.01)
    assert len(connection.unread) == 101
    assert not connection._watcher.active, "it would be called in each turn of the loop"
    assert len(office.hang_ups) == 1
    client.close()
    until(lambda: office.left)
    assert len(office.hang_ups) == 0
    assert_nothing_left(bide)


def test_little_is_kept_behind_a_poll(bide, park):
    connection, client = park()
    with contextlib.suppress(BlockingIOError):
        while True:
            client.send(b"x" * 1000)
    until(lambda: not connection._watcher.active)
    assert len(connection.unread) < 16_000


def test_a_poll_that_needs_the_store_reads_it_in_a_greenlet_and_survives_its_absence(bide, park, monkeypatch):
    monkeypatch.setattr("app.poll.RETRY_SECONDS", 0.02)
    connection, client = park()
    store = staged(bide)
    store.away = True
    id = store.store.append("news", [b'"hello"'], None, None).last_id  # by another process: nobody told us
    bide.notifier.lost()
    gevent.sleep(0.05)
    assert connection.state is State.PARKED
    assert taken(client) is None
    store.away = False
    assert body(read(client))["id"] == id


def test_a_poll_that_fails_unexpectedly_ends_alone(office, bide, park, monkeypatch, caplog):
    connection, client = park()
    _, other = park()
    grant = connection._grant

    def fail(self):
        raise RuntimeError("of this test")

    monkeypatch.setattr(type(grant.poll), "look", lambda self: fail(self) if self is grant.poll else None)
    monkeypatch.setattr(type(grant.poll), "needs_store", property(lambda self: self is grant.poll))
    grant.poll.waiter.rouse()
    assert b"Connection: close" in read(client)
    assert "a parked poll failed" in caplog.text
    assert taken(other) is None


def test_a_poll_that_cannot_be_answered_ends_alone_and_keeps_nobody_from_his_turn(office, bide, park, caplog):
    def fail():
        raise RuntimeError("of this test")

    connection, client = park(empty=fail, timeout=0.05)
    _, other = park()
    assert read(client) == b""
    publish(bide)
    assert body(read(other))["message"] == "hello"
    assert office.left == [connection]
    assert "a parked poll could not be answered" in caplog.text
    assert_nothing_left(bide)


def test_a_stopping_worker_closes_with_the_answer(office, bide, park):
    connection, client = park()
    office.closes_polls = True
    connection._grant.poll.waiter.end("draining")
    assert b"Connection: close\r\n" in read(client)
    assert read(client) == b""


def test_a_poll_whose_answer_was_thrown_away_is_closed(office, bide, connect):
    """By an `after_request` function, say, that made another one of it."""

    def view(connection):
        connection.hold(Grant(bide.subscriber.open({"news": 0}, connection.waiter(), timeout=50)))
        connection.sendall(b"another answer")

    office.view = view
    connection, client = connect()
    client.sendall(HEAD)
    assert read(client) == b"another answer"
    until(lambda: connection.state is State.READING)
    assert_nothing_left(bide)


def test_nor_is_it_answered_twice_where_its_head_was_known_already(office, bide, connect):
    """A layer around the app may make a whole answer of what the app left to the connection, or fail over it."""

    def view(connection):
        grant = Grant(bide.subscriber.open({"news": 0}, connection.waiter(), timeout=50))
        grant.head = KNOWN
        connection.hold(grant)
        connection.sendall(b"another answer")

    office.view = view
    connection, client = connect()
    client.sendall(HEAD)
    assert read(client) == b"another answer"
    until(lambda: connection.state is State.READING)
    assert_nothing_left(bide)


@pytest.fixture
def slow(bide, park):
    """A connection whose client takes little, with an answer that is far longer."""
    connection, client = park()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bide.publisher.publish("news", "x" * 60_000)
    until(lambda: connection.state is State.WRITING)
    return connection, client


def test_a_client_that_takes_its_answer_slowly_has_it_whole(slow, bide):
    connection, client = slow
    assert guard.Unsent.size > 0
    answer = b""
    while len(answer) < 60_000:
        answer += read(client)
    assert body(answer)["message"] == "x" * 60_000
    until(lambda: connection.state is State.READING)
    assert guard.Unsent.size == 0
    assert_nothing_left(bide)


def test_a_client_that_takes_nothing_is_cut(office, bide, park, monkeypatch):
    monkeypatch.setattr(guard, "SEND_SECONDS", 0.1)
    connection, _ = park()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bide.publisher.publish("news", "x" * 60_000)
    until(lambda: office.left)
    assert office.left == [connection]
    assert guard.Unsent.size == 0
    assert len(office.deadlines) == 0


def test_a_client_that_goes_amid_its_answer_leaves_nothing(slow, office, bide):
    connection, client = slow
    client.close()
    until(lambda: office.left)
    assert office.left == [connection]
    assert guard.Unsent.size == 0
    assert_nothing_left(bide)
