"""The worker: listens, has connections made, serves their requests by gunicorn's road, and stops."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from datetime import datetime
from typing import Any, Final

import gevent
from gunicorn import http
from gunicorn.glogging import Logger
from gunicorn.http.message import Request
from gunicorn.http.wsgi import Response
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from .. import guard, lifecycle
from ..capacity import PRIVATE_CONNECTIONS
from ..deadlines import Deadlines
from ..grant import Request as RequestOfGrant
from ..hangup import HangUps
from .connection import Connection
from .fanout import Fanout
from .listener import Listener
from .plain import PlainRequest, PlainRequests
from .runqueue import RunQueue
from .state import READING

#: How often it looks whether it is to stop.
LOOK_SECONDS: Final = 0.1
#: How often it tells gunicorn's master that it lives, and looks whether there is one: as gunicorn's worker does.
NOTIFY_SECONDS: Final = 1.0
#: Where there are several listeners each may have so many connections although the worker is full: a private address
#: answers however many the other has.
FEW: Final = PRIVATE_CONNECTIONS


class Worker(GeventWorker):
    """gunicorn's gevent worker, with a road of its own for plain HTTP/1.

    Connections with TLS, HTTP/2 without TLS, uWSGI's or the PROXY protocol go gevent's road: greenlets, as before.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: dict[Connection, None] = {}
        self.kept = 0
        self._listeners: list[Listener] = []

    @property
    def has_own_road(self) -> bool:
        cfg = self.cfg
        return (
            not cfg.is_ssl and cfg.protocol == "http" and cfg.proxy_protocol == "off" and cfg.http2_cleartext == "off"
        )

    def run(self) -> None:
        if not self.has_own_road:
            super().run()
            return
        self.deadlines = Deadlines()
        self.hang_ups = HangUps()
        self.fanout = Fanout()
        self.run_queue = RunQueue(self)
        self.keepalive: float = self.cfg.keepalive
        #: Whether each request is told to the access log, or to a logger that makes something else of it (statsd's).
        self.logs_requests = bool(self.log.access_log_enabled or type(self.log).access is not Logger.access)
        self._few = min(FEW, self.worker_connections // 10) if len(self.sockets) > 1 else 0
        self._listeners = [
            Listener(self, sock, self._plain_requests(sock), shared=self.cfg.workers > 1) for sock in self.sockets
        ]
        while self.alive:
            self.notify()
            notified_at = time.monotonic()
            while self.alive and time.monotonic() - notified_at < NOTIFY_SECONDS:
                gevent.sleep(LOOK_SECONDS)
        self._stop()

    def _plain_requests(self, sock: Any) -> PlainRequests | None:
        """The reader of plain requests for a listening socket; None where something is to be done for every request
        that gunicorn's own road does, or where addresses are none of TCP's."""
        cfg = self.cfg
        name = sock.getsockname()
        hooks = [cfg.settings[hook] for hook in ("pre_request", "post_request")]
        if (
            self.logs_requests
            or not isinstance(name, tuple)
            or any(hook.get() is not hook.default for hook in hooks)
            or cfg.max_requests > 0
            or cfg.keepalive <= 0
            or os.environ.get("SCRIPT_NAME")
        ):
            return None
        return PlainRequests(cfg, name[:2])

    def _stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        ends_at = time.monotonic() + self.cfg.graceful_timeout
        while self.connections and time.monotonic() < ends_at:
            self.notify()
            gevent.sleep(LOOK_SECONDS)
        if self.connections:
            self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
            for connection in list(self.connections):
                connection.close()

    # -- who comes and goes

    def may_enter(self, listener: Listener) -> bool:
        return len(self.connections) < self.worker_connections or listener.open < self._few

    def enter(self, client: Any, address: Any, listener: Listener) -> None:
        guard.bound_sending(client)
        listener.open += 1
        self.connections[Connection(self, client, address, listener)] = None

    def closed(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        connection.listener.open -= 1
        if self.alive:
            for listener in self._listeners:
                if self.may_enter(listener):
                    listener.resume()

    @property
    def closes_polls(self) -> bool:
        """Whether a connection ends with the answer of its poll."""
        return not self.alive or len(self.connections) > self.kept

    # -- a table of connections, for `lifecycle`

    def table(self, kept: int) -> Worker | None:
        """The connections of this worker, of which so many are to be kept; None where gevent's road is gone."""
        self.kept = kept
        return self if self.has_own_road else None

    @property
    def open(self) -> int:
        return len(self.connections)

    def shut_idle(self) -> None:
        for connection in self._idle():
            connection.shut()

    def shut_slow(self) -> None:
        over = len(self.connections) - self.kept
        if over > 0:
            # New ones first, then those between two requests; the oldest of each.
            for connection in sorted(self._idle(), key=lambda connection: connection.since is None)[:over]:
                connection.shut()

    def _idle(self) -> list[Connection]:
        """Those on which nothing is asked, and that had time to ask; the oldest first."""
        before = time.monotonic() - lifecycle.FIRST_REQUEST_SECONDS
        return [
            connection
            for connection in self.connections
            if connection.state is READING and (connection.since is None or connection.since < before)
        ]

    # -- a request

    def log_answer(self, request: RequestOfGrant, size: int) -> None:
        """Tell gunicorn's access log of a poll that was parked, and answered with a body of so many bytes."""
        request.response.sent = size
        self.log.access(request.response, request.response.req, request.environ, datetime.now() - request.begun)

    def serve(self, connection: Connection) -> None:
        """Serve the request whose head the connection has. Called in a greenlet."""
        plain = connection.listener.plain
        found = None if plain is None else plain.read(connection.unread, connection, connection.address)
        if found is None:
            self._serve_parsed(connection)
        else:
            self._serve_plain(connection, *found)

    def _serve_plain(
        self,
        connection: Connection,
        request: PlainRequest,
        response: Response,
        environ: dict[str, Any],
        end: int,
    ) -> None:
        """As gunicorn's `AsyncWorker.handle_request`, without what `_plain_requests` rules out."""
        connection.unread = connection.unread[end:]
        connection.asked()
        keep = parks = False
        try:
            self.nr += 1
            if not self.alive:
                response.force_close()
            answer = self.wsgi(environ, response.start_response)  # type: ignore[arg-type]  # what it returns is void there
            if self.is_already_handled(answer):
                keep = parks = True
            else:
                try:
                    for part in answer:
                        response.write(part)
                    response.close()
                finally:
                    if hasattr(answer, "close"):
                        answer.close()
                connection.flush()
                keep = not response.should_close()
        except BaseException as error:
            if response.headers_sent and not isinstance(error, OSError):
                self.log.exception("Error handling request")
                with contextlib.suppress(OSError):
                    connection.flush()
            else:
                self._say_failed(connection, request, error)
        connection.finish(keep=keep, parks=parks)

    def _serve_parsed(self, connection: Connection) -> None:
        """As gunicorn's `AsyncWorker.handle` for one request."""
        client: Any = connection  # as much of a socket as is asked of it
        request = None
        keep = parks = False
        parser = http.get_parser(self.cfg, client, connection.address)
        try:
            try:
                request = next(parser)
                connection.asked()
                # The types say that they return nothing.
                handled: Any = AsyncWorker.handle_request(
                    self, connection.listener.getsockname(), request, client, connection.address
                )
                parks = handled is False  # nothing was answered
                connection.flush()
                body: Any = request.body
                if getattr(body.reader, "length", 1):  # all of it was read where that is known, and 0
                    connection.finishes()
                keep = parser.finish_body()  # type: ignore[assignment]
            except (StopIteration, http.errors.NoMoreData):
                connection.flush()
        except BaseException as error:
            keep = False
            self._say_failed(connection, request, error)
        connection.unread = parser.unreader.take_buffered() + connection.unread
        connection.finish(keep=keep, parks=parks)

    def _say_failed(self, connection: Connection, request: Request | None, error: BaseException) -> None:
        """Tell the client what was wrong, where it may still listen, and the log what was unexpected."""
        client: Any = connection
        if not isinstance(error, OSError):
            self.handle_error(request, client, connection.address, error)
        elif error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ETIMEDOUT):
            self.log.exception("Socket error processing request.")
        with contextlib.suppress(OSError):
            connection.flush()
