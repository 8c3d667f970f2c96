"""This process's waiting polls, and the newest events of the channels they wait on.

A poll registers a `Waiter` for its channels before it reads; from that moment every announcement for them is seen.
It clears the waiter's flag before each read and waits after it, so that an append that comes between the read and
the wait leaves the flag up. The last thing it does is to unregister.

Each watched channel has a tail: its newest events, ready to send, whole from the id `start` on. An event proves by
its `prev` that it follows the tail's last; one that does not follow begins a new tail at its own `prev`, and polls
below it read the store. So a woken poll, and a client that polls again at once, touch neither store nor encoder.

Shared by all greenlets of the process. Nothing here switches greenlets, but for `drain` and `end_revoked`.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import gevent

from .config import Retention
from .events import Event
from .waiter import Waiter

#: One tail serves clients that poll again at once; whoever is further behind reads the store.
TAIL_EVENTS = 256
TAIL_BYTES = 256 * 1024
#: All tails of a worker together; above it they are emptied, those that nobody waits on first.
TAILS_BYTES = 64 * 1024 * 1024
#: A client is back within this after its answer, or finds the tail gone and reads the store.
IDLE_SECONDS = 10.0
#: Channels that are kept although nobody waits on them.
IDLE_CHANNELS = 10_000
#: Polls that are asked in one go for their tokens: a millisecond or two.
LOOKED_AT = 1000
#: A stopping gunicorn worker still accepts for up to a second.
ACCEPTING_SECONDS = 1.1


class Tail:
    """The newest events of one channel, whole after the id `start`."""

    __slots__ = ("events", "ids", "size", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.ids: list[int] = []
        self.events: list[Event] = []
        self.size = 0

    @property
    def head(self) -> int:
        return self.ids[-1] if self.ids else self.start

    def after(self, id: int, limit: int) -> Sequence[Event]:
        """The next events after an id, which must not be below `start`."""
        first = bisect_right(self.ids, id)
        return self.events[first : first + limit]

    def append(self, event: Event) -> None:
        self.ids.append(event.id)
        self.events.append(event)
        self.size += len(event.json)

    def shed(self, count: int) -> None:
        """Let go of the oldest `count` events."""
        if count:
            self.start = self.ids[count - 1]
            self.size -= sum(len(event.json) for event in self.events[:count])
            del self.ids[:count], self.events[:count]


class Channel:
    """A watched channel: the waiters in the order they came, and the tail once something proved one."""

    __slots__ = ("idle_since", "name", "names", "tail", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        #: Its name as waiters keep it: one set for all of them.
        self.names = frozenset([name])
        self.waiters: dict[Waiter, None] = {}
        self.tail: Tail | None = None
        self.idle_since = 0.0


class Notifier:
    """A store's listener. `retention` bounds what tails may show; `now_us` is the store's clock.

    `subscribed`, `answer` and `missed_controls` are the listener's other calls, which are none of its business; nor is
    what was revoked, which `revoked` is told.
    """

    def __init__(
        self,
        retention: Callable[[str], Retention],
        now_us: Callable[[], int],
        subscribed: Callable[[Iterable[str]], Iterable[str]],
        answer: Callable[[dict[str, object]], object],
        revoked: Callable[[dict[str, object]], object],
        missed_controls: Callable[[], None],
    ) -> None:
        self._retention = retention
        self._now_us = now_us
        self.subscribed = subscribed
        self.answer = answer
        self.missed_controls = missed_controls
        self._revoked = revoked
        self._channels: dict[str, Channel] = {}
        self._idle: OrderedDict[str, Channel] = OrderedDict()
        self._waiters: dict[Waiter, None] = {}
        self._tails_bytes = 0
        self.draining = False
        self._drained = False
        #: How often announcements were lost: what was read before a loss must not begin a tail after it.
        self.losses = 0

    def counts(self) -> dict[str, int]:
        """How much there is of everything that could be left behind."""
        return {"waiters": len(self._waiters), "tails": len(self._channels), "tails_bytes": self._tails_bytes}

    def tail(self, name: str, after: int) -> Tail | None:
        """The channel's tail if it is whole after the id and knows it, else None: then the store is read."""
        channel = self._channels.get(name)
        if channel is None or channel.tail is None:
            return None
        tail = channel.tail
        if tail.events:
            young_us = self._now_us() - self._retention(name).seconds * 1e6
            expired = 0
            while expired < len(tail.events) and tail.events[expired].at_us < young_us:
                expired += 1
            self._shed(tail, expired)
        return tail if tail.start <= after <= tail.head else None

    def adopt(self, name: str, head: int) -> None:
        """The store was read while the channel was watched: begin a tail at its head, if none was proven yet."""
        channel = self._channels.get(name)
        if channel is not None and channel.tail is None:
            channel.tail = Tail(head)

    def hears(self, channel: str) -> bool:
        return channel in self._channels

    def announce(self, events: Sequence[Event]) -> None:
        for event in events:
            channel = self._channels.get(event.channel)
            if channel is not None:
                self._grow(channel, event)
        for name in dict.fromkeys([event.channel for event in events]):
            channel = self._channels.get(name)
            if channel is not None:
                for waiter in channel.waiters:
                    waiter.wake(channel.names)

    def control(self, kind: str, data: dict[str, object]) -> None:
        if kind == "revoked":
            self._revoked(data)
        if kind != "deleted":
            return
        channel = self._channels.get(str(data["channel"]))
        to = data["to"]
        if channel is None or not isinstance(to, int):
            return
        if channel.tail is not None:
            self._shed(channel.tail, bisect_right(channel.tail.ids, to))
            channel.tail.start = max(channel.tail.start, to)
        for waiter in channel.waiters:
            waiter.wake(channel.names)
            waiter.end("deleted")

    def lost(self) -> None:
        self.losses += 1
        self.missed_controls()
        for channel in self._channels.values():
            self._forget_tail(channel)
            for waiter in channel.waiters:
                waiter.wake(channel.names)

    def end_revoked(self) -> None:
        """Answer every poll whose token was revoked. Switches greenlets, between some of them and the next."""
        # Whoever comes meanwhile is looked at when he comes.
        for number, waiter in enumerate(list(self._waiters), 1):
            if waiter.permit is not None and waiter.permit.is_revoked and waiter in self._waiters:
                waiter.end("revoked")
            if number % LOOKED_AT == 0:
                gevent.sleep(0)

    def drain(self, seconds: float) -> None:
        """Answer every poll, spread over the time; those that come meanwhile once gunicorn has stopped to accept,
        later ones at once. Switches greenlets."""
        self.draining = True
        waiters = list(self._waiters)
        late = gevent.spawn_later(ACCEPTING_SECONDS, self._end_late, set(waiters))
        begun = time.monotonic()
        for number, waiter in enumerate(waiters):
            due = begun + seconds * number / len(waiters)
            if due > time.monotonic():
                gevent.sleep(due - time.monotonic())
            if waiter.ending is None:
                waiter.end("draining")
        late.join()

    def expire(self) -> None:
        """Let go of channels that nobody came back to. Called every second or so."""
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle:
            name, channel = next(iter(self._idle.items()))
            if channel.idle_since > oldest and len(self._idle) <= IDLE_CHANNELS:
                return
            self._forget_tail(channel)
            del self._idle[name], self._channels[name]

    def _end_late(self, early: set[Waiter]) -> None:
        self._drained = True
        for waiter in self._waiters:
            if waiter not in early and waiter.ending is None:
                waiter.end("draining")

    def register(self, names: Iterable[str], waiter: Waiter) -> None:
        """Wake the waiter from now on for what is announced for the channels."""
        self._waiters[waiter] = None
        if self._drained:
            waiter.ending = "draining"
        for name in names:
            channel = self._channels.get(name)
            if channel is None:
                channel = self._channels[name] = Channel(name)
            elif not channel.waiters:
                del self._idle[name]
            channel.waiters[waiter] = None

    def unregister(self, names: Iterable[str], waiter: Waiter) -> None:
        """Undo `register`, with the same channels."""
        del self._waiters[waiter]
        for name in names:
            channel = self._channels[name]
            del channel.waiters[waiter]
            if not channel.waiters:
                channel.idle_since = time.monotonic()
                self._idle[name] = channel
        if len(self._idle) > IDLE_CHANNELS:
            self.expire()

    def _grow(self, channel: Channel, event: Event) -> None:
        tail = channel.tail
        if tail is not None and event.id <= tail.head:
            return  # read from the store before it was announced
        if tail is None or event.prev != tail.head:
            self._forget_tail(channel)
            tail = channel.tail = Tail(event.prev)
        tail.append(event)
        self._tails_bytes += len(event.json)
        over = len(tail.ids) - min(TAIL_EVENTS, self._retention(channel.name).events)
        self._shed(tail, max(0, over))
        while tail.size > TAIL_BYTES and len(tail.ids) > 1:
            self._shed(tail, 1)
        if self._tails_bytes > TAILS_BYTES:
            for idle in self._idle.values():
                self._forget_tail(idle)
            if self._tails_bytes > TAILS_BYTES:
                self._shed(tail, len(tail.ids))

    def _shed(self, tail: Tail, count: int) -> None:
        before = tail.size
        tail.shed(count)
        self._tails_bytes -= before - tail.size

    def _forget_tail(self, channel: Channel) -> None:
        if channel.tail is not None:
            self._tails_bytes -= channel.tail.size
            channel.tail = None
