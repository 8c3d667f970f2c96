"""One poll, from its first look to its answer: where it stands in each of its channels, and when it is over.

Nothing here waits. A greenlet that is blocked for the poll, or the event loop where there is none, is told by the
poll's waiter that there may be something, and asks the poll to look again.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, Literal, Protocol

from .errors import StoreUnavailable
from .events import Event, Page
from .waiter import NOTHING, Waiter

Cursor = int | Literal["latest"]

#: A parked poll whose channel could not be read tries again after this.
RETRY_SECONDS: Final = 0.5


class Place:
    """Where a poll stands in one channel.

    `after` is the last id that it is past, `held` the cursor to hand out if nothing comes. `gap` is set once events
    between the cursor and the floor may have existed; `oldest` is then the oldest retained id.
    """

    __slots__ = ("after", "asked", "channel", "gap", "held", "oldest")

    def __init__(self, channel: str, asked: Cursor) -> None:
        self.channel = channel
        self.asked = asked
        self.after = -1 if asked == "latest" else asked
        self.held = self.after
        self.gap = False
        self.oldest: int | None = None


class Reader(Protocol):
    """What a poll asks for events: `Subscriber`."""

    def look(self, places: Sequence[Place], limit: int) -> Sequence[Event]: ...

    def knows(self, places: Sequence[Place]) -> bool: ...

    def answered(self, poll: Poll) -> None: ...

    def close(self, poll: Poll) -> None: ...


class Poll:
    """What one request waits for. Made by `Subscriber.open`, and closed by whoever asked for it, once.

    `deadline` is on the clock of `time.monotonic`; `found` are the events of the last look, `counted_for` is
    the client of whom it is one poll, where these are counted.
    """

    __slots__ = (
        "_limit",
        "_reader",
        "_seconds",
        "_several",
        "_unread",
        "client_id",
        "counted_for",
        "deadline",
        "found",
        "is_counted",
        "is_present",
        "is_registered",
        "places",
        "waiter",
    )

    def __init__(
        self,
        reader: Reader,
        cursors: Mapping[str, Cursor],
        waiter: Waiter,
        seconds: float,
        limit: int | None,
        several: bool,
        client_id: str,
    ) -> None:
        self._reader = reader
        self._limit = limit
        self._several = several
        self._unread = NOTHING
        self.places = [Place(channel, cursor) for channel, cursor in cursors.items()]
        self.waiter = waiter
        self.client_id = client_id
        self._seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.found: Sequence[Event] = ()
        self.is_counted = False
        self.counted_for: str | None = None
        self.is_present = False
        self.is_registered = False

    @property
    def channels(self) -> list[str]:
        return [place.channel for place in self.places]

    @property
    def is_over(self) -> bool:
        """Whether it is to be answered now."""
        return bool(self.found) or self.waiter.ending is not None or time.monotonic() >= self.deadline

    @property
    def wake_at(self) -> float:
        """When it is to look again although nothing was announced, on the clock of `time.monotonic`."""
        return min(self.deadline, time.monotonic() + RETRY_SECONDS) if self._unread else self.deadline

    @property
    def standing(self) -> Hashable:
        """What the answer depends on, beside the channel's events: polls of one standing have the same. None where it
        depends on more."""
        if len(self.places) > 1 or self._unread or self.places[0].gap or self.waiter.ending is not None:
            return None
        place = self.places[0]
        return place.channel, place.after, self._limit, self._several

    @property
    def needs_store(self) -> bool:
        """Whether the next look may read the store, and so may switch greenlets."""
        ready = self._ready()
        return bool(ready) and not self._reader.knows(self._at(ready))

    def look(self) -> None:
        """Look at what was announced since the last look. Reads the store only where `needs_store`."""
        ready = self._ready()
        self._unread = NOTHING
        self.waiter.clear()
        if ready:
            try:
                self.found = self._reader.look(self._at(ready), self._limit or 1)
                if self.found:
                    self._unread = ready  # there may be more: whoever goes on behind this page looks again
            except StoreUnavailable:
                self._unread = ready  # stay parked: what was announced is read when the store is back

    def page(self) -> Page:
        """The answer. Whose token was revoked has nothing of what was found meanwhile."""
        permit = self.waiter.permit
        if self.waiter.ending == "revoked" or (permit is not None and permit.is_revoked):
            self.found = ()  # nor do others get it who stand where it does, as if it were theirs
        return _page(self.places, self.found, self._several, self._limit is not None)

    def go_on(self, page: Page) -> None:
        """Begin anew behind a page that was sent."""
        for place in self.places:
            place.after = place.held = page.cursors[place.channel]
            place.gap = False
            place.oldest = None
        self.found = ()
        self.deadline = time.monotonic() + self._seconds
        if self._unread:
            self.waiter.rouse()

    def answered(self) -> None:
        """The answer was sent, and the poll is closed in a moment."""
        self._reader.answered(self)

    def close(self) -> None:
        self._reader.close(self)

    def _ready(self) -> frozenset[str]:
        return self.waiter.ready | self._unread if self._unread else self.waiter.ready

    def _at(self, ready: frozenset[str]) -> list[Place]:
        if len(self.places) == 1:
            return self.places
        return [place for place in self.places if place.channel in ready]


def _page(places: Sequence[Place], events: Sequence[Event], several: bool, batch: bool) -> Page:
    cursors = {place.channel: place.held for place in places}
    for event in events:
        cursors[event.channel] = event.id
    gaps = {place.channel: place.oldest for place in places if place.gap}
    for event in events:
        # Nothing was retained when the gap was met, and this is what came since.
        if gaps.get(event.channel, 0) is None:
            gaps[event.channel] = event.id
    return Page(cursors, events, gaps, several, batch)
