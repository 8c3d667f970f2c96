"""The parked polls that have been roused, one after another, a slice of them in each turn of the event loop.

First everybody is sent what there is; only then is put away what their polls held, and read what they ask next. So the
thousandth client of a channel waits for a thousand sends and for nothing else. Within a slice no event is announced and
no greenlet runs: the bytes that one client has got are those of the next that stands at the same place.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable
from typing import Any, Final, Protocol

from gevent import get_hub

from ..waiter import Waiter

#: The loop is held no longer than this for polls; whoever comes meanwhile has his turn then.
SLICE_SECONDS: Final = 0.007
#: While others are still to be answered, so often a slice of those who were is put away.
PATIENCE_SECONDS: Final = 0.05


class Parked(Protocol):
    """A connection with a parked poll. All is called by the event loop: none of it may switch greenlets."""

    def enqueue(self) -> None:
        """Put yourself into the queue, unless you are in it."""

    def proceed(self) -> None:
        """Look whether the poll can be answered, and send the answer."""

    def put_away(self) -> None:
        """The answer was sent: let go of the poll, and go on with the connection."""


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
    """The queue of one worker. `shared` are the answers of this slice, by what they depend on."""

    def __init__(self) -> None:
        self.shared: dict[Hashable, bytes] = {}
        self._roused: deque[Parked] = deque()
        self._answered: deque[Parked] = deque()
        self._answered_since = 0.0
        # A timer of no time: it fires in the next turn, where a callback could come in this one, before the sockets.
        self._timer: Any = get_hub().loop.timer(0)

    def add(self, parked: Parked) -> None:
        """Let it proceed in its turn."""
        self._roused.append(parked)
        if not self._timer.active:
            self._timer.start(self._work)

    def add_answered(self, parked: Parked) -> None:
        """Let it be put away when everybody is answered, or has kept it waiting for long enough."""
        if not self._answered:
            self._answered_since = time.monotonic()
        self._answered.append(parked)
        if not self._timer.active:
            self._timer.start(self._work)

    def _work(self) -> None:
        begun = time.monotonic()
        ends_at = begun + SLICE_SECONDS
        roused, answered = self._roused, self._answered
        # Where events never cease, whoever was answered has his turn all the same.
        is_late = bool(answered) and begun - self._answered_since > PATIENCE_SECONDS
        try:
            while roused and not is_late and time.monotonic() < ends_at:
                roused.popleft().proceed()
            while answered and (is_late or not roused) and time.monotonic() < ends_at:
                answered.popleft().put_away()
        finally:
            self.shared.clear()
            self._answered_since = begun if is_late else self._answered_since
            if roused or answered:
                self._timer.start(self._work)
