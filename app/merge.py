"""Several channels in one page: the oldest waiting event first, and no channel starved by a busy one.

Each ready channel gives one event before any gives a second, as far as the limit goes; what room is left is filled
with the oldest that wait. Then all are put in order: among channels by time, within a channel by id, whatever the
clock did.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence

from .events import Event

#: How many events a channel is asked for at once when a page has room.
STEP = 16


class Ready:
    """A channel with waiting events: the first of them, and how to get more after an id (limit, bytes)."""

    __slots__ = ("_events", "_more")

    def __init__(self, events: Sequence[Event], more: Callable[[int, int, int], Sequence[Event]]) -> None:
        self._events = events
        self._more = more

    def events(self, max_bytes: int) -> Iterator[Event]:
        """The waiting events in id order, read as they are asked for."""
        events = self._events
        while events:
            yield from events
            events = self._more(events[-1].id, STEP, max_bytes)


def _age(event: Event) -> tuple[int, int]:
    return event.at_us, event.id


def merge(ready: Sequence[Ready], limit: int, max_bytes: int) -> list[Event]:
    """At most `limit` events whose JSON has at most `max_bytes`, but at least one. `ready` must not be empty."""
    sources = [source.events(max_bytes) for source in ready]
    heads = [(*_age(event), number, event) for number, event in enumerate(map(next, sources))]
    heads.sort()
    taken: list[list[Event]] = [[] for _ in sources]
    room, size = limit, 0
    # The first round: one of each, oldest first. Ends the page where the next would not fit.
    for *_, number, event in heads:
        size += len(event.json) + 1
        if not room or (size > max_bytes and room < limit):
            return _in_order(taken)
        taken[number].append(event)
        room -= 1
    waiting = []
    for number, source in enumerate(sources):
        if room and (second := next(source, None)) is not None:
            waiting.append((*_age(second), number, second))
    heapq.heapify(waiting)
    while room and waiting:
        *_, number, event = waiting[0]
        size += len(event.json) + 1
        if size > max_bytes:
            break
        taken[number].append(event)
        room -= 1
        following = next(sources[number], None)
        if following is None:
            heapq.heappop(waiting)
        else:
            heapq.heapreplace(waiting, (*_age(following), number, following))
    return _in_order(taken)


def _in_order(taken: list[list[Event]]) -> list[Event]:
    return list(heapq.merge(*taken, key=_age))
