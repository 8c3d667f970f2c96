"""The rest of an answer that a client takes slowly, sent by the event loop as the system takes it."""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

from gevent import get_hub

from .. import guard

WRITE: Final = 2


class Receiver(Protocol):
    """A connection."""

    sock: Any

    def fileno(self) -> int: ...

    def written(self, closes: bool) -> None: ...

    def close(self) -> None: ...


class Sender:
    """Calls `written(closes)` when all is with the system. `ends_at`: when the client must have taken some of it."""

    def __init__(self, receiver: Receiver, data: bytes, closes: bool) -> None:
        self._receiver = receiver
        self._data = memoryview(data)
        self._closes = closes
        guard.Unsent.size += len(data)
        self._watcher: Any = get_hub().loop.io(receiver.fileno(), WRITE)
        self._watcher.start(self.on_writable)
        self._begin_time()

    def on_writable(self) -> None:
        try:
            sent = self._receiver.sock.send(self._data)
        except BlockingIOError:
            return
        except OSError:
            self._receiver.close()
            return
        self._data = self._data[sent:]
        guard.Unsent.size -= sent
        self._begin_time()
        if not self._data:
            self.close()
            self._receiver.written(self._closes)

    def has_moved(self) -> bool:
        """Whether the client took something in its time, which begins anew if it did."""
        if time.monotonic() < self.ends_at:
            return True
        # The system takes more only when there is much room again: a slow reader may have taken some all the same.
        if guard.waiting(self._receiver) >= self._waiting:
            return False
        self._begin_time()
        return True

    def close(self) -> None:
        """Send no more."""
        self._watcher.stop()
        self._watcher.close()
        guard.Unsent.size -= len(self._data)
        self._data = memoryview(b"")

    def _begin_time(self) -> None:
        self._waiting = guard.waiting(self._receiver)
        self.ends_at = time.monotonic() + guard.sending_seconds()
