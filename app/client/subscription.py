"""The loop around long polls that nobody has to write again."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from .answers import Answer
from .backoff import Backoff
from .errors import BadAnswer, ClientError, Refused, Unavailable
from .events import Event, Gap, event_of
from .places import Places
from .wire import Wire

log = logging.getLogger("bide.client")

#: An answer takes so much longer than the hold at most.
READ_SECONDS: Final = 5.0
#: An answer without news that comes sooner is early: it may be followed by a poll at once, but not again and again.
EARLY_SECONDS: Final = 1.0
#: A poll whose URL would be longer goes as a POST.
URL_BYTES: Final = 6000


class News(NamedTuple):
    """What an answer has for us: `leads` is how far each channel has come once the events were processed."""

    events: list[Event]
    leads: dict[str, int]
    gaps: list[Gap]


class Subscription:
    """The events of some channels, each once and in the order of its channel, for as long as it is asked for the next.

    To be iterated by one thread or greenlet; `close` may be called by any. An event counts as processed when the next
    one is asked for, or by `commit`.
    """

    def __init__(
        self, wire: Wire, places: Places, on_gap: Callable[[Gap], object] | None, hold: float, limit: int
    ) -> None:
        self._wire = wire
        self._places = places
        self._on_gap = on_gap or _warn
        self._hold = hold
        self._limit = limit
        self._backoff = Backoff()
        self._waiting: deque[Event] = deque()
        #: Where the last answer leads once its events were processed.
        self._next: dict[str, int] = {}
        self._last: Event | None = None
        self._early = 0
        self._is_troubled = False
        self._has_worked = False
        self._asking = threading.Lock()

    @property
    def channels(self) -> tuple[str, ...]:
        return self._places.channels

    @property
    def cursor(self) -> dict[str, int | str]:
        """For each channel the id up to which everything was processed, or "latest" before the first answer. A later
        subscription goes on from it: it is what `since` takes."""
        return dict(self._places.of)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        self.commit()
        event = self.fetch()
        if event is None:
            raise StopIteration
        return event

    def fetch(self) -> Event | None:
        """The next event, None once this was closed; the one before is not thereby processed. Waits without end. Raises
        Refused where the server will never have it otherwise, ClientError where the cursor cannot be kept, and whatever
        `on_gap` raises."""
        with self._asking:
            while not self._waiting and not self._wire.is_cut:
                self._poll()
            if self._wire.is_cut:
                self._wire.close()
                return None
            self._last = self._waiting.popleft()
            return self._last

    def commit(self) -> None:
        """The event that came last was processed. Raises ClientError where that cannot be kept."""
        event, self._last = self._last, None
        if event is not None:
            self._places.move({event.channel: event.id} if self._waiting else self._next)

    def close(self) -> None:
        """End it. Who waits for the next event is told at once that there is none."""
        self._wire.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- one poll

    def _poll(self) -> None:
        # "latest" is resolved when a poll is registered: one that was cut and asked again would miss what came between.
        hold = 0.0 if self._places.has_latest else self._hold
        begun = time.monotonic()
        try:
            news = self._read(self._ask(hold))
        except ClientError as error:
            if self._wire.is_cut:
                return
            if not self._passes(error):
                raise
            if not self._is_troubled:
                self._is_troubled = True
                log.warning("%s; trying again until it works", error)
            self._wire.rest(self._backoff.seconds(getattr(error, "retry_after", None)))
            return
        self._has_worked = True
        if self._is_troubled:
            self._is_troubled = False
            log.warning("%s: subscribed again", ", ".join(self.channels))
        # Not above: what `on_gap` raises is no outage of the server's.
        self._take(news)
        if self._waiting or hold == 0 or time.monotonic() - begun >= EARLY_SECONDS:
            self._early = 0
            self._backoff.reset()
            return
        self._early += 1
        if self._early > 1:
            self._wire.rest(self._backoff.seconds())

    def _passes(self, error: ClientError) -> bool:
        """Whether it may be well again by itself: an outage; and, where a Bide has answered before, whatever is not a
        Bide's word, such as a hotel's page that wants one to sign in."""
        return isinstance(error, Unavailable) or (self._has_worked and isinstance(error, Refused) and not error.by_bide)

    def _ask(self, hold: float) -> Answer:
        seconds = hold + READ_SECONDS
        options = {"timeout": f"{hold:g}", "limit": str(self._limit)}
        path, cursor = "/subscribe/" + ",".join(self.channels), self._places.cursor
        if len(path) + len(cursor) <= URL_BYTES:
            return self._wire.ask("GET", path, {"last_event_id": cursor} | options, seconds=seconds)
        content = {"channels": self._places.of, "timeout": hold, "limit": self._limit}
        return self._wire.ask("POST", "/subscribe", content=content, seconds=seconds)

    def _read(self, answer: Answer) -> News:
        """What the answer says that we did not know. Raises BadAnswer."""
        body, places = answer.body, self._places
        found = body.get("events", [])
        if not isinstance(found, list):
            raise BadAnswer("The answer has something else in the place of its events")
        events = [event_of(each) for each in found]
        leads = places.parsed(answer.headers.get("Last-Event-ID", body.get("last_event_id")))
        if not {event.channel for event in events} <= leads.keys():
            raise BadAnswer("The answer has events of channels that were not asked for")
        oldest = self._gaps(body)
        before = {channel: place if isinstance(place, int) else 0 for channel, place in places.of.items()}
        # The server has lost what there was up to our cursor, and its own word holds.
        lost = {channel for channel in oldest if leads[channel] < before[channel]}
        known = before | dict.fromkeys(lost, -1)
        fresh = [event for event in events if event.id > known[event.channel]]
        leads = {channel: max(id, known[channel]) for channel, id in leads.items()}
        # One that leads nowhere was told already.
        new = [channel for channel in oldest if channel in lost or leads[channel] != places.of[channel]]
        return News(fresh, leads, [Gap(channel, before[channel], oldest[channel]) for channel in new])

    def _take(self, news: News) -> None:
        """Tell the gaps, and put the events where they are fetched from. Raises what `on_gap` does, and ClientError."""
        for gap in news.gaps:
            self._on_gap(gap)
        # Where nothing waits to be processed it has come to there. A "latest" would else be a later one after a crash.
        behind = {event.channel for event in news.events}
        self._places.move({channel: id for channel, id in news.leads.items() if channel not in behind})
        self._waiting.extend(news.events)
        self._next = news.leads

    def _gaps(self, body: dict[str, Any]) -> dict[str, int | None]:
        """For each channel with a gap the oldest id that is left."""
        found = body.get("gaps", {})
        if body.get("gap") is True and len(self.channels) == 1:
            found = {self.channels[0]: body.get("oldest_event_id")}
        if not isinstance(found, dict) or not found.keys() <= set(self.channels):
            raise BadAnswer("The answer tells of gaps in channels that were not asked for")
        return {channel: id if isinstance(id, int) else None for channel, id in found.items()}


def _warn(gap: Gap) -> None:
    left = "none is left" if gap.oldest_event_id is None else f"the oldest that is left is {gap.oldest_event_id}"
    log.warning("events of %s after %d are gone; %s", gap.channel, gap.after, left)
