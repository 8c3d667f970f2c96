"""The store for tests and throw-away servers: everything in this process, nothing across a restart.

A restart is told, though: the base is the moment of the start, so that every cursor from before it meets a gap.
No call switches greenlets, so every call is one moment by itself.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import NamedTuple

from sortedcontainers import SortedDict

from ..config import Policy, Retention
from ..errors import KeyReused, StoreUnavailable, TooManyChannels, TooManyKeys
from ..events import Event
from .base import Answers, Appended, ChannelInfo, Clock, Key, Listener, Reading, Revocation, Store, too_many_revocations

#: Channels looked at in one step of housekeeping: about a millisecond.
SWEEP_CHANNELS = 500

_id = attrgetter("id")


class _Remembered(NamedTuple):
    digest: bytes
    appended: Appended
    expires_us: int


class _Channel:
    """One channel's events. `first` is where the retained begin: a list sheds its front cheaply in bulk only."""

    __slots__ = ("events", "first", "head", "keys", "last_at_us")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.first = 0
        self.head = 0
        self.last_at_us = 0
        # In order of expiry, since every key lives equally long.
        self.keys: dict[tuple[str, str], _Remembered] = {}

    def __len__(self) -> int:
        return len(self.events) - self.first

    def trim(self, retention: Retention, now_us: int) -> None:
        """Let go of what retention has ended."""
        self.first = max(self.first, len(self.events) - retention.events)
        young_us = now_us - retention.seconds * 1e6
        while self.first < len(self.events) and self.events[self.first].at_us < young_us:
            self.first += 1
        if self.first > 64 and self.first * 2 > len(self.events):
            del self.events[: self.first]
            self.first = 0

    def forget_keys(self, now_us: int) -> None:
        # Not the whole list: each publish with a key comes by.
        for key in list(takewhile(lambda key: self.keys[key].expires_us <= now_us, self.keys)):
            del self.keys[key]


