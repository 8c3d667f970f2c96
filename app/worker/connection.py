"""One connection: its states, and what leads from one to the next.

Methods that begin with `on_` are called by the event loop, and so are `read`, `rouse`, `stand_alone`, `proceed`,
`settle` and `put_away`: none of them may switch greenlets. While the connection is SERVING, one greenlet has it, or
will in a moment, and reads and writes as request.py has it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, Final

from .. import guard, lifecycle
from .parked import HEAD_END, READ_BYTES, HolderOfPoll, Office
from .sender import Sender
from .state import CLOSED, PARKED, QUEUED, READING, SERVING, WRITING

#: A head that is longer is gathered by the greenlet, by gunicorn's bounds.
GATHERED_BYTES: Final = 65536


class Connection(HolderOfPoll):
    """A client's connection to one worker."""

    __slots__ = ("_sender", "_step", "address", "listener", "since")

    def __init__(self, worker: Office, sock: Any, address: Any, listener: Any) -> None:
        super().__init__(sock, worker)
        self.address = address
        self.listener = listener
        #: When it was opened, until it has asked for something.
        self.since: float | None = time.monotonic()
        self._sender: Sender | None = None
        self._watcher.start(self.on_readable)
        self._step: int | None = None
        self._wake_at(time.monotonic() + lifecycle.HEAD_SECONDS)

    # -- READING

    def on_readable(self) -> None:
        if self.state is PARKED:
            self._read_behind_poll()
            return
        # Read in its turn: thousands may have come at once. Left alone, the watcher would call in each turn until then.
        self._watcher.stop()
        self._queue()

    def _queue(self) -> None:
        self.state = QUEUED
        self._worker.run_queue.add(self)

    def read(self) -> bool:
        """Its turn has come; whether there is a request to serve."""
        if self.state is not QUEUED:
            return False  # it was closed meanwhile
        had = len(self.unread)
        if had and self._has_head():
            return self._is_served()
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return self._reads_on()
        except OSError:
            data = b""
        if not data:
            return self._has_ended()
        self.unread = self.unread + data if had else data
        begins = not had and self.since is None  # until now it was idle between two requests
        if self._has_head(had):
            return self._is_served(begins)
        if begins:
            self._wake_at(time.monotonic() + lifecycle.HEAD_SECONDS)
        return self._reads_on()

    def _has_head(self, looked_at: int = 0) -> bool:
        """Whether a head is there, or enough for the greenlet to take over; or what will never be one, which the parser
        refuses at once: TLS, say, or lines that end with LF alone."""
        since = max(0, looked_at - len(HEAD_END))
        return (
            self.unread.find(HEAD_END, since) >= 0
            or len(self.unread) > GATHERED_BYTES
            or self.unread.find(b"\n\n", since) >= 0
            or not (self.unread[:1].isupper() or self.unread[:1] == b"\r")
        )

    def _has_ended(self) -> bool:
        """No more comes. The parser tells what is wrong with half a head, if anything is but that."""
        if self.unread:
            return self._is_served()
        self.close()
        return False

    def _reads_on(self) -> bool:
        """There is no whole head yet."""
        if self._step is None:  # its time was up while it waited for its turn
            if self.unread:
                self.shut()
            return self._has_ended()
        self.state = READING
        self._watcher.start(self.on_readable)
        return False

    def _read_on(self) -> None:
        """The next request may come, or is here already."""
        self.state = READING
        self._wake_at(time.monotonic() + (lifecycle.HEAD_SECONDS if self.unread else self._worker.keepalive))
        if self.unread and self._has_head():
            self._queue()
        else:
            self._watcher.start(self.on_readable)

    # -- SERVING

    def _is_served(self, begins: bool = False) -> bool:
        if self.unread.find(HEAD_END) >= 0:
            self._wake_at(None)  # whoever reads it finds its end
        elif begins or self._step is None:
            self._wake_at(time.monotonic() + lifecycle.HEAD_SECONDS)
        self.since = None
        self.begin()
        self.state = SERVING
        return True

    @property
    def batch(self) -> int | None:
        """The number of a batch that was read with this request or later; None where its body came later still."""
        return None if self.came_later else self._worker.run_queue.batch

    def asked(self) -> None:
        """The greenlet has the head. What follows has bounds of its own."""
        self._wake_at(None)

    def finishes(self) -> None:
        """The greenlet reads what the app left of the body, in the time that gunicorn gives it with the next head."""
        self._wake_at(time.monotonic() + self._worker.keepalive)

    def finish(self, *, keep: bool, parks: bool = False) -> None:
        """The greenlet is done with the request. `keep`: another may come on this connection. `parks`: nothing was
        answered, and the grant is to be."""
        grant = self._grant
        if grant is not None and (not parks or self.state is CLOSED):
            # The view began a poll, and then something threw its answer away, or made another of it.
            self._grant = None
            grant.end()
        if self.state is CLOSED:
            return
        if self._grant is not None:
            self._park(self._grant)
        elif keep:
            self._read_on()
        else:
            self.close()

    def abandon(self) -> None:
        """Reading or serving failed, as nobody foresaw. Keep nothing of it, nor of a poll that the view began."""
        if self.state in (SERVING, CLOSED):
            self.finish(keep=False)
        else:
            self.close()

    # -- WRITING

    def _write(self, data: bytes, closes: bool) -> None:
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent == len(data):
            self.written(closes)
        else:
            self._write_rest(data[sent:], closes)

    def _write_rest(self, data: bytes, closes: bool) -> None:
        self.state = WRITING
        self._watcher.stop()
        self._sender = Sender(self, data, closes)
        self._wake_at(self._sender.ends_at)

    def written(self, closes: bool) -> None:
        """The answer is with the system."""
        self._sender = None
        if closes:
            self.close()
        elif self._grant is not None:
            self._park(self._grant)
        else:
            self._read_on()

    # -- its times, and its end

    def _wake_at(self, when: float | None) -> None:
        """Be roused then, on the clock of `time.monotonic`, and not when it was said before."""
        if self._step is not None:
            self._worker.deadlines.remove(self._step, self)
        self._step = None if when is None else self._worker.deadlines.add(when, self)

    def rouse(self) -> None:
        """The time is up, whatever it was for."""
        self._step = None
        if self.state is PARKED:
            self.enqueue()
        elif self.state is SERVING:
            self.shut()  # the greenlet reads a head, or the rest of a body, and meets the end
        elif self.state is READING:
            self._watcher.stop()
            self._queue()  # whose time is up is told so in its turn
        elif self._sender is not None:
            if self._sender.has_moved():
                self._wake_at(self._sender.ends_at)
            else:
                guard.cut(self)
                self.close()

    def shut(self) -> None:
        """Take nothing more from the client than what it has sent."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)

    def close(self, *_: Any) -> None:
        if self.state is CLOSED:
            return
        if self._grant is not None and self.state is not SERVING:
            self._let_go(self._grant)
        self._wake_at(None)
        self.state = CLOSED
        self._held = None
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        self._watcher.stop()
        self._watcher.close()
        self.sock.close()
        self._worker.closed(self)
