"""Housekeeping of the Redis store: what retention has ended goes, heads whose time is up, and the index is renewed.

One process at a time goes through the index, in small steps; who it is is written on the server for a minute. Each
process gives its word for the channels that it watches and that have a subscriber here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..errors import StoreUnavailable
from .base import Listener
from .redis_channels import RedisChannels
from .redis_keys import CHANNELS_FROM, Keys
from .redis_link import Link

#: Channels looked at in one step.
CHANNELS: Final = 100
#: Channels looked at in a second, over many rounds: after a round over more than there is time for comes a rest. Rounds
#: are asked for every few seconds.
PACE: Final = 200
ROUND_SECONDS: Final = 5.0
#: How long one process's word that a head has a subscriber holds for the others, in microseconds. A round of
#: sweeping is far shorter.
KEPT_US: Final = 300_000_000
#: So long nobody else goes through the index.
TURN_MS: Final = 60_000
#: So often a process names to the index again what it has appended to.
RENEW_SECONDS: Final = 60.0


class RedisSweep:
    """One process's round over the channels."""

    def __init__(self, channels: RedisChannels, link: Link, keys: Keys, mark: str) -> None:
        self._channels = channels
        self._link = link
        self._keys = keys
        self._mark = mark.encode()
        self._after: str | None = None
        self._seen = 0
        self._rests_until = 0.0
        #: When this process gave its word for a channel last, of those that it had to be given for lately.
        self._given: dict[str, int] = {}
        self._renews_at = time.monotonic() + RENEW_SECONDS

    def step(self, listener: Listener | None, watched: Callable[[], dict[str, int]], named: dict[str, int]) -> bool:
        """Look at the next channels; whether the round goes on. `watched` gives the last id of each, `named` has the
        last id that this process gave in it."""
        if self._after is None:
            self._begin(listener, watched(), named)
            if not self._has_turn() or time.monotonic() < self._rests_until:
                return False
            self._after, self._seen = "", 0
        start = b"(" + self._after.encode() if self._after else CHANNELS_FROM
        names = self._link.call(b"ZRANGEBYLEX", self._keys.index, start, b"+", b"LIMIT", 0, CHANNELS)
        if not names:
            self._after = None
            self._rests_until = time.monotonic() + self._seen / PACE - ROUND_SECONDS
            self._channels.base()  # lives on
            return False
        quiet: dict[str, tuple[bytes, bool]] = {}
        listed = [name.decode() for name in names]
        self._seen += len(listed)
        answers = self._channels.call_all("sweep", [(name, ()) for name in listed])
        self._after = listed[-1]  # whatever fails below, the next step goes on behind
        for name, answer in zip(listed, answers, strict=True):
            if answer == [b"gone"]:
                self._channels.base(lost=name)
                named.pop(name, None)
            elif answer:
                quiet[name] = answer[0], bool(answer[1])
        here = set(listener.subscribed(list(quiet))) if listener is not None and quiet else set()
        self._keep(here)
        for name, (head, is_due) in quiet.items():
            if name not in here and is_due:
                self._forget(name, head, named)
        return True

    def _begin(self, listener: Listener | None, watched: dict[str, int], named: dict[str, int]) -> None:
        now_us = self._channels.now_us()
        if listener is not None:
            quiet = [name for name, id in watched.items() if now_us > id + self._head_us(name) - KEPT_US // 2]
            self._given = {name: self._given[name] for name in quiet if name in self._given}
            self._keep(listener.subscribed(quiet))
        if time.monotonic() >= self._renews_at:
            self.name_again(named)

    def name_again(self, named: dict[str, int]) -> None:
        """Name to the index what this process has appended to, as far as it is there."""
        self._renews_at = time.monotonic() + RENEW_SECONDS
        now_us = self._channels.now_us()
        for name, id in list(named.items()):
            if now_us > id + self._head_us(name):
                del named[name]  # its head may be gone by now
        names = list(named)
        for start in range(0, len(names), 1000):
            some = names[start : start + 1000]
            there = self._link.many([(b"EXISTS", *self._keys.of(name)[:2]) for name in some])
            members: list[Any] = []
            lost = 0
            for name, found in zip(some, there, strict=True):
                if found:
                    members += [0, name]
                else:
                    # Not to be named: whoever found it in the index would raise the base to that time, again and again.
                    lost = max(lost, named.pop(name, 0))
            if lost:
                self._channels.base(at_least=lost)
            if members:
                self._link.call(b"ZADD", self._keys.index, *members)

    def _head_us(self, name: str) -> int:
        return int(self._channels.retention(name).head_seconds * 1e6)

    def _has_turn(self) -> bool:
        with contextlib.suppress(StoreUnavailable):  # it is full: all the more is to be let go of, by whoever can
            self._link.call(b"SET", self._keys.sweeper, self._mark, b"NX", b"PX", TURN_MS)
        if self._link.call(b"GET", self._keys.sweeper) not in (self._mark, None):
            return False
        self._link.call(b"PEXPIRE", self._keys.sweeper, TURN_MS)
        return True

    def _keep(self, names: Iterable[str]) -> None:
        """Give this process's word for channels, unless it holds for long. There may be one for every poll."""
        now_us = self._channels.now_us()
        due = [name for name in names if now_us >= self._given.get(name, 0) + KEPT_US // 2]
        with contextlib.suppress(StoreUnavailable):  # full likewise; whose head goes for that is told of a gap
            for start in range(0, len(due), CHANNELS):
                part = due[start : start + CHANNELS]
                self._channels.call_all("keep", [(name, (now_us + KEPT_US,)) for name in part])
                self._given.update(dict.fromkeys(part, now_us))

    def _forget(self, name: str, head: bytes, named: dict[str, int]) -> None:
        # In this order: whatever comes between, a cursor from before is told of a gap.
        self._channels.base(at_least=head)
        named.pop(name, None)
        self._link.call(b"ZREM", self._keys.index, name)
        if not self._channels.call("forget", name, head):
            self._link.call(b"ZADD", self._keys.index, 0, name)  # somebody has just written to it