class MemoryStore(Store):
    """See the module. `policy` says what is kept, `clock` gives Unix seconds."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._channels: SortedDict[str, _Channel] = SortedDict()
        self._revocations: dict[tuple[str, str], Revocation] = {}
        self._base = self.now_us()
        self._listener: Listener | None = None
        self._swept_to = ""
        self._closed = False

    @property
    def policy(self) -> Policy:
        return self._policy

    def now_us(self) -> int:
        return int(self._clock() * 1e6)

    def append(
        self, channel: str, messages: Sequence[bytes], type: str | None = None, key: Key | None = None
    ) -> Appended:
        self.check()
        now_us = self.now_us()
        kept = self._channels.get(channel)
        if key is not None and kept is not None:
            kept.forget_keys(now_us)
            remembered = kept.keys.get((key.subject, key.text))
            if remembered is not None:
                if remembered.digest != key.digest:
                    raise KeyReused("Send new content under a new Idempotency-Key", param="Idempotency-Key")
                return remembered.appended._replace(replayed=True)
            if len(kept.keys) >= self.policy.max_idempotency_keys:
                raise TooManyKeys("Try again when older keys have expired, or send no key", retry_after=10)
        if kept is None:
            if len(self._channels) >= self.policy.max_channels:
                raise TooManyChannels(f"At most BIDE_MAX_CHANNELS ({self.policy.max_channels:,}) channels are kept")
            kept = self._channels[channel] = _Channel()
            kept.head = self._base
        first_id = id = max(kept.head + 1, now_us)
        events = []
        for message in messages:
            events.append(Event(channel, id, kept.head, now_us, type, message))
            kept.head = id
            id += 1
        kept.events += events
        kept.last_at_us = now_us
        kept.trim(self.policy.retention(channel), now_us)
        appended = Appended(first_id, kept.head)
        if key is not None:
            expires_us = now_us + int(self.policy.idempotency_seconds * 1e6)
            kept.keys[key.subject, key.text] = _Remembered(key.digest, appended, expires_us)
        if self._listener is not None and self._listener.hears(channel):
            self._listener.announce(events)
        return appended

    def read(self, channel: str, after: int, limit: int, max_bytes: int) -> Reading:
        kept = self._retained(channel)
        if kept is None:
            return Reading(False, self._base, self._base, None, [])
        start = bisect_right(kept.events, after, lo=kept.first, key=_id)
        return self._reading(kept, _bounded(iter(kept.events[start : start + limit]), max_bytes))

    def read_before(self, channel: str, before: int, limit: int, max_bytes: int) -> Reading:
        kept = self._retained(channel)
        if kept is None:
            return Reading(False, self._base, self._base, None, [])
        end = bisect_left(kept.events, before, lo=kept.first, key=_id)
        newest_first = reversed(kept.events[max(kept.first, end - limit) : end])
        return self._reading(kept, _bounded(newest_first, max_bytes)[::-1])

    def info(self, channel: str) -> ChannelInfo | None:
        kept = self._retained(channel)
        if kept is None:
            return None
        oldest = kept.events[kept.first].id if len(kept) else None
        return ChannelInfo(channel, len(kept), oldest, kept.head, kept.last_at_us / 1e6)

    def channels(self, prefix: str, after: str, limit: int) -> list[ChannelInfo]:
        found: list[ChannelInfo] = []
        for name in self._channels.irange(max(prefix, after)):
            if not name.startswith(prefix) or len(found) == limit:
                break
            info = self.info(name) if name > after else None
            if info is not None:
                found.append(info)
        return found

    def delete(self, channel: str) -> None:
        self.check()
        kept = self._channels.get(channel)
        if kept is not None:
            kept.events.clear()
            kept.first = 0
        self.announce_control("deleted", {"channel": channel, "to": 0 if kept is None else kept.head})

    def revoke(self, revocation: Revocation) -> Revocation:
        known = {each.tokens: each for each in self.revocations()}
        kept = revocation.joined(known.get(revocation.tokens))
        known[kept.tokens] = kept
        if len(known) > self.policy.max_revocations:
            raise too_many_revocations(self.policy.max_revocations)
        self._revocations = known
        self.announce_control("revoked", revocation._asdict())
        return kept

    def revocations(self) -> list[Revocation]:
        self.check()
        return [each for each in self._revocations.values() if each.is_kept(self._clock())]

    def announce_control(self, kind: str, data: dict[str, object]) -> None:
        self.check()
        # A copy by way of JSON, as every other store's listeners get it.
        data = json.loads(json.dumps(data))
        if self._listener is not None:
            self._listener.control(kind, data)

    def ask(self, question: dict[str, object]) -> Answers:
        assert self._listener is not None
        return Answers([self._listener.answer(question)], False)

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def catch_up(self) -> None:
        pass  # every call tells before it returns

    def check(self) -> None:
        if self._closed:
            raise StoreUnavailable("The store was closed", retry_after=1)

    def sweep(self) -> bool:
        now_us = self.now_us()
        names = list(self._some_channels())
        self._swept_to = names[-1] if names else ""
        quiet = []
        for name in names:
            kept = self._channels[name]
            retention = self.policy.retention(name)
            kept.trim(retention, now_us)
            kept.forget_keys(now_us)
            if not len(kept) and not kept.keys and kept.last_at_us < now_us - retention.head_seconds * 1e6:
                quiet.append(name)
        watched = set(self._listener.subscribed(quiet)) if self._listener is not None else set()
        for name in quiet:
            if name not in watched:
                self._base = max(self._base, self._channels.pop(name).head)
        return bool(names)

    def close(self) -> None:
        self._closed = True
        self._listener = None

    def _some_channels(self) -> Iterator[str]:
        for number, name in enumerate(self._channels.irange(self._swept_to, inclusive=(False, True))):
            if number == SWEEP_CHANNELS:
                return
            yield name

    def _retained(self, channel: str) -> _Channel | None:
        self.check()
        kept = self._channels.get(channel)
        if kept is not None:
            kept.trim(self.policy.retention(channel), self.now_us())
        return kept

    def _reading(self, kept: _Channel, events: list[Event]) -> Reading:
        oldest = kept.events[kept.first] if len(kept) else None
        floor = kept.head if oldest is None else oldest.prev
        return Reading(True, kept.head, floor, None if oldest is None else oldest.id, events)


def _bounded(events: Iterator[Event], max_bytes: int) -> list[Event]:
    taken: list[Event] = []
    size = 0
    for event in events:
        size += len(event.json) + 1
        if taken and size > max_bytes:
            break
        taken.append(event)
    return taken
