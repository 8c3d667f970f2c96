"""The parked polls that have been roused, one after another, a slice of them in each turn of the event loop."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final, Protocol

from gevent import get_hub

from ..waiter import Waiter

#: The loop is held no longer than this for polls; whoever comes meanwhile has his turn then.
SLICE_SECONDS: Final = 0.004


class Parked(Protocol):
    """A connection with a parked poll."""

    def enqueue(self) -> None:
        """Put yourself into the queue, unless you are in it."""

    def proceed(self) -> None:
        """Look whether the poll can be answered. Called by the event loop: it must not switch greenlets."""


class ParkedWaiter(Waiter):
    """The waiter of a poll that no greenlet waits for: it puts the connection into the worker's queue."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Parked) -> None:
        super().__init__()
        self._connection = connection

    def rouse(self) -> None:
        self._roused = True
        self._connection.enqueue()


class Fanout:
    """The queue of one worker."""

    def __init__(self) -> None:
        self._roused: deque[Parked] = deque()
        # A timer of no time: it fires in the next turn, where a callback could come in this one, before the sockets.
        self._timer: Any = get_hub().loop.timer(0)

    def add(self, parked: Parked) -> None:
        self._roused.append(parked)
        if not self._timer.active:
            self._timer.start(self._work)

    def _work(self) -> None:
        roused = self._roused
        ends_at = time.monotonic() + SLICE_SECONDS
        try:
            while roused:
                roused.popleft().proceed()
                if time.monotonic() > ends_at:
                    break
        finally:
            if roused:
                self._timer.start(self._work)
