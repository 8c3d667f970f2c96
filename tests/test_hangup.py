"""A client that goes is noticed, however it goes, and nothing else is taken for it."""

import os
import select
import socket
import struct

import gevent
import pytest

from app.hangup import HangUps
from tests.support.app import SOON_SECONDS, answer, assert_nothing_left, parked_poll, server, wait_until

#: Turns of the event loop in which what is going to be noticed would have been.
TURNS = 5


@pytest.fixture
def hang_ups():
    found = HangUps()
    yield found
    assert len(found) == 0


@pytest.fixture
def pair():
    """The server's end of a connection, and the client's."""
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def connection():
    """The same over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    yield ours, client
    ours.close()
    client.close()


def turns():
    for _ in range(TURNS):
        gevent.sleep(0.001)


def gone(hang_ups, ours, leave):
    """How often a leaving client is told of."""
    told = []
    with hang_ups.watch(ours, lambda: told.append(1)):
        turns()
        assert told == []
        leave()
        turns()
    return len(told)


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_client_that_closes_is_told_of_once(hang_ups, connection):
    ours, client = connection
    assert gone(hang_ups, ours, client.close) == 1


def test_a_client_that_closes_only_its_writing_half_is_told_of(hang_ups, connection):
    ours, client = connection
    assert gone(hang_ups, ours, lambda: client.shutdown(socket.SHUT_WR)) == 1


def test_a_client_that_resets_is_told_of(hang_ups, connection):
    ours, client = connection
    assert gone(hang_ups, ours, lambda: reset(client)) == 1


def test_a_unix_socket_is_watched_too(hang_ups, pair):
    ours, client = pair
    assert gone(hang_ups, ours, client.close) == 1


def test_a_close_behind_bytes_that_nobody_read_is_told_of(hang_ups, connection):
    """A pipelined request: peeking at the socket would see only that."""
    ours, client = connection
    client.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    assert gone(hang_ups, ours, client.close) == 1
    assert ours.recv(3) == b"GET"


def test_a_client_that_left_before_it_was_watched_is_told_of(hang_ups, connection):
    ours, client = connection
    client.close()
    told = []
    with hang_ups.watch(ours, lambda: told.append(1)):
        wait_until(lambda: told, "told")


def test_a_client_that_only_sends_is_no_hang_up(hang_ups, connection):
    ours, client = connection
    assert gone(hang_ups, ours, lambda: client.sendall(b"more")) == 0


def test_a_client_that_stops_reading_is_no_hang_up(hang_ups, connection):
    ours, client = connection
    assert gone(hang_ups, ours, lambda: client.shutdown(socket.SHUT_RD)) == 0


def test_nobody_is_told_after_the_end_of_the_watch(hang_ups, connection):
    ours, client = connection
    told = []
    with hang_ups.watch(ours, lambda: told.append(1)):
        assert len(hang_ups) == 1
    client.close()
    turns()
    assert told == []


def test_a_watch_ends_whatever_happens_in_it(hang_ups, connection):
    ours, _ = connection
    with pytest.raises(RuntimeError), hang_ups.watch(ours, lambda: None):
        raise RuntimeError
    assert len(hang_ups) == 0
    with hang_ups.watch(ours, lambda: None):
        assert len(hang_ups) == 1


def test_a_descriptor_that_is_used_again_belongs_to_its_new_client(hang_ups):
    told = []
    ours, client = socket.socketpair()
    number = ours.fileno()
    with hang_ups.watch(ours, lambda: told.append("old")):
        client.close()
    ours.close()
    ours, client = socket.socketpair()
    if number not in (ours.fileno(), client.fileno()):
        os.dup2(ours.fileno(), number)
        ours.close()
        ours = socket.socket(fileno=number)
    elif ours.fileno() != number:
        ours, client = client, ours
    with ours, client, hang_ups.watch(ours, lambda: told.append("new")):
        turns()
        assert told == []
        client.close()
        wait_until(lambda: told, "told")
    assert told == ["new"]


def test_many_that_go_at_once_are_all_told_of(hang_ups):
    pairs = [socket.socketpair() for _ in range(300)]
    told = set()
    watches = [hang_ups.watch(ours, lambda n=n: told.add(n)) for n, (ours, _) in enumerate(pairs)]
    for watch in watches:
        watch.__enter__()
    for _, client in pairs:
        client.close()
    wait_until(lambda: len(told) == 300, "all told")
    for watch, (ours, _) in zip(watches, pairs, strict=True):
        watch.__exit__(None, None, None)
        ours.close()


def test_where_the_system_cannot_tell_nothing_is_watched(hang_ups, connection, monkeypatch):
    monkeypatch.delattr(select, "EPOLLRDHUP")
    ours, client = connection
    assert gone(hang_ups, ours, client.close) == 0


@pytest.mark.parametrize("leave", ["close", "half"])
def test_the_poll_of_a_client_that_goes_ends_at_once_and_leaves_nothing(connection, leave):
    ours, client = connection
    with server() as bide:
        waiting = parked_poll(bide, hang_up=lambda callback: bide.hang_ups.watch(ours, callback))
        assert bide.counts()["hang_ups"] == 1
        client.close() if leave == "close" else client.shutdown(socket.SHUT_WR)
        page = answer(waiting)
        assert not page.events
        assert_nothing_left(bide)


def test_a_poll_that_is_answered_is_watched_no_more(connection):
    ours, _ = connection
    with server() as bide:
        waiting = parked_poll(bide, hang_up=lambda callback: bide.hang_ups.watch(ours, callback))
        bide.publisher.publish("news", 1)
        assert waiting.get(timeout=SOON_SECONDS).events
        assert_nothing_left(bide)
