"""Several machines: one Redis server (or Valkey), and any number of processes that need nothing of one another.

A channel is a stream, a hash for its head, and its idempotency keys (`redis.lua`: one script, one round trip a call).
The names of all have the channel in braces, so that they lie in one slot of a cluster. What belongs to no channel is
beside them: the base, the policy, and an index of channels by name, which every process writes when it first appends
to one, and again from time to time, since a server that is short of memory may evict it.

What links an event to the one before it depends on the server's run: one that was started anew, or another one, may
have lost what it had acknowledged. The first append on another run is linked to nothing, and cursors before it are told
of a gap.

How processes hear of one another is in `redis_listener.py`, the way to the server in `redis_link.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

import msgspec

from ..config import Policy
from ..errors import KeyReused, StoreUnavailable, TooManyChannels, TooManyKeys
from ..events import Event
from . import redis_url
from .base import Answers, Appended, ChannelInfo, Clock, Counters, Key, Listener, Reading, Revocation, Store
from .redis_channels import RedisChannels
from .redis_keys import ABOUT_INDEX, CHANNELS_FROM, Keys
from .redis_link import Link
from .redis_listener import RedisListener
from .redis_questions import RedisQuestions
from .redis_reads import SharedReads
from .redis_revocations import RedisRevocations
from .redis_sweep import RedisSweep

#: The policy is looked at again after this, and the server's clock.
POLICY_SECONDS: Final = 5.0
#: Channels that this process remembers to have named to the index.
NAMED: Final = 100_000
#: How long the start of listening, and a check, wait for it.
LISTEN_SECONDS: Final = 2.0


class RedisStore(Store):
    """See the module. `policy` is what is kept from now on, None takes the server's. `clock` is for tests: without it
    the Redis server's is used."""

    def __init__(self, url: str, policy: Policy | None, clock: Clock | None = None) -> None:
        url, prefix = redis_url.split(url)
        self._link = Link(url)
        self._keys = Keys(prefix, self._link.database)
        self._policy = policy or Policy()
        self._policy_text: bytes | None = None
        self._looked_at = time.monotonic()
        self._channels = RedisChannels(self._link, self._keys, clock, lambda: self._policy)
        self._mark = f"{os.getpid()}-{os.urandom(6).hex()}"
        #: The last id that this process gave in a channel, where it has named that to the index.
        self._named: dict[str, int] = {}
        #: When the index was begun that they were named to.
        self._index: list[bytes] = []
        self._reads = SharedReads(self._read)
        self._revocations = RedisRevocations(self._link, self._keys, self._channels, self._mark)
        self._sweep = RedisSweep(self._channels, self._link, self._keys, self._mark)
        self._listener: Listener | None = None
        self._hearing: RedisListener | None = None
        self._questions: RedisQuestions | None = None
        if policy is not None:
            self._policy_text = msgspec.json.encode(policy)
            # Only where it is another: a full server refuses to write, and a worker that starts anew must serve.
            if self._link.call(b"GET", self._keys.policy) != self._policy_text:
                self._link.call(b"SET", self._keys.policy, self._policy_text, b"PX", self._channels.store_ms)
        self._channels.base(opens=True)
        self._look()

    @property
    def policy(self) -> Policy:
        return self._policy

    def now_us(self) -> int:
        return self._channels.now_us()

    def _look(self) -> None:
        """Take the policy that another process has written, and the server's clock; and see to the index."""
        self._channels.measure_clock()
        name, ms = self._keys.policy, self._channels.store_ms
        commands = [(b"GET", name), (b"PEXPIRE", name, ms), (b"ZRANGEBYLEX", self._keys.index, *ABOUT_INDEX)]
        text, _, begun, kept = self._link.many([*commands, (b"HLEN", self._keys.revocations)])
        if self._revocations.lacks_some(kept):
            self._miss_controls()
        if text is None and self._policy_text is not None:
            # It was evicted, or lost: who comes without one would take another.
            self._link.call(b"SET", name, self._policy_text, b"NX", b"PX", ms)
        if not begun or begun != self._index:
            self._channels.base()
            self._sweep.name_again(self._named)
            self._index = begun
        self._looked_at = time.monotonic()
        if text is not None and text != self._policy_text:
            self._policy_text, self._policy = text, msgspec.json.decode(text, type=Policy)

    # -- appends

    def append(
        self, channel: str, messages: Sequence[bytes], type: str | None = None, key: Key | None = None
    ) -> Appended:
        if time.monotonic() - self._looked_at > POLICY_SECONDS:
            self._look()
        answer = self._channels.append(channel, messages, type, key, b"")
        if answer[0] == b"unknown":
            self._check_room()
            base = self._channels.base_of(channel, self._named.pop(channel, 0))
            answer = self._channels.append(channel, messages, type, key, base)
        if answer[0] == b"reused":
            raise KeyReused("Send new content under a new Idempotency-Key", param="Idempotency-Key")
        if answer[0] == b"keys":
            raise TooManyKeys("Try again when older keys have expired, or send no key", retry_after=10)
        if answer[0] == b"replayed":
            return Appended(int(answer[1]), int(answer[2]), replayed=True)
        first_id, last_id, prev, at_us = map(int, answer[1:])
        if channel in self._named or self._name(channel):
            self._named[channel] = last_id
        if self._hearing is not None and self._hears(channel):
            events = []
            for id, message in enumerate(messages, first_id):
                events.append(Event(channel, id, prev, at_us, type, message))
                prev = id
            hearing = self._hearing
            hearing.watches.appended(channel, events, hears=lambda: hearing.hears)
        return Appended(first_id, last_id)

    def _check_room(self) -> None:
        """Raises TooManyChannels where there is none for another."""
        # The index has one name that is no channel's.
        if self._link.call(b"ZCARD", self._keys.index) > self._policy.max_channels:
            raise TooManyChannels(f"At most BIDE_MAX_CHANNELS ({self._policy.max_channels:,}) channels are kept")

    def _name(self, channel: str) -> bool:
        """Name the channel to the index; whether that could be done. The next append tries again: this one is stored
        already, and must not be told to have failed."""
        if len(self._named) >= NAMED:
            self._named.clear()
        index = self._keys.index
        with contextlib.suppress(StoreUnavailable):
            self._link.many([(b"ZADD", index, 0, channel), (b"PEXPIRE", index, self._channels.store_ms)])
            return True
        return False

    def _hears(self, channel: str) -> bool:
        return self._listener is not None and self._listener.hears(channel)

    # -- reads

    def read(self, channel: str, after: int, limit: int, max_bytes: int) -> Reading:
        return self._reads(channel, after, limit, max_bytes)

    def _read(self, channel: str, after: int, limit: int, max_bytes: int) -> Reading:
        watches = self._hearing.watches if self._hearing is not None and self._hears(channel) else None
        if watches is not None:
            watches.watch(channel)
        given = self._named.get(channel, 0)
        reading, deleted = self._channels.read(channel, "after", after, limit, max_bytes, given)
        if watches is not None:
            watches.began(channel, reading.head, deleted)
        return reading

    def read_before(self, channel: str, before: int, limit: int, max_bytes: int) -> Reading:
        given = self._named.get(channel, 0)
        return self._channels.read(channel, "before", before, limit, max_bytes, given)[0]

    def info(self, channel: str) -> ChannelInfo | None:
        return self._channels.infos([channel])[0]

    def channels(self, prefix: str, after: str, limit: int) -> list[ChannelInfo]:
        found: list[ChannelInfo] = []
        low = b"(" + after.encode() if after >= prefix else b"[" + prefix.encode()
        if low == b"(":
            low = CHANNELS_FROM
        # Every name is of ASCII: nothing that begins with the prefix is above it with a DEL.
        high = b"(" + prefix.encode() + b"\x7f" if prefix else b"+"
        while len(found) < limit:
            wanted = limit - len(found)
            names = self._link.call(b"ZRANGEBYLEX", self._keys.index, low, high, b"LIMIT", 0, wanted)
            found += [info for info in self._channels.infos([name.decode() for name in names]) if info is not None]
            if len(names) < wanted:
                break
            low = b"(" + names[-1]
        return found

    # -- deletes, controls, questions

    def delete(self, channel: str) -> None:
        try:
            to = int(self._channels.call("delete", channel, self._keys.topic(channel), self._mark))
        except StoreUnavailable:
            if self._hearing is not None:
                self._hearing.watches.look(channel)  # it may have been done all the same
            raise
        if self._hearing is not None:
            self._hearing.watches.end(channel, to)

    def revoke(self, revocation: Revocation) -> Revocation:
        try:
            kept = self._revocations.keep(revocation, self._policy.max_revocations)
        except StoreUnavailable:
            self._miss_controls()  # it may have been done all the same
            raise
        if self._listener is not None:
            self._listener.control("revoked", revocation._asdict())
        return kept

    def revocations(self) -> list[Revocation]:
        return self._revocations.listed()

    def _miss_controls(self) -> None:
        if self._listener is not None:
            self._listener.missed_controls()

    def announce_control(self, kind: str, data: dict[str, object]) -> None:
        text = json.dumps({"by": self._mark, "kind": kind, "data": data})
        self._link.call(b"PUBLISH", self._keys.controls, text)
        if self._listener is not None:
            self._listener.control(kind, json.loads(text)["data"])

    def ask(self, question: dict[str, object]) -> Answers:
        assert self._questions is not None
        return self._questions.ask(question)

    # -- listening

    def listen(self, listener: Listener) -> None:
        self._listener = listener
        mine = self._keys.to(self._mark)
        self._questions = RedisQuestions(self._link, self._keys, self._mark, listener)
        controls: dict[bytes, Callable[[bytes], None]] = {
            self._keys.controls: self._hear_control,
            mine: self._questions.answered,
        }
        self._hearing = RedisListener(
            self._link, self._keys, self._mark, listener, self._channels.pasts, controls, probe=mine
        )
        self._hearing.await_hearing(LISTEN_SECONDS)

    def _hear_control(self, data: bytes) -> None:
        told = json.loads(data)
        own = told["by"] == self._mark
        if told["kind"] == "asked":
            assert self._questions is not None
            (self._questions.heard if own else self._questions.asked)(told["data"])
        elif own:
            return  # it was told already
        elif self._listener is not None:
            if told["kind"] == "revoked":
                self._revocations.heard()
            self._listener.control(told["kind"], told["data"])

    def catch_up(self) -> None:
        """What others did is told as soon as it comes; to ask for it would be a round trip for each poll."""

    # -- the rest

    def counters(self) -> Counters:
        # Only now: who publishes from a process of his own has no use for it, and it takes a while to import.
        counters: Counters = import_module(".redis_counters", __package__).RedisCounters(self._link, self._keys)
        return counters

    def check(self) -> None:
        if self._hearing is not None and self._hearing.is_well:
            return  # what a word of its own went through, both ways, works, or did a moment ago
        self._link.call(b"PING")
        if self._hearing is not None and not self._hearing.await_hearing(LISTEN_SECONDS):
            raise StoreUnavailable("The Redis server's announcements are not heard", retry_after=1)

    def sweep(self) -> bool:
        self._look()
        watched = dict if self._hearing is None else self._hearing.watches.known
        return self._sweep.step(self._listener, watched, self._named)

    def close(self) -> None:
        self._listener = None
        if self._hearing is not None:
            self._hearing.stop()
        if self._questions is not None:
            self._questions.stop()
        self._link.close()
