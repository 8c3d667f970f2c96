"""One process's parts, made once and wired to one another: what the views, and later the worker, work with."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import Final, NamedTuple

import gevent

from .config import Settings
from .deadlines import Deadlines
from .errors import Forbidden
from .events import Event
from .hangup import HangUps
from .lifecycle import Lifecycle
from .names import Patterns, is_own
from .notifier import Notifier
from .presence import Presence
from .publisher import Publisher
from .revocations import Revocations
from .roster import Roster
from .stores import Store
from .stores.base import ChannelInfo
from .subscriber import PAGE_BYTES, Subscriber

#: Looked at in one step of a list that shows some channels and others not: parts of the store that a token names.
TURN_RANGES: Final = 50


class History(NamedTuple):
    """A page of a channel's past. `oldest` is the oldest retained id, `last_event_id` where the next page begins."""

    events: list[Event]
    oldest: int | None
    last_event_id: int
    gap: bool


class Listing(NamedTuple):
    """A page of channels with the number of their subscribers. `partial`: these may be too few (see `roster.py`)."""

    channels: list[tuple[ChannelInfo, int]]
    partial: bool


class Server:
    """Everything of this process that is not HTTP. `store` is open; the server closes it."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.presence = Presence(settings.presence_seconds)
        self.revocations = Revocations()
        self.roster = Roster(store, self.presence)
        self.notifier = Notifier(
            store.retention,
            store.now_us,
            self.presence.subscribed,
            self.roster.answer,
            self.revocations.heard,
            self.revocations.missed,
        )
        self.publisher = Publisher(store, settings.max_message_bytes)
        self.deadlines = Deadlines()
        self.subscriber = Subscriber(
            store,
            self.notifier,
            self.deadlines,
            self.presence,
            settings.max_polls,
            settings.max_polls_per_client,
        )
        self.hang_ups = HangUps()
        self.lifecycle = Lifecycle(store, self.notifier, self.presence, settings.drain_seconds)
        store.listen(self.notifier)
        if settings.has_key:
            self.revocations.begin(store, self.notifier.end_revoked)

    def close(self) -> None:
        """End the greenlets and let go of the store."""
        self.lifecycle.stop()
        self.revocations.stop()
        self.deadlines.close()
        self.hang_ups.close()
        self.store.close()

    def counts(self) -> dict[str, int]:
        """How much there is of everything that a poll could leave behind."""
        return {
            "polls": self.subscriber.polls,
            "hang_ups": len(self.hang_ups),
            "deadlines": len(self.deadlines),
            **self.notifier.counts(),
            **self.presence.counts(),
        }

    def list_channels(self, prefix: str, after: str, limit: int, patterns: Patterns | None = None) -> Listing:
        """Channels with events, a head or a subscriber, by code point, each with its number of subscribers; only those
        that the patterns match, where there are any."""
        counts, partial = self.roster.counts(prefix, after, limit, patterns)
        # Only now: it is to show every write that was acknowledged before the call.
        kept = self._kept(prefix, after, limit, patterns)
        known = {info.channel for info in kept}
        # What the store does not name within its first `limit` it does not have, or it comes after them.
        subscribed = [unknown(name) for name in sorted(counts) if name not in known and not is_own(name)]
        merged = heapq.merge(kept, subscribed, key=lambda info: info.channel)
        return Listing([(info, counts.get(info.channel, 0)) for info in islice(merged, limit)], partial)

    def _kept(self, prefix: str, after: str, limit: int, patterns: Patterns | None) -> list[ChannelInfo]:
        if patterns is None:
            return self.store.channels(prefix, after, limit)
        found: list[ChannelInfo] = []
        # What it does not name is not looked at: it costs what is shown, and not what there is.
        for number, (start, many) in enumerate(patterns.ranges(prefix), 1):
            low = after
            while len(found) < limit:
                wanted = limit - len(found) if many else 1
                page = self.store.channels(start, low, wanted)
                found += [info for info in page if (patterns.matches(info.channel) if many else info.channel == start)]
                if not many or len(page) < wanted:
                    break
                low = page[-1].channel
            if number % TURN_RANGES == 0:
                gevent.sleep(0)  # others wait meanwhile, and a token may name a thousand
        return found

    def history(self, channel: str, after: int | None, before: int | None, limit: int) -> History:
        """The newest events below `before` when it is given alone, else the oldest after `after` (and below it)."""
        low = after or 0
        if before is not None and after is None:
            reading = self.store.read_before(channel, before, limit, PAGE_BYTES)
        else:
            reading = self.store.read(channel, low, limit, PAGE_BYTES)
        events = [event for event in reading.events if before is None or event.id < before]
        # A page with nothing on it goes on from where the channel is, so that a poll can take over.
        end = reading.head if reading.known and before is None else low
        gap = 0 < low < reading.floor or (reading.known and low > reading.head)
        return History(events, reading.oldest, events[-1].id if events else end, gap)

    def delete(self, channel: str) -> None:
        """Remove the channel's events; its head stays. Raises Forbidden for the server's own channels."""
        if is_own(channel):
            raise Forbidden("Channels that begin with '@bide.' are the server's own")
        self.store.delete(channel)


def unknown(channel: str) -> ChannelInfo:
    """A channel that has a subscriber and nothing else."""
    return ChannelInfo(channel, 0, None, None, None)
