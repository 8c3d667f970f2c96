"""What a server process does beside answering: housekeeping, and stopping so that no client is cut off.

gunicorn tells a worker to stop by setting `worker.alive`; no hook says so, and none is needed here, so that plain
`gunicorn -k gevent wsgi:app` drains as well as with our `gunicorn.conf.py`. The worker is found as the owner of this
process's handler of SIGTERM, while it loads the app; its `handle` is wrapped, which tells the open connections.

A stopping worker answers its parked polls, spread over the drain time, and closes each connection after its answer
(`force_close`). It still accepts for a second, since gunicorn's loop looks so seldom; a poll that comes then is held
until nothing is accepted any more, or its client would be back at once, again and again. A connection on which
nothing is asked is shut for reading: what the client has sent already is still read and answered, then gunicorn meets
the end. Otherwise an idle connection would hold the worker until its keep-alive time is over.
"""

from __future__ import annotations

import itertools
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

import gevent
from gunicorn.http.wsgi import Response as GunicornResponse
from gunicorn.workers.base_async import AsyncWorker

from . import guard
from .errors import StoreUnavailable
from .notifier import Notifier
from .presence import Presence
from .scrub import scrub
from .stores import Store

if TYPE_CHECKING:  # a module of stubs, there for the type checker alone
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("bide")

#: In a request's environ: its connection is closed after the answer.
CLOSE: Final = "bide.close"
#: In a request's environ: its body was not read to its end, so that nothing else can be read from the connection.
UNREAD: Final = "bide.unread"
#: In a request's environ: the answer may be left to the connection, which knows how to wait without a greenlet.
PARKS: Final = "bide.parks"

#: How often a worker looks whether it is to stop.
LOOK_SECONDS = 0.1
#: The head of a connection's first request must be whole within this. Between requests gunicorn's keep-alive holds.
HEAD_SECONDS = 10.0
#: So many are ended for that in one look at most: the worker lets go of all that it ended before it serves anybody.
ENDED_AT_ONCE = 200
#: Less is given while the worker stops, and when it has hardly a connection left.
FIRST_REQUEST_SECONDS = 0.5
#: Rounds of the store's housekeeping, and the pause between two of its steps, which leaves the loop to the clients.
SWEEP_SECONDS = 5.0
SWEEP_PAUSE_SECONDS = 0.02


def find_worker() -> AsyncWorker | None:
    """The gunicorn worker that this process is, None in a master, a test or a publisher."""
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if isinstance(owner, AsyncWorker) else None


class _Listener:
    """As much of a listening socket as gunicorn asks for, and for longer: a connection that was accepted just before
    the worker stopped is handled when the socket is closed already, and would get no answer."""

    def __init__(self, name: Any) -> None:
        self._name = name

    def getsockname(self) -> Any:
        return self._name


class Table(Protocol):
    """The open connections of a worker. Above `kept` of them they are closed after their answers."""

    kept: int

    @property
    def open(self) -> int: ...

    def shut_idle(self) -> None:
        """Shut for reading every connection that has no request in work and had time to ask."""

    def shut_slow(self) -> None:
        """Shut for reading who takes too long to ask for the first time."""


class Connections:
    """The open connections of this worker, and which of them have a request in work.

    Above `kept` of them a connection is closed after its answer, however long its client would keep it, and those on
    which nothing is asked are shut, the oldest first: who connects and is silent keeps nobody out for long.
    """

    def __init__(self, worker: AsyncWorker, kept: int) -> None:
        self.kept = kept
        self.open = 0
        self._silent: dict[Any, float] = {}  # has not asked anything yet: since when it is open; the oldest is first
        self._idle: dict[Any, None] = {}  # between two requests; one whose request is in work is in neither
        handle: Callable[[Any, Any, Any], object] = worker.handle
        names: dict[Any, _Listener] = {}

        def handle_known(listener: Any, client: Any, addr: Any) -> None:
            guard.guard(client)
            self._silent[client] = time.monotonic()
            self.open += 1
            try:
                name = names.get(listener)
                if name is None:
                    name = names[listener] = _Listener(listener.getsockname())
                handle(name, client, addr)
            finally:
                self.open -= 1
                self._silent.pop(client, None)
                self._idle.pop(client, None)

        handle_request: Callable[[Any, Any, Any, Any], object] = worker.handle_request

        def handle_request_known(listener_name: Any, req: Any, client: Any, addr: Any) -> object:
            self.begin(client)
            try:
                return handle_request(listener_name, req, client, addr)
            finally:
                self.end(client)

        # On this one object, before its run() takes the method for its listeners: gunicorn has no hook for it. The
        # requests of other apps in the same process count as well.
        worker.handle = handle_known  # type: ignore[method-assign]  # see above
        worker.handle_request = handle_request_known  # type: ignore[assignment]  # see above

    def begin(self, client: Any) -> None:
        guard.take_turns(client)
        self._silent.pop(client, None)
        self._idle.pop(client, None)

    def end(self, client: Any) -> None:
        self._idle[client] = None

    def shut_idle(self) -> None:
        """Shut for reading every connection that has no request in work and had time to ask."""
        for client in [*self._idle, *self._silent_for(FIRST_REQUEST_SECONDS)]:
            self._shut(client)

    def shut_slow(self) -> None:
        """Shut for reading who takes too long to ask for the first time: gunicorn meets the end, and closes."""
        for client in self._silent_for(HEAD_SECONDS)[:ENDED_AT_ONCE]:
            del self._silent[client]  # whatever becomes of it: the next are to have their turn
            self._shut(client)
        if self.open > self.kept:
            for client in [*self._silent_for(FIRST_REQUEST_SECONDS), *self._idle][: self.open - self.kept]:
                self._shut(client)

    def _silent_for(self, seconds: float) -> list[Any]:
        before = time.monotonic() - seconds
        return [client for client, _ in itertools.takewhile(lambda item: item[1] <= before, self._silent.items())]

    def _shut(self, client: Any) -> None:
        try:
            # By a descriptor of its own: a TLS connection's shutdown() would end more than reading.
            plain = socket.socket(fileno=client.fileno())
            try:
                plain.shutdown(socket.SHUT_RD)
            finally:
                plain.detach()
        except (OSError, ValueError):
            return  # it closed meanwhile, or its descriptor is -1 already


