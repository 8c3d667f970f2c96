"""Connections, and a worker of which only those parts are real that they ask for."""

import contextlib
import socket
import time

import gevent
import pytest

from app.deadlines import Deadlines
from app.grant import Grant
from app.hangup import HangUps
from app.worker.connection import Connection
from app.worker.fanout import Fanout
from app.worker.runqueue import RunQueue
from tests.support.app import server

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: The head of an answer, as far as a view knows it.
KNOWN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Office:
    """Stands for the worker. `view` is called in a greenlet with each connection that has a request."""

    def __init__(self):
        self.deadlines, self.hang_ups, self.fanout = Deadlines(), HangUps(), Fanout()
        self.run_queue = RunQueue(self)
        self.keepalive = 100.0
        self.closes_polls = False
        self.logs_requests = False
        self.served, self.left = [], []
        self.view = lambda connection: None

    def serve(self, connection):
        end = connection.unread.index(b"\r\n\r\n") + 4 if b"\r\n\r\n" in connection.unread else len(connection.unread)
        self.served.append(connection.recv(end))
        connection.asked()
        keep = self.view(connection)
        parks = connection._held == b""  # gunicorn's word for it: the app has answered nothing
        connection.flush()
        connection.finish(keep=keep is not False, parks=parks)

    def closed(self, connection):
        self.left.append(connection)


@pytest.fixture
def office():
    office = Office()
    yield office
    office.deadlines.close()
    office.hang_ups.close()


@pytest.fixture
def connect(office):
    """Makes a connection, and its client's end, whose reads wait for a moment at most."""
    with contextlib.ExitStack() as stack:

        def make():
            ours, client = socket.socketpair()
            ours.setblocking(False)
            client.setblocking(False)
            stack.callback(client.close)
            connection = Connection(office, ours, ("10.0.0.1", 5), None)
            stack.callback(connection.close)
            return connection, client

        yield make


@pytest.fixture
def bide():
    with server() as parts:
        yield parts


@pytest.fixture
def park(office, bide, connect):
    """Makes a connection with a parked poll of the channel `news`, from its end on."""

    def make(cursor=0, timeout=50, limit=None, head=KNOWN, closes=False, **of_grant):
        def view(connection):
            poll = bide.subscriber.open({"news": cursor}, connection.waiter(), timeout=timeout, limit=limit)
            grant = Grant(poll, **of_grant)
            grant.head, grant.closes = head, closes
            connection.hold(grant)

        office.view = view
        connection, client = connect()
        client.sendall(HEAD)
        until(lambda: connection.state.name == "PARKED")
        return connection, client

    return make


def until(true, within=2.0):
    """Let the loop turn until something is so; what it is."""
    deadline = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < deadline, "it never came to that"
        gevent.sleep(0.001)
    return found


def taken(client, size=1 << 20):
    """What has come for the client; None for nothing yet, b"" for the end."""
    try:
        return client.recv(size)
    except BlockingIOError:
        return None


def read(client):
    """The next that comes for the client, b"" at the end."""
    found = []
    until(lambda: (data := taken(client)) is not None and not found.append(data))
    return found[0]
