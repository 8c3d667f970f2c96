"""The connections on which something has come: read, and served, one after another.

They are read in batches, right before they are served, so that of ten thousand heads that come at once a few are in
memory at a time. One greenlet serves a batch. Only when a request waits (for its body, for a client that reads slowly,
for another worker) another greenlet takes over those behind it: most requests cost none of their own.
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
SLICE_SECONDS: Final = 0.002
#: Heads that are in memory at a time. A browser's has 1.5 KiB.
BATCH: Final = 64


class Queued(Protocol):
    """A connection. `read` is called by the event loop: it may not switch greenlets."""

    def read(self) -> bool:
        """Read what has come; whether there is a request to serve."""

    def abandon(self) -> None:
        """Reading or serving it has failed."""


class Server(Protocol):
    """The worker."""

    def serve(self, connection: Any) -> None: ...


class RunQueue:
    """The queue of one worker. `batch` is the number of the batch that is served: all of it was read before the first
    of it was served."""

    def __init__(self, server: Server) -> None:
        self.batch = 0
        self._server = server
        self._waiting: deque[Queued] = deque()
        self._read: deque[Queued] = deque()
        self._is_due = False
        self._hub: Any = get_hub()
        # A timer of no time: it fires in the next turn, where a callback could come in this one, before the sockets.
        self._timer: Any = self._hub.loop.timer(0)

    def add(self, connection: Queued) -> None:
        """Read and serve the connection in its turn. Does not switch."""
        self._waiting.append(connection)
        if not self._is_due:
            self._is_due = True
            self._hub.loop.run_callback(self._work)

    def _work(self) -> None:
        ends_at = time.monotonic() + SLICE_SECONDS
        try:
            while (self._read or self._waiting) and time.monotonic() < ends_at:
                if not self._read:
                    self._read_batch()
                # Returns when the greenlet has ended, or when the request that it serves waits.
                greenlet(self._serve, self._hub).switch(ends_at)
        finally:
            self._is_due = bool(self._read or self._waiting)
            if self._is_due:
                self._timer.start(self._work)

    def _read_batch(self) -> None:
        self.batch += 1
        for _ in range(min(BATCH, len(self._waiting))):
            connection = self._waiting.popleft()
            try:
                if connection.read():
                    self._read.append(connection)
            except Exception:
                log.exception("a request could not be read")
                connection.abandon()

    def _serve(self, ends_at: float) -> None:
        current = getcurrent()
        while self._read:
            connection = self._read.popleft()
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