class Gate:
    """The outermost WSGI layer: closes the connections that must not go on.

    gunicorn drops a `Connection` header that an app sets; its response object, which `start_response` belongs to,
    can be told to close instead, until the head of the answer is sent.
    """

    def __init__(self, wsgi: WSGIApplication, notifier: Notifier) -> None:
        self._wsgi = wsgi
        self._notifier = notifier
        self.connections: Table | None = None

    def serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI application. A method and no `__call__`, which would cost each parked poll 1 KiB of C stack."""
        if environ.get("CONTENT_LENGTH", "").strip("0") or "HTTP_TRANSFER_ENCODING" in environ:
            environ[UNREAD] = True  # until somebody has read the body to its end
        client, response = environ.get("gunicorn.socket"), getattr(start_response, "__self__", None)
        if hasattr(client, "hold") and isinstance(response, GunicornResponse):
            environ[PARKS] = True  # a layer around this one that has a start_response of its own wants a whole answer
        scrub(environ, getattr(response, "req", None))
        body = self._wsgi(environ, start_response)
        connections = self.connections
        if connections is not None and (
            self._notifier.draining or CLOSE in environ or UNREAD in environ or connections.open > connections.kept
        ):
            force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
            if force_close is not None:
                force_close()
        return _Lingering(body, environ) if UNREAD in environ else body


class _Lingering:
    """An answer, and after it some of the request's body, which nobody has read."""

    def __init__(self, answer: Iterable[bytes], environ: WSGIEnvironment) -> None:
        self._answer = answer
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        try:
            close = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            guard.discard(self._environ)


class Lifecycle:
    """Runs a server's greenlets from `start` to `stop`."""

    def __init__(self, store: Store, notifier: Notifier, presence: Presence, drain_seconds: float) -> None:
        self._store = store
        self._notifier = notifier
        self._presence = presence
        self._drain_seconds = drain_seconds
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def start(self, worker: AsyncWorker | None, gate: Gate, kept: int) -> None:
        """Begin housekeeping, and to watch the worker where there is one, and its connections (see there)."""
        self.spawn(self._keep_house)
        self.spawn(self._sweep)
        if worker is not None:
            table: Callable[[int], Table | None] = getattr(worker, "table", lambda kept: None)
            connections = gate.connections = table(kept) or Connections(worker, kept)
            self.spawn(lambda: self._watch(worker, connections))

    def stop(self) -> None:
        gevent.killall(self._greenlets)

    def spawn(self, run: Callable[[], None]) -> None:
        """Run it in a greenlet that `stop` ends."""
        self._greenlets.append(gevent.spawn(run))

    def _keep_house(self) -> None:
        while True:
            gevent.sleep(1)
            self._notifier.expire()
            self._presence.expire()

    def _sweep(self) -> None:
        while True:
            gevent.sleep(SWEEP_SECONDS)
            try:
                while self._store.sweep():
                    gevent.sleep(SWEEP_PAUSE_SECONDS)
            except StoreUnavailable:
                continue  # it has said so in the log
            except Exception:  # whatever it is: without housekeeping the file would grow for ever
                log.exception("housekeeping failed; trying again")

    def _watch(self, worker: AsyncWorker, connections: Table) -> None:
        while worker.alive:
            gevent.sleep(LOOK_SECONDS)
            connections.shut_slow()
        log.info("stopping: answering the parked polls")
        self.spawn(lambda: self._notifier.drain(self._drain_seconds))
        while True:
            connections.shut_idle()
            gevent.sleep(LOOK_SECONDS)
