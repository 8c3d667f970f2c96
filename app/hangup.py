"""Tells when the client of a waiting request has gone, so that its poll ends at once and nothing of it stays.

One epoll a worker, for nothing but the peer's closing: EPOLLRDHUP comes for a close, a reset and a half-close, also
behind bytes that nobody has read yet (a pipelined request, a TLS record), where peeking at the socket would see only
the bytes. The epoll's own descriptor is watched by one watcher of gevent's loop.

Where there is no epoll (macOS) a client that went is noticed when its answer is written.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import gevent
from gevent import monkey

#: Peers that went, looked at in one turn of the event loop.
BATCH = 256
_READ = 1


class HangUps:
    """Watches connections of this process. The callbacks run in the event loop: they may only set flags."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._epoll: Any = None
        self._watcher: Any = None

    def __len__(self) -> int:
        return len(self._callbacks)

    def watch(self, client: Any, callback: Callable[[], None]) -> AbstractContextManager[None]:
        """Call back when the client (a connected socket) closes, for the time of a `with` block."""
        if not hasattr(select, "EPOLLRDHUP"):
            return nullcontext()
        return _Watched(self, client.fileno(), callback)

    def add(self, descriptor: int, callback: Callable[[], None]) -> None:
        if self._epoll is None:
            # The unpatched one: gevent's would be waited on by a greenlet, ours is only ever asked without waiting.
            self._epoll = monkey.get_original("select", "epoll")()
            self._watcher = gevent.get_hub().loop.io(self._epoll.fileno(), _READ)
            self._watcher.start(self._ready)
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)
        self._callbacks[descriptor] = callback

    def remove(self, descriptor: int) -> None:
        """Must come before the socket is closed: the system uses its number again."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._epoll is not None:
            self._watcher.stop()
            self._watcher.close()
            self._epoll.close()
            self._epoll = None

    def _ready(self) -> None:
        for descriptor, _ in self._epoll.poll(0, BATCH):
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                callback()


class _Watched:
    __slots__ = ("_callback", "_descriptor", "_hang_ups")

    def __init__(self, hang_ups: HangUps, descriptor: int, callback: Callable[[], None]) -> None:
        self._hang_ups = hang_ups
        self._descriptor = descriptor
        self._callback = callback

    def __enter__(self) -> None:
        self._hang_ups.add(self._descriptor, self._callback)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_ups.remove(self._descriptor)
