"""The channels that somebody in this process reads, and what was announced of each: Pub/Sub tells it at once, the
stream is what is true.

What Pub/Sub loses it loses silently, so nothing of it is believed by itself:

- Each event names the one before it. One that does not follow what was announced last makes the stream be read.
- Each confirmation of a subscription, the first one or one after the connection was lost, is a fence: what was appended
  before it is read from the stream, and what comes behind it waits until that is announced.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import gevent

from ..errors import StoreUnavailable
from ..events import Event
from .base import Listener

log = logging.getLogger("bide.store")

#: A channel that nobody here waits on stays subscribed for so long, unless there are too many of them.
QUIET_SECONDS: Final = 60.0
QUIET_CHANNELS: Final = 20_000
#: Who appended waits so long until everybody here was told, where something comes between.
BEHIND_SECONDS: Final = 0.5
#: Streams that are read at once, events of each, and events of a channel that wait while its stream is read.
STREAMS: Final = 50
EVENTS: Final = 500
WAITING: Final = 1000
#: Before a stream that could not be read is tried again.
AGAIN_SECONDS: Final = 0.5


class Past(NamedTuple):
    """What a stream has after an id, or the first part of it; `head` is the last id that the channel gave, `deleted`
    the id up to which a delete has removed what there was."""

    events: Sequence[Event]
    head: int
    deleted: int


class Watch:
    """A channel that is subscribed, or will be.

    `known` is the last id that was announced, None until it is known from where on, which is `start`; `deleted` the id
    up to which a delete is known of; `waiting` are the events that came while the stream is read, which `fences` says.
    """

    __slots__ = ("deleted", "fences", "known", "quiet_since", "start", "waiting")

    def __init__(self) -> None:
        self.known: int | None = None
        self.start = 0
        self.deleted: int | None = None
        self.fences = False
        self.waiting: list[Event] = []
        self.quiet_since: float | None = None


class Watches:
    """All of one process. `read` gives what streams have after an id of each, so many events at most; `subscribe` and
    `unsubscribe` are told of channels that begin and end to be watched."""

    def __init__(
        self,
        listener: Listener,
        read: Callable[[Sequence[tuple[str, int]], int], Sequence[Past]],
        subscribe: Callable[[Iterable[str]], None],
        unsubscribe: Callable[[Iterable[str]], None],
    ) -> None:
        self._listener = listener
        self._read = read
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._watches: dict[str, Watch] = {}
        self._due: deque[str] = deque()
        self._reading: gevent.Greenlet[..., None] | None = None
        #: How often a stream was read since an announcement did not follow the one before it: never without a fault.
        self.rereads = 0

    @property
    def channels(self) -> list[str]:
        return list(self._watches)

    def known(self) -> dict[str, int]:
        """The last id of each channel, where it is known."""
        return {channel: watch.known for channel, watch in self._watches.items() if watch.known is not None}

    def stop(self) -> None:
        if self._reading is not None:
            self._reading.kill()

    # -- what this process reads and does

    def watch(self, channel: str) -> Watch:
        """From here on, or from the confirmation, the channel's events are heard."""
        watch = self._watches.get(channel)
        if watch is None:
            watch = self._watches[channel] = Watch()
            self._subscribe([channel])
        return watch

    def began(self, channel: str, known: int, deleted: int) -> None:
        """The stream was read up to an id, while the channel was watched."""
        watch = self._watches.get(channel)
        if watch is None:
            return
        if watch.known is None:
            watch.deleted = max(watch.deleted or 0, deleted)
            self._begin(channel, watch, known)
        elif known < watch.start:
            # Who read first need not be first to go on: what came between the two reads was announced to nobody.
            watch.known = watch.start = known
            self._fence(channel)

    def appended(self, channel: str, events: Sequence[Event], *, hears: Callable[[], bool]) -> None:
        """This process appended them, and somebody here hears the channel. Switches greenlets where the stream is read
        just now, or another's event is still on the way."""
        watch = self.watch(channel)
        if watch.known is None:
            # A delete of what was just appended comes after it.
            watch.deleted = max(watch.deleted or 0, events[0].prev)
            self._begin(channel, watch, events[0].prev)
        if not watch.fences and events[0].prev == watch.known:
            self._feed(channel, watch, events)
            return
        ends_at = time.monotonic() + BEHIND_SECONDS
        while (watch.known or 0) < events[-1].id and hears() and time.monotonic() < ends_at:
            gevent.sleep(0.001)
        if (watch.known or 0) < events[-1].id:
            self.look(channel)

    def end(self, channel: str, to: int) -> None:
        """The channel's events up to an id were deleted."""
        watch = self._watches.get(channel)
        if watch is not None:
            watch.deleted = max(watch.deleted or 0, to)
            if watch.known is not None:
                watch.known = max(watch.known, to)
        self._listener.control("deleted", {"channel": channel, "to": to})

    def leave_quiet(self) -> None:
        """Let go of channels that nobody has waited on for a while."""
        now = time.monotonic()
        patience = QUIET_SECONDS if len(self._watches) <= QUIET_CHANNELS else 0
        quiet = []
        for channel, watch in self._watches.items():
            if self._listener.hears(channel):
                watch.quiet_since = None
            elif watch.quiet_since is None:
                watch.quiet_since = now
            elif now - watch.quiet_since >= patience and not (watch.fences and watch.known is not None):
                quiet.append(channel)
        for channel in quiet:
            del self._watches[channel]
        self._unsubscribe(quiet)

    def read_all(self) -> None:
        """Announce what the streams have, where somebody waits: nothing is heard at this moment."""
        for channel, watch in self._watches.items():
            if not watch.fences and watch.known is not None and self._listener.hears(channel):
                self._fence(channel)

    # -- what is announced

    def confirmed(self, channel: str) -> None:
        """The channel is subscribed, from now on."""
        self.look(channel)

    def left(self, channel: str) -> None:
        """The channel is no longer subscribed."""
        if channel in self._watches:
            self._subscribe([channel])  # it is watched again since, and which of the two came last nobody knows

    def look(self, channel: str) -> None:
        """Something may have been done that is not announced."""
        if channel in self._watches:
            self._fence(channel)

    def announced(self, channel: str, events: Sequence[Event]) -> None:
        """Somebody appended them."""
        watch = self._watches.get(channel)
        if watch is not None:  # else it was left a moment ago
            self._feed(channel, watch, events)

    def _begin(self, channel: str, watch: Watch, known: int) -> None:
        watch.known = watch.start = known
        if watch.fences:
            self._fence(channel)

    def _feed(self, channel: str, watch: Watch, events: Sequence[Event]) -> None:
        known = watch.known
        if known is None:
            watch.fences = True
            return
        if watch.fences:
            if len(watch.waiting) < WAITING:
                watch.waiting += events
            return  # where there is no room, the stream is read once more
        new = [event for event in events if event.id > known]
        if not new:
            return
        if new[0].prev != known:
            self.rereads += 1
            watch.waiting += new
            self._fence(channel)
            return
        watch.known = new[-1].id
        if self._listener.hears(channel):
            self._listener.announce(new)

    # -- fences

    def _fence(self, channel: str) -> None:
        watch = self._watches[channel]
        watch.fences = True
        if watch.known is None:
            return  # somebody reads it just now, and `began` comes
        self._due.append(channel)
        if self._reading is None:
            self._reading = gevent.spawn(self._read_due)

    def _read_due(self) -> None:
        alone = 0
        try:
            while self._due:
                channels = [self._due.popleft() for _ in range(1 if alone else min(STREAMS, len(self._due)))]
                alone = max(0, alone - 1)
                try:
                    self._due += self._read_on(channels)
                except Exception as error:
                    if not isinstance(error, StoreUnavailable):  # the link has said so
                        log.exception("a stream cannot be read; trying again")
                    gevent.sleep(AGAIN_SECONDS)
                    if len(channels) > 1:
                        # One that cannot be read must not hold up the others.
                        alone = len(channels)
                        self._due.extendleft(reversed(channels))
                    else:
                        self._due += channels
        finally:
            self._reading = None

    def _read_on(self, channels: Sequence[str]) -> list[str]:
        """Announce what the streams have, then what has come meanwhile; those of which there is more to read."""
        reads = []
        for channel in dict.fromkeys(channels):
            watch = self._watches.get(channel)
            if watch is not None and watch.known is not None:
                reads.append((channel, watch, watch.known, len(watch.waiting)))
        pasts = self._read([(channel, after) for channel, _, after, _ in reads], EVENTS)
        more = []
        for (channel, watch, after, before), past in zip(reads, pasts, strict=True):
            # Else it was left meanwhile, and perhaps watched again, or a first read came back that had begun earlier:
            # either has a fence of its own.
            is_whole = self._watches.get(channel) is watch and (watch.known or 0) >= after
            if is_whole and not self._take(channel, watch, past, before):
                more.append(channel)
        return more

    def _take(self, channel: str, watch: Watch, past: Past, before: int) -> bool:
        """Whether that was all; `before` of those that wait came before the read."""
        if watch.deleted is None:
            watch.deleted = past.deleted
        elif past.deleted > watch.deleted:
            self.end(channel, past.deleted)
        new = [event for event in past.events if event.id > (watch.known or 0)]
        if new:
            watch.known = new[-1].id
            if self._listener.hears(channel):
                self._listener.announce(new)
        if len(watch.waiting) >= WAITING:
            watch.waiting = []  # not all that came found room
            return False
        if past.events and past.events[-1].id < past.head:
            return False
        watch.fences = False
        waiting, watch.waiting = watch.waiting, []
        # What came before the read and is not in the stream is gone, however it went: it would be looked for again and
        # again.
        for event in waiting[before:]:
            self._feed(channel, watch, [event])
        return True
