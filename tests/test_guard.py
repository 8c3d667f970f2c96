"""What one client can hold up: its answer for a while, the event loop for some milliseconds."""

import io
import socket as system
import struct
import time

import gevent
import pytest
from gevent import socket
from gunicorn.http.errors import InvalidChunkSize

from app import guard as module
from app.guard import LINGER_BYTES, TURN_SECONDS, discard, guard, take_turns

MUCH = b"x" * 4_000_000


@pytest.fixture
def pair(monkeypatch):
    """A guarded connection, and its client."""
    monkeypatch.setattr(module, "SEND_SECONDS", 0.1)
    ours, client = socket.socketpair()
    guard(ours)
    yield ours, client
    ours.close()
    client.close()


def test_a_guarded_socket_is_still_one_of_its_kind(pair):
    ours, _ = pair
    assert isinstance(ours, socket.socket)
    assert not hasattr(ours, "__dict__"), "it must not weigh more than before"


def test_a_socket_of_another_kind_is_left_alone():
    with system.socket() as other:
        guard(other)
        assert type(other) is system.socket


def test_what_is_sent_arrives_whole(pair):
    ours, client = pair
    sending = gevent.spawn(ours.sendall, MUCH)
    taken = bytearray()
    while len(taken) < len(MUCH):
        taken += client.recv(65536)
    sending.get(timeout=1)
    assert taken == MUCH
    assert ours.send(b"100") == 3
    assert client.recv(10) == b"100"


@pytest.mark.parametrize("send", ["sendall", "send"], ids=["an answer", "100 Continue"])
def test_who_takes_nothing_is_gone(pair, send):
    ours, _ = pair
    begun = time.monotonic()
    with gevent.Timeout(5), pytest.raises(ConnectionResetError):
        getattr(ours, send)(MUCH)
    assert time.monotonic() - begun > 0.09
    # Closed, it leaves nothing to be sent with the system.
    linger = ours.getsockopt(system.SOL_SOCKET, system.SO_LINGER, 8)
    assert struct.unpack("ii", linger) == (1, 0)


def test_the_time_limit_of_whoever_sends_is_not_taken_for_the_clients(pair, monkeypatch):
    """It was swallowed, and the client cut: so no test with a limit of its own could fail."""
    ours, _ = pair
    monkeypatch.setattr(module, "SEND_SECONDS", 100)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        ours.sendall(MUCH)
    assert module.Unsent.size == 0


def test_who_takes_a_little_now_and_then_is_not(pair, monkeypatch):
    ours, _ = pair
    left = [5, 4, 3, 3]
    # The system asks for more only when there is much room; what it still holds tells that the client took some.
    monkeypatch.setattr(module, "waiting", lambda sock: left[0] if len(left) == 1 else left.pop(0))
    with gevent.Timeout(5), pytest.raises(ConnectionResetError):
        ours.sendall(MUCH)
    assert left == [3]


def test_clients_that_keep_too_much_between_them_have_less_time(pair, monkeypatch):
    """A hundred clients that read nothing kept a hundred pages of a mebibyte for half a minute."""
    ours, _ = pair
    monkeypatch.setattr(module, "SEND_SECONDS", 100)
    monkeypatch.setattr(module, "HURRIED_SECONDS", 0.1)
    monkeypatch.setattr(module, "UNSENT_BYTES", len(MUCH) - 1)
    half = MUCH[: len(MUCH) // 2]
    other, reader = socket.socketpair()
    guard(other)
    first = gevent.spawn(ours.sendall, half)
    gevent.sleep(0)
    with gevent.Timeout(5), pytest.raises(ConnectionResetError):
        other.sendall(MUCH)
    # Who came first has his time.
    assert not first.ready()
    first.kill()
    assert module.Unsent.size == 0
    other.close()
    reader.close()


def test_the_system_takes_little_of_an_answer_that_is_not_on_its_way():
    """It took four mebibytes for each client that reads nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.socket()
        client.setsockopt(system.SOL_SOCKET, system.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        ours, _ = listener.accept()
        guard(ours)
        sending = gevent.spawn(ours.sendall, MUCH)
        gevent.sleep(0.05)
        assert not sending.ready()
        assert module.waiting(ours) < 4 * module.SYSTEM_BYTES
        sending.kill()
        ours.close()
        client.close()


def gave_up(*_):
    raise TimeoutError(110, "Connection timed out")


def test_a_connection_that_the_system_gave_up_is_gone(pair, monkeypatch):
    """gunicorn would log a traceback."""
    ours, _ = pair
    monkeypatch.setattr(socket.socket, "recv", gave_up)
    monkeypatch.setattr(socket.socket, "send", gave_up)
    with pytest.raises(ConnectionResetError):
        ours.recv(1)
    with pytest.raises(ConnectionResetError):
        ours.sendall(MUCH)


def test_the_loop_turns_where_one_client_keeps_it_for_long():
    seen = []
    other = gevent.spawn(lambda: seen.append(1))
    end = time.monotonic() + 1
    while not seen:
        assert time.monotonic() < end
        take_turns("client")
    other.join()


def test_nobody_waits_for_a_turn_in_a_moment():
    seen = []
    other = gevent.spawn(lambda: seen.append(1))
    take_turns("first")
    take_turns("second")
    take_turns("second")
    assert not seen
    other.join()


def test_nobody_waits_for_a_turn_that_was_made_already():
    """A client that asks once in a while has not kept the loop since it asked last."""
    seen = []
    take_turns("client")
    gevent.sleep(2 * TURN_SECONDS)
    other = gevent.spawn(lambda: seen.append(1))
    take_turns("client")
    assert not seen
    other.join()


def test_a_body_that_nobody_read_is_thrown_away_up_to_a_bound():
    body = io.BytesIO(b"x" * (LINGER_BYTES + 1000))
    discard({"wsgi.input": body})
    assert body.tell() == LINGER_BYTES


class Unreadable:
    def read(self, size):
        raise InvalidChunkSize(b"none")


def test_nor_can_one_that_is_not_well_formed_spoil_the_answer_before_it():
    discard({"wsgi.input": Unreadable()})
