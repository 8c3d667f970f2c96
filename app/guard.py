"""A client's socket, bounded in what it may hold up: an answer that nobody takes, and a loop that turns for one alone.

gunicorn's gevent worker sends with a `sendall` that waits for ever, and reads with a `recv` that does not wait where
there is something to read. So a client that takes nothing keeps its greenlet and its answer for good, and one that
sends without a pause (requests, or the body of one) keeps the greenlets of all others from running, timers included.

A socket is guarded by giving it another class of the same layout: it costs no memory, and it is what it was before to
everybody who asks for its type.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import struct
import termios
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.ssl
from gevent import get_hub, socket
from gunicorn.http.errors import ParseException

#: A client that takes no byte of its answer for so long is cut.
SEND_SECONDS = 30.0


#: So much is left to the system at most that it has not sent yet; it would take megabytes for each client.
SYSTEM_BYTES = 128 * 1024
#: What a worker keeps of its answers for clients that are slow to take them. Above it they have less time.
UNSENT_BYTES = 64 * 1024 * 1024
HURRIED_SECONDS = 1.0
#: After an answer to a request whose body nobody read so much of it is read and thrown away, so that the client meets
#: the answer and not a reset.
LINGER_BYTES = 1024 * 1024
LINGER_SECONDS = 1.0
#: A client that keeps the event loop from turning for so long lets it turn.
TURN_SECONDS = 0.005
PAUSE_SECONDS = 1e-6


class Unsent:
    """What all greenlets that wait for slow clients still have to send."""

    size = 0


class _Turns:
    """Who was the last to run, since when, and in which turn of the event loop."""

    last: object = None
    turn = -1
    since = 0.0


def take_turns(client: object) -> None:
    """Let the event loop turn where it did not for some milliseconds, for the sake of this client alone.

    Called where a client has sent something: who waits for an answer before the next request never waits here.
    """
    loop = get_hub().loop
    if _Turns.last is client and _Turns.turn == loop.iteration:
        if time.monotonic() - _Turns.since <= TURN_SECONDS:
            return
        # Not 0: such a sleep may be over before the loop has looked at the connections.
        gevent.sleep(PAUSE_SECONDS)
    _Turns.last, _Turns.turn, _Turns.since = client, loop.iteration, time.monotonic()


class _Bounded:
    __slots__ = ()

    def recv(self, *args: Any) -> Any:
        try:
            data = super().recv(*args)  # type: ignore[misc]  # of the socket's own class
        except TimeoutError as error:
            raise _gone() from error
        take_turns(self)
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """As `sendall`: gunicorn calls it for a `100 Continue`, and waits for ever as well."""
        self.sendall(data, flags)  # type: ignore[attr-defined]  # of the classes below
        return len(data)


class _Plain(_Bounded, socket.socket):
    __slots__ = ()

    def sendall(self, data: Any, flags: int = 0) -> None:
        try:
            sent: int = self._sock.send(data, flags)  # type: ignore[attr-defined]  # gevent's stubs keep it to themselves
        except BlockingIOError:
            sent = 0
        except TimeoutError as error:
            raise _gone() from error
        if sent < len(data):
            send_all(self, super(_Bounded, self).send, memoryview(data)[sent:])


class _Tls(_Bounded, gevent.ssl.SSLSocket):
    def sendall(self, data: Any, flags: int = 0) -> None:
        send_all(self, super(_Bounded, self).send, memoryview(data))


_KINDS = {socket.socket: _Plain, gevent.ssl.SSLSocket: _Tls}


def guard(client: Any) -> None:
    """Bound what a connected client can hold up, where its socket is of a kind that gunicorn's gevent worker makes."""
    kind = _KINDS.get(type(client))
    if kind is not None:
        client.__class__ = kind
        bound_sending(client)


def bound_sending(client: Any) -> None:
    """Bound what the system takes for a client, and for how long it keeps it, closed or not: minutes otherwise."""
    with contextlib.suppress(OSError, AttributeError):  # a unix socket, or a system that has no such thing
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_SECONDS * 1000))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, SYSTEM_BYTES)


def defer_handshakes(cfg: Any) -> None:
    """Leave the TLS handshake to the worker's `handle`, which knows the connection by then, and how to fail in a line.

    gevent makes it between accepting and `handle`: there a client that never answers has no time limit, and one that
    speaks no TLS costs the log a traceback.
    """
    make = cfg.ssl_context

    def make_deferring(cfg: Any, default: Any) -> Any:
        context = make(cfg, default)
        wrap_socket = context.wrap_socket

        def wrap(client: Any, **options: Any) -> Any:
            try:
                return wrap_socket(client, **options | {"do_handshake_on_connect": False})
            except OSError:  # it has gone already
                raise gevent.GreenletExit from None

        context.wrap_socket = wrap
        return context

    cfg.set("ssl_context", make_deferring)
    cfg.set("do_handshake_on_connect", False)


def discard(environ: dict[str, Any]) -> None:
    """Throw away some of a body that nobody read, so that the answer is not lost to a reset connection."""
    left = LINGER_BYTES
    try:
        with gevent.Timeout(LINGER_SECONDS):
            while left > 0 and (piece := environ["wsgi.input"].read(min(left, 65536))):
                left -= len(piece)
    except (gevent.Timeout, OSError, ParseException):
        return  # it has no more, or not in a form that could be read


def send_all(client: Any, send: Callable[[memoryview], int], data: memoryview) -> None:
    """Send, as long as the client takes some of it every SEND_SECONDS. Raises ConnectionResetError otherwise."""
    Unsent.size += len(data)
    try:
        while data:
            sent = _send_some(client, send, data)
            Unsent.size -= sent
            data = data[sent:]
    finally:
        Unsent.size -= len(data)


def _send_some(client: Any, send: Callable[[memoryview], int], data: memoryview) -> int:
    before = waiting(client)
    timer = gevent.Timeout(sending_seconds())
    try:
        with timer:
            return send(data)
    except gevent.Timeout as raised:
        if raised is not timer:
            raise  # somebody else's, who waits for all of this
        # The system takes more only when there is much room again: a slow reader may have taken some all the same.
        if waiting(client) < before:
            return 0
    except TimeoutError as error:
        raise _gone() from error
    cut(client)
    raise _gone()


def sending_seconds() -> float:
    """How long a client may take nothing of its answer from now on."""
    return SEND_SECONDS if Unsent.size <= UNSENT_BYTES else min(HURRIED_SECONDS, SEND_SECONDS)


def cut(client: Any) -> None:
    """Let a connection be reset when it is closed: the system would keep what is still to be sent."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _gone() -> ConnectionResetError:
    """What gunicorn says nothing about; any other error of a socket it logs with a traceback."""
    return ConnectionResetError(errno.ECONNRESET, "the client took nothing in time")


def waiting(client: Any) -> int:
    """How many bytes the system holds for the client that it has not taken yet."""
    try:
        answer = fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except OSError:  # not on this system: then only what it takes from us counts
        return 0
    return int(struct.unpack("i", answer)[0])
