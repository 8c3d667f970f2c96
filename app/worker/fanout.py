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

from ..waiter import Ending, Waiter

#: The loop is held no longer than this for polls; whoever comes meanwhile has his turn then. A thousand clients get
#: their event in this on the machine of docs/benchmarks.md, where the turn between two slices takes a millisecond.
SLICE_SECONDS: Final = 0.009
#: The last few have theirs in the same slice all the same, if that is done so soon.
FEW: Final = 100
FEW_SECONDS: Final = 0.0005
#: While others are still to be answered, so often a slice of those who were is put away.
PATIENCE_SECONDS: Final = 0.05
#: Standings that are remembered.
STANDINGS: Final = 1000


class Standing:
    """What polls of one standing are answered within one slice: `data`, None where none of them had his turn yet, and
    whether their connections end with it."""

    __slots__ = ("closes", "data")

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.closes = False


class Parked(Protocol):
    """A connection with a parked poll. All is called by the event loop: none of it may switch greenlets."""

    def enqueue(self) -> None:
        """Put yourself into the queue, unless you are in it."""

    def stand_alone(self) -> None:
        """The poll's answer may be another than that of the polls which stand where it does."""

    def proceed(self) -> None:
        """Look whether the poll can be answered, and send the answer."""

    def settle(self) -> None:
        """The answer was sent: be counted no more, and do not call for what the client asks next. Raises nothing."""

    def put_away(self) -> None:
        """Let go of the poll, and go on with the connection."""


class ParkedWaiter(Waiter):
    """The waiter of a poll that no greenlet waits for: it puts the connection into the worker's queue."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Parked) -> None:
        super().__init__()
        self._connection = connection

    def wake(self, channels: frozenset[str]) -> None:
        # As the other's, without a call more: a thousand are to be woken before one of them is answered.
        self.ready = self.ready | channels if self.ready else channels
        self._roused = True
        self._connection.enqueue()

    def end(self, ending: Ending) -> None:
        self._connection.stand_alone()
        super().end(ending)

    def rouse(self) -> None:
        self._roused = True
        self._connection.enqueue()


class Fanout:
    """The queue of one worker."""

    def __init__(self) -> None:
        self._standings: dict[Hashable, Standing] = {}
        self._shared: list[Standing] = []
        self._roused: deque[Parked] = deque()
        #: In a slice, those to whom it has sent.
        self._sent: list[Parked] = []
        self._is_in_slice = False
        self._answered: deque[Parked] = deque()
        self._answered_since = 0.0
        # A timer of no time: it fires in the next turn, where a callback could come in this one, before the sockets.
        self._timer: Any = get_hub().loop.timer(0)

    def standing(self, key: Hashable) -> Standing:
        """The standing of polls whose answers depend on this alone."""
        # Found when a poll is parked: when it is answered nothing is left to be worked out.
        found = self._standings.get(key)
        if found is None:
            if len(self._standings) >= STANDINGS:
                self._standings.clear()  # those who stand there already share among themselves, and newcomers likewise
            found = self._standings[key] = Standing()
        return found

    def share(self, standing: Standing, data: bytes, closes: bool) -> None:
        """Let the others of the standing have the same answer in this slice; outside of one there are none."""
        if self._is_in_slice:
            standing.data, standing.closes = data, closes
            self._shared.append(standing)

    def add(self, parked: Parked) -> None:
        """Let it proceed in its turn."""
        self._roused.append(parked)
        if not self._timer.active:
            self._timer.start(self._work)

    def add_answered(self, parked: Parked) -> None:
        """The answer was sent: let it be put away when everybody has his, or has kept it waiting for long enough."""
        self._sent.append(parked)
        if not self._is_in_slice:
            self._settle()
            if not self._timer.active:
                self._timer.start(self._work)

    def _settle(self) -> None:
        if self._sent and not self._answered:
            self._answered_since = time.monotonic()
        sent, self._sent = self._sent, []
        for parked in sent:
            parked.settle()
        self._answered.extend(sent)

    def _work(self) -> None:
        begun = time.monotonic()
        ends_at = begun + SLICE_SECONDS
        few_end_at = ends_at + FEW_SECONDS
        roused, answered = self._roused, self._answered
        # Where events never cease, whoever was answered has his turn all the same.
        is_late = bool(answered) and begun - self._answered_since > PATIENCE_SECONDS
        self._is_in_slice = True
        try:
            while roused and not is_late and time.monotonic() < (ends_at if len(roused) > FEW else few_end_at):
                roused.popleft().proceed()
            self._settle()
            while answered and (is_late or not roused) and time.monotonic() < ends_at:
                answered.popleft().put_away()
        finally:
            self._is_in_slice = False
            self._settle()  # whatever failed: nobody may ask again before it
            for standing in self._shared:
                standing.data = None
            self._shared.clear()
            self._answered_since = begun if is_late else self._answered_since
            if roused or answered:
                self._timer.start(self._work)
