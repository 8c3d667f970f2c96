"""How a process hears what others did: one connection, which subscribes to the channels that it watches.

The process sends itself a word by way of the server every second. Where none comes for `DEAF_SECONDS` the connection is
given up for another, however well it looks; once that has its subscriptions confirmed, everything missed is read from
the streams (`redis_watches.py`). Until then the streams are read every second.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import gevent
from gevent.lock import Semaphore
from redis.exceptions import RedisError, ResponseError

from ..errors import StoreUnavailable
from ..events import Event
from .base import Listener
from .redis_keys import Keys
from .redis_link import Link
from .redis_watches import Past, Watches
from .redis_way import Way

log = logging.getLogger("bide.store")

#: Without a word for so long the connection is taken for dead.
DEAF_SECONDS: Final = 5.0
PROBE_SECONDS: Final = 1.0
#: Without a word for so long the process should be given no more work. A shorter outage it bears, as all others do.
RED_SECONDS: Final = 15.0
#: From a lost connection to the next try, doubled each time up to the second.
AGAIN_SECONDS: Final = (0.05, 1.0)
#: Messages read between two turns of the event loop, and topics in one command.
MESSAGES: Final = 50
TOPICS: Final = 500


class RedisListener:
    """Announces to one listener until `stop`.

    `mark` names this process among the others. `controls` are the topics that it always hears, each with what is called
    with what comes; a word of its own comes on the topic `probe`, one of them. `read` is what `Watches` takes.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        mark: str,
        listener: Listener,
        read: Callable[[Sequence[tuple[str, int]], int], Sequence[Past]],
        controls: dict[bytes, Callable[[bytes], None]],
        probe: bytes,
    ) -> None:
        self.watches = Watches(listener, read, self._subscribe, self._unsubscribe)
        self._listener = listener
        self._link = link
        self._keys = keys
        self._mark = mark.encode()
        self._controls = controls
        self._probe = probe
        self._way: Way | None = None
        self._confirmed: set[bytes] = set()
        self._sending = Semaphore()
        self._word: gevent.Greenlet[..., None] | None = None
        self._heard_at = 0.0
        #: When the server last was to be taken for away, by its answers or for want of them.
        self._away_at = time.monotonic()
        #: When a word of its own came last, over whatever connection; at first when it was subscribed.
        self._well_at: float | None = None
        self._is_deaf = False
        self._trouble: BaseException | None = None
        self._greenlets = [gevent.spawn(self._run), gevent.spawn(self._look_after)]

    @property
    def hears(self) -> bool:
        """Whether a word of its own came lately."""
        return time.monotonic() - self._heard_at < DEAF_SECONDS and self._is_subscribed

    @property
    def is_well(self) -> bool:
        """Whether a word of its own came in the last `RED_SECONDS`."""
        return self._well_at is not None and time.monotonic() - self._well_at < RED_SECONDS

    def await_hearing(self, seconds: float) -> bool:
        """Wait until it hears, so long at most; whether it does. Switches greenlets."""
        ends_at = time.monotonic() + seconds
        while not self.hears and time.monotonic() < ends_at:
            gevent.sleep(0.002)
        return self.hears

    def stop(self) -> None:
        gevent.killall(self._greenlets)
        self.watches.stop()
        self._hang_up()

    @property
    def _is_subscribed(self) -> bool:
        return self._confirmed >= self._controls.keys()

    # -- the connection

    def _run(self) -> None:
        pause = AGAIN_SECONDS[0]
        while True:
            try:
                self._way = self._link.open(socket_timeout=DEAF_SECONDS)
                self._heard_at = time.monotonic()
                self._send(b"SUBSCRIBE", list(self._controls))
                self._subscribe(self.watches.channels)
                while True:
                    for _ in range(MESSAGES):
                        self._hear(*self._way.receive())
                        pause = AGAIN_SECONDS[0]
                    gevent.sleep(0)
            except ResponseError as error:
                # It is there, and refuses: as to a user who may not subscribe to channels. It may do so each time.
                self._trouble = error
                self._link.unavailable(error)
                pause = AGAIN_SECONDS[1]
            except (RedisError, OSError) as error:
                self._trouble = error
            except Exception:
                log.exception("the Redis store cannot be listened to; trying again")
            self._hang_up()
            gevent.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, AGAIN_SECONDS[1])

    def _hang_up(self) -> None:
        way, self._way = self._way, None
        self._confirmed.clear()
        if way is not None:
            way.close()

    def _subscribe(self, channels: Iterable[str]) -> None:
        self._send(b"SUBSCRIBE", [self._keys.topic(channel) for channel in channels])

    def _unsubscribe(self, channels: Iterable[str]) -> None:
        self._send(b"UNSUBSCRIBE", [self._keys.topic(channel) for channel in channels])

    def _send(self, word: bytes, topics: list[bytes]) -> None:
        """Where there is no connection, the next one begins with all that is watched."""
        try:
            with self._sending:
                for start in range(0, len(topics), TOPICS):
                    if self._way is not None:
                        self._way.send(word, *topics[start : start + TOPICS])
        except (RedisError, OSError):
            self._give_up()

    def _give_up(self) -> None:
        """Whoever reads from the connection meets its end, and makes another."""
        if self._way is not None:
            self._way.close()

    # -- what comes

    def _hear(self, kind: bytes, topic: bytes, data: Any) -> None:
        is_control = topic in self._controls
        if kind == b"message" and topic == self._probe and data == b"?":
            self._heard_at = self._well_at = time.monotonic()
            self._trouble = None
        elif kind == b"message" and is_control:
            self._controls[topic](data)
        elif kind == b"message":
            self._hear_channel(self._keys.channel_of(topic), data)
        elif kind == b"subscribe" and is_control:
            self._confirmed.add(topic)
            self._heard_at = time.monotonic()
            if self._well_at is None:
                self._well_at = self._heard_at
            if self._is_subscribed:
                self._listener.missed_controls()  # until now
        elif kind == b"subscribe":
            self.watches.confirmed(self._keys.channel_of(topic))
        elif kind == b"unsubscribe" and not is_control:
            self.watches.left(self._keys.channel_of(topic))

    def _hear_channel(self, channel: str, data: bytes) -> None:
        """What redis.lua publishes: `d`, an id and by whom; or `e`, prev, id, time, type, lengths, and the messages."""
        head, _, messages = data.partition(b"\n")
        kind, *words = head.split(b" ")
        if kind == b"d":
            if words[1] != self._mark:  # this process has told of its own
                self.watches.end(channel, int(words[0]))
            return
        prev, id, at_us = map(int, words[:3])
        type = words[3].decode() or None
        events = []
        start = 0
        for length in map(int, words[4].split(b",")):
            events.append(Event(channel, id, prev, at_us, type, messages[start : start + length]))
            prev, id, start = id, id + 1, start + length
        self.watches.announced(channel, events)

    # -- whether it hears

    def _look_after(self) -> None:
        while True:
            gevent.sleep(PROBE_SECONDS)
            try:
                if self._word is None or self._word.dead:
                    # Not to wait for its answer here: a server that stands still gives none.
                    self._word = gevent.spawn(self._send_word)
                else:
                    self._away_at = time.monotonic()
                if self._way is not None and time.monotonic() - self._heard_at > DEAF_SECONDS:
                    self._give_up()
                self._say()
                if not self.hears:
                    self.watches.read_all()
                    self._listener.missed_controls()
                self.watches.leave_quiet()
            except Exception:
                log.exception("the Redis listener cannot be looked after; trying again")

    def _say(self) -> None:
        """One line when it is deaf, one when it hears again; a server that is away is the link's to tell of."""
        if self.hears and self._is_deaf:
            self._is_deaf = False
            log.warning("the Redis store's announcements are heard again")
            return
        if self._link.is_away:
            self._away_at = time.monotonic()
        silent = time.monotonic() - max(self._heard_at, self._away_at)
        if silent > DEAF_SECONDS and not self._is_deaf:
            self._is_deaf = True
            why = self._trouble or "nothing comes"
            log.warning("the Redis store's announcements are not heard, polls may be late: %s", why)

    def _send_word(self) -> None:
        try:
            self._link.call(b"PUBLISH", self._probe, b"?")
        except StoreUnavailable:
            return  # the link has said so
