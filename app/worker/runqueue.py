"""The connections whose head is whole, served one after another.

One greenlet serves them all. Only when a request waits (for its body, for a client that reads slowly, for another
worker) another takes over those behind it, so that most requests cost no greenlet of their own.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, Final, Protocol

from gevent import get_hub
from greenlet import getcurrent, greenlet

log = logging.getLogger("bide")

#: The loop is held no longer than this for requests; events, times and other clients' bytes have their turn then.
SLICE_SECONDS: Final = 0.003


class Server(Protocol):
    """The worker."""

    def serve(self, connection: Any) -> None: ...


class RunQueue:
    """The queue of one worker. `arrivals` is how many have come so far."""

    def __init__(self, server: Server) -> None:
        self.arrivals = 0
        self._server = server
        self._waiting: deque[Any] = deque()
        self._is_due = False
        self._hub: Any = get_hub()
        # A timer of no time: it fires in the next turn, where a callback could come in this one, before the sockets.
        self._timer: Any = self._hub.loop.timer(0)

    def add(self, connection: Any) -> None:
        """Serve the connection in its turn, in a greenlet. Does not switch."""
        self.arrivals += 1
        self._waiting.append(connection)
        if not self._is_due:
            self._is_due = True
            self._hub.loop.run_callback(self._work)

    def _work(self) -> None:
        ends_at = time.monotonic() + SLICE_SECONDS
        try:
            while self._waiting and time.monotonic() < ends_at:
                # Returns when the greenlet has ended, or when the request that it serves waits.
                greenlet(self._serve, self._hub).switch(ends_at)
        finally:
            self._is_due = bool(self._waiting)
            if self._is_due:
                self._timer.start(self._work)

    def _serve(self, ends_at: float) -> None:
        current = getcurrent()
        while self._waiting:
            connection = self._waiting.popleft()
            # Context variables are a request's own, as they are in a greenlet of its own.
            current.gr_context = None
            try:
                self._server.serve(connection)
            except (SystemExit, KeyboardInterrupt):
                raise  # the process is to end
            except BaseException:
                # Whatever it was, somebody's gevent.Timeout too: it is the end of this connection, not of the queue.
                log.exception("a request could not be served")
                connection.abandon()
            if time.monotonic() > ends_at:
                break
