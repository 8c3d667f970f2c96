"""Calls of redis.lua and redis_base.lua, and what their answers say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ..config import MIN_HEAD_SECONDS, Policy, Retention
from ..events import MAX_ID, Event
from .base import ChannelInfo, Clock, Key, Reading
from .redis_keys import Keys
from .redis_link import Link, script
from .redis_watches import Past

_CHANNEL: Final = script("redis.lua")
_BASE: Final = script("redis_base.lua")
#: Every process looks at the index three times in so long.
NAMED_AGAIN_US: Final = 15_000_000
#: Of messages in one read of a stream on behalf of those who wait.
PAST_BYTES: Final = 1024 * 1024
DAY_SECONDS: Final = 86400.0


class RedisChannels:
    """The channels of one server. `clock` is for tests: without it the server's own is used.

    Every call raises StoreUnavailable.
    """

    def __init__(self, link: Link, keys: Keys, clock: Clock | None, policy: Callable[[], Policy]) -> None:
        self._link = link
        self._keys = keys
        self._clock = clock
        self._policy = policy
        self._ahead_us = 0

    def retention(self, channel: str) -> Retention:
        return self._policy().retention(channel)

    # -- the clock

    def now_us(self) -> int:
        """The server's clock, as far as it is known here."""
        return time.monotonic_ns() // 1000 + self._ahead_us if self._clock is None else int(self._clock() * 1e6)

    def measure_clock(self) -> None:
        """Look at the server's clock."""
        seconds, micros = self._link.call(b"TIME")
        # Not from this machine's clock, which may be set at any moment: cursors would be handed out from the future.
        self._ahead_us = int(seconds) * 1_000_000 + int(micros) - time.monotonic_ns() // 1000

    @property
    def given_us(self) -> Any:
        """The time as scripts are given it."""
        return b"" if self._clock is None else self.now_us()

    # -- what belongs to no channel

    @property
    def store_ms(self) -> int:
        """After how many milliseconds without a process the server may remove what belongs to no channel."""
        policy = self._policy()
        retentions = [policy.default, *(rule.retention for rule in policy.rules)]
        most = max(retention.head_seconds for retention in retentions)
        return int(2 * max(most, DAY_SECONDS) * 1000)

    def base(self, *, at_least: int | bytes = b"", lost: str = "", opens: bool = False) -> int:
        """The store's base, raised to an id, or to now where a channel was lost that the index names. A process that
        `opens` the store has named nothing to the index yet."""
        return self._base(at_least, lost, 1, opens)[0]

    def base_of(self, channel: str, given: int) -> int:
        """The base that a channel begins at which is not known: where the index names it, or the base is below an id
        that this process has `given` in it, it was lost."""
        base, named = self._base(b"", channel, 0)
        if (named or base < given) and not self.call("info", channel):  # else somebody has just made it
            base = self._base(given or b"", channel, 2)[0]
        return base

    def _base(self, at_least: int | bytes, channel: str, lost: int, opens: bool = False) -> tuple[int, bool]:
        keys = [self._keys.base, self._keys.index]
        words = self.given_us, at_least, channel, lost, self.store_ms, int(opens), NAMED_AGAIN_US
        base, named = self._link.run(_BASE, keys, *words)
        return int(base), bool(named)

    # -- channels

    def call(self, what: str, channel: str, *arguments: Any) -> Any:
        """What redis.lua answers to one of its calls."""
        return self._link.run(_CHANNEL, self._keys.of(channel), *self._arguments(what, channel), *arguments)

    def call_all(self, what: str, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """What it answers for each of several channels with arguments, asked at once; it may be done twice."""
        words = [(self._keys.of(channel), [*self._arguments(what, channel), *rest]) for channel, rest in calls]
        return self._link.run_all(_CHANNEL, words)

    def _arguments(self, what: str, channel: str) -> list[Any]:
        retention = self.retention(channel)
        return [
            what,
            self.given_us,
            retention.events,
            int(retention.seconds * 1e6),
            # Longer than a head lives: housekeeping comes first, and raises the base by it.
            int((retention.head_seconds + MIN_HEAD_SECONDS) * 1000),
            int(retention.head_seconds * 1e6),
        ]

    def append(
        self, channel: str, messages: Sequence[bytes], type: str | None, key: Key | None, base: int | bytes
    ) -> list[Any]:
        """See redis.lua; no channel is made where no base is given."""
        answer: list[Any] = self.call(
            "append",
            channel,
            Link.RUN,
            self._keys.topic(channel),
            base,
            type or b"",
            b"" if key is None else f"{len(key.subject)}:{key.subject}{key.text}",
            b"" if key is None else key.digest,
            int(self._policy().idempotency_seconds * 1e6),
            self._policy().max_idempotency_keys,
            *messages,
        )
        return answer

    def read(
        self, channel: str, direction: str, id: int, limit: int, max_bytes: int, given: int
    ) -> tuple[Reading, int]:
        """A page `after` or `before` an id, as `Store.read` has it; and up to which id the channel was deleted."""
        # Nothing is before the first id, and there is no place before that.
        place = min(id, MAX_ID) if direction == "after" else max(1, min(id, MAX_ID))
        arguments = direction, place, limit, max(max_bytes, 1)
        answer = self.call("read", channel, *arguments)
        if not answer:
            # In this order: what comes between the two is above the base, or is read.
            base = self.base_of(channel, given)
            if not (answer := self.call("read", channel, *arguments)):
                return Reading(False, base, base, None, []), 0
        head, oldest, floor, deleted = answer[:4]
        events = _bounded(_events(channel, answer), max_bytes, newest=direction == "before")
        reading = Reading(True, int(head), int(floor) if floor else int(head), int(oldest) if oldest else None, events)
        return (_broken(reading, id) if direction == "after" else reading), int(deleted)

    def pasts(self, places: Sequence[tuple[str, int]], limit: int) -> list[Past]:
        """The events after an id of each of several channels, whatever links them to that."""
        calls = [(channel, ("after", after, limit, PAST_BYTES)) for channel, after in places]
        return [
            Past(list(_events(channel, answer)), int(answer[0]), int(answer[3])) if answer else Past([], 0, 0)
            for (channel, _), answer in zip(places, self.call_all("read", calls), strict=True)
        ]

    def infos(self, channels: Sequence[str]) -> list[ChannelInfo | None]:
        """Each as it is listed, None for one that is not known."""
        answers = self.call_all("info", [(channel, ()) for channel in channels])
        return [_info(name, answer) if answer else None for name, answer in zip(channels, answers, strict=True)]


def _events(channel: str, answer: list[Any]) -> Iterator[Event]:
    fields = iter(answer[4:])
    for id, prev, at_us, message, type in zip(fields, fields, fields, fields, fields, strict=True):
        yield Event(channel, int(id), int(prev), int(at_us), type.decode() if type else None, message)


def _info(channel: str, answer: list[Any]) -> ChannelInfo:
    head, at_us, count, oldest = answer
    return ChannelInfo(channel, int(count), int(oldest) if oldest else None, int(head), int(at_us) / 1e6)


def _bounded(events: Iterator[Event], max_bytes: int, *, newest: bool) -> list[Event]:
    """As many of the events, from the newest or the oldest on, as their JSON fits; one at least."""
    taken: list[Event] = []
    size = 0
    for event in reversed(list(events)) if newest else events:
        size += len(event.json) + 1
        if taken and size > max_bytes:
            break
        taken.append(event)
    return taken[::-1] if newest else taken


def _broken(reading: Reading, after: int) -> Reading:
    """A page ends where nothing proves that an event follows the one before it; the next page begins with a gap."""
    events = reading.events
    for number in range(1, len(events)):
        if events[number].prev != events[number - 1].id:
            events = events[:number]
            break
    floor, oldest = reading.floor, reading.oldest
    if events and floor <= after < events[0].prev:
        floor, oldest = events[0].prev, events[0].id
    return reading._replace(events=events, floor=floor, oldest=oldest)
