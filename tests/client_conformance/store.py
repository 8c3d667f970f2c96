"""Channels in memory that keep docs/protocol.md's word on ids, cursors and gaps, and whose past can be taken away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: How far a cursor may lie ahead of the clock before it is one from the future.
AHEAD_US = 60_000_000
#: How often a held poll looks whether its client is still there.
LOOK_SECONDS = 0.05

Event = dict[str, Any]


class RefusedError(Exception):
    """A request that is answered with a problem."""

    def __init__(self, status: int, kind: str, detail: str, param: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.param = status, kind, detail, param


@dataclass
class Channel:
    events: list[Event] = field(default_factory=list)
    head: int = 0
    floor: int = 0
    deletions: int = 0
    keys: dict[str, tuple[str, list[int]]] = field(default_factory=dict)


@dataclass(eq=False)
class Following:
    """One poll's way: where it stands in each channel, and what it has to tell of gaps."""

    cursors: dict[str, int]
    gaps: set[str]
    deletions: dict[str, int]


class Store:
    def __init__(self, retention: int = 1000) -> None:
        self.changed = threading.Condition()
        self.channels: dict[str, Channel] = {}
        self.clock_seconds = 0.0
        self.waiting: list[Following] = []
        #: Every event that ever was, by channel and id: what a client shows is compared with them.
        self.given: dict[tuple[str, int], Event] = {}
        self._retention = retention

    def append(self, name: str, messages: list[Any], kind: str | None = None, key: str | None = None) -> list[int]:
        content = json.dumps([messages, kind])
        with self.changed:
            channel = self.channels.setdefault(name, Channel())
            if key is not None and key in channel.keys:
                known, ids = channel.keys[key]
                if known != content:
                    raise RefusedError(422, "idempotency-key-reused", "this key came with other content")
                return ids
            ids = []
            for message in messages:
                channel.head = max(channel.head + 1, self._now_us())
                event = {"id": channel.head, "channel": name, "message": message, "timestamp": time.time()}
                if kind is not None:
                    event["type"] = kind
                channel.events.append(event)
                self.given[name, channel.head] = event
                ids.append(channel.head)
            if key is not None:
                channel.keys[key] = content, ids
            self._keep(channel, self._retention)
            self.changed.notify_all()
            return ids

    def keep(self, name: str, count: int) -> None:
        """Retention: what is older than the newest `count` is gone."""
        with self.changed:
            self._keep(self.channels[name], count)

    def delete(self, name: str) -> None:
        with self.changed:
            if (channel := self.channels.get(name)) is not None:
                self._keep(channel, 0)
                channel.deletions += 1
                self.changed.notify_all()

    def lose(self, name: str, count: int) -> None:
        """What a store does that was put back from a copy: the newest `count` never happened."""
        with self.changed:
            channel = self.channels[name]
            del channel.events[len(channel.events) - count :]
            # One that lost everything still knows that there was something.
            channel.head = channel.events[-1]["id"] if channel.events else max(channel.floor, 1)
            channel.floor = min(channel.floor, channel.head)

    def begin(self, asked: dict[str, int | str]) -> Following:
        with self.changed:
            cursors, gaps = {}, set()
            for name, cursor in asked.items():
                channel = self.channels.get(name, Channel())
                if isinstance(cursor, str):
                    cursor = channel.head or self._now_us() - AHEAD_US
                elif cursor > max(channel.head, self._now_us() + AHEAD_US):
                    raise RefusedError(400, "invalid-parameter", "the cursor lies in the future", "last_event_id")
                cursors[name] = cursor
            deletions = {name: self.channels.get(name, Channel()).deletions for name in asked}
            following = Following(cursors, gaps, deletions)
            self._note_gaps(following)
            return following

    def held(self, following: Following, seconds: float, gone: Callable[[], bool]) -> bool:
        """Wait until there is something to answer; False if the client went away before."""
        deadline = time.monotonic() + seconds
        with self.changed:
            self.waiting.append(following)
            try:
                while not self._has_something(following) and (left := deadline - time.monotonic()) > 0:
                    self.changed.wait(min(left, LOOK_SECONDS))
                    if gone():
                        return False
                return True
            finally:
                self.waiting.remove(following)

    def is_at_head(self, following: Following) -> bool:
        with self.changed:
            return not self._has_something(following)

    def take(self, following: Following, limit: int) -> list[Event]:
        """The next page, with the cursors moved behind it: each channel with events gives at least one if it can."""
        with self.changed:
            self._note_gaps(following)
            first, more = [], []
            for name, cursor in following.cursors.items():
                waiting = [event for event in self._events(name) if event["id"] > cursor]
                first += waiting[:1]
                more += waiting[1:]
            oldest = sorted(first, key=_age)[:limit]
            page = sorted(oldest + sorted(more, key=_age)[: limit - len(oldest)], key=_age)
            for event in page:
                following.cursors[event["channel"]] = max(following.cursors[event["channel"]], event["id"])
            if not page:
                for name, cursor in following.cursors.items():
                    head = self.channels.get(name, Channel()).head
                    following.cursors[name] = max(cursor, head or self._now_us() - AHEAD_US)
            return page

    def oldest(self, name: str) -> int | None:
        events = self._events(name)
        return events[0]["id"] if events else None

    def entry(self, name: str) -> dict[str, Any] | None:
        """What `GET /channels/<name>` says, as far as anybody here asks."""
        with self.changed:
            subscribers = sum(name in following.cursors for following in self.waiting)
            if name not in self.channels and not subscribers:
                return None
            channel = self.channels.get(name, Channel())
            oldest = channel.events[0]["id"] if channel.events else None
            counts = {"subscribers": subscribers, "events": len(channel.events)}
            return {"channel": name, **counts, "oldest_event_id": oldest, "last_event_id": channel.head}

    def messages(self, name: str) -> list[Any]:
        with self.changed:
            return [event["message"] for event in self._events(name)]

    def ahead(self, seconds: float) -> int:
        return self._now_us() + int(seconds * 1e6)

    def _events(self, name: str) -> list[Event]:
        return self.channels.get(name, Channel()).events

    def _has_something(self, following: Following) -> bool:
        self._note_gaps(following)
        for name, cursor in following.cursors.items():
            channel = self.channels.get(name, Channel())
            if channel.deletions != following.deletions[name]:
                return True
            if channel.events and channel.events[-1]["id"] > cursor:
                return True
        return False

    def _note_gaps(self, following: Following) -> None:
        for name, cursor in following.cursors.items():
            channel = self.channels.get(name, Channel())
            if 0 < cursor < channel.floor or 0 < channel.head < cursor:
                following.gaps.add(name)
            if channel.head:
                following.cursors[name] = min(cursor, channel.head)

    @staticmethod
    def _keep(channel: Channel, count: int) -> None:
        gone = channel.events[: max(0, len(channel.events) - count)]
        if gone:
            channel.floor = gone[-1]["id"]
            channel.events = channel.events[len(gone) :]

    def _now_us(self) -> int:
        return int((time.time() + self.clock_seconds) * 1e6)


def _age(event: Event) -> int:
    return event["id"]
