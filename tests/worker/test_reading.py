"""Heads are gathered without a greenlet, as long as there is time; what is no head is the parser's to refuse."""

import socket

import gevent
import pytest

from app import lifecycle
from app.worker import connection as module
from app.worker.state import State
from tests.worker.conftest import HEAD, read, until


def test_a_head_is_served_when_it_is_whole(office, connect):
    connection, client = connect()
    for byte in HEAD[:-1]:
        client.send(bytes([byte]))
        gevent.sleep(0.001)
    assert connection.state is State.READING
    assert office.served == []
    client.send(HEAD[-1:])
    until(lambda: office.served)
    assert office.served == [HEAD]


def test_requests_that_come_at_once_are_served_one_after_another(office, connect):
    connection, client = connect()
    office.view = lambda connection: connection.sendall(b"answer")
    client.sendall(HEAD * 3)
    until(lambda: len(office.served) == 3)
    assert office.served == [HEAD] * 3
    assert read(client) == b"answer" * 3
    assert connection.state is State.READING


def test_a_silent_connection_is_closed_when_its_time_is_up(office, connect, monkeypatch):
    monkeypatch.setattr(lifecycle, "HEAD_SECONDS", 0.05)
    connection, client = connect()
    assert read(client) == b""
    assert office.left == [connection]
    assert len(office.deadlines) == 0


def test_an_idle_connection_is_closed_after_the_keep_alive_time(office, connect):
    office.keepalive = 0.05
    connection, client = connect()
    client.sendall(HEAD)
    until(lambda: office.served)
    assert read(client) == b""
    assert office.left == [connection]


def test_half_a_head_is_left_to_the_parser_when_its_time_is_up(office, connect, monkeypatch):
    """Which says what is wrong with it, if anything is, and meets the end behind it."""
    monkeypatch.setattr(lifecycle, "HEAD_SECONDS", 0.05)
    _, client = connect()
    client.sendall(HEAD[:-2])
    until(lambda: office.served)
    assert office.served == [HEAD[:-2]]


def test_half_a_head_is_left_to_the_parser_when_no_more_comes(office, connect):
    _, client = connect()
    client.sendall(HEAD[:-2])
    client.shutdown(socket.SHUT_WR)
    until(lambda: office.served)
    assert office.served == [HEAD[:-2]]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: localhost\n\n", b"\x16\x03\x01\x02\x00\x01"])
def test_what_will_never_be_a_head_is_left_to_the_parser_at_once(office, connect, data):
    _, client = connect()
    client.sendall(data)
    until(lambda: office.served)
    assert office.served == [data]


def test_a_head_that_the_parser_gathers_has_no_more_time_than_any(office, connect, monkeypatch):
    monkeypatch.setattr(lifecycle, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(module, "GATHERED_BYTES", 100)
    met = []

    def serve(connection):
        while data := connection.recv(8192):
            met.append(data)
        connection.finish(keep=False)

    office.serve = serve
    _, client = connect()
    client.sendall(b"X" * 101)
    until(lambda: office.left)
    assert met == [b"X" * 101]
    assert len(office.deadlines) == 0


def test_nor_has_the_next_the_time_between_two_requests(office, connect, monkeypatch):
    """Small letters may be a method all the same: the greenlet gathers such a head from its first byte on."""
    connection, client = connect()
    client.sendall(HEAD)
    until(lambda: office.served and connection.state is State.READING)
    monkeypatch.setattr(lifecycle, "HEAD_SECONDS", 0.1)
    met = []

    def serve(connection):
        while data := connection.recv(8192):
            met.append(data)
        connection.finish(keep=False)

    office.serve = serve
    client.sendall(b"get /")
    assert read(client) == b""
    assert met == [b"get /"]
    assert len(office.deadlines) == 0


def test_a_head_that_never_ends_is_left_to_the_parser(office, connect, monkeypatch):
    monkeypatch.setattr(module, "GATHERED_BYTES", 100)
    _, client = connect()
    client.sendall(b"X" * 101)
    until(lambda: office.served)
    assert office.served == [b"X" * 101]


def test_a_client_that_leaves_between_two_requests_is_forgotten(office, connect):
    connection, client = connect()
    client.close()
    until(lambda: office.left)
    assert office.left == [connection]
    assert len(office.deadlines) == 0
