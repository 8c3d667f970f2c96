"""How often somebody may do something: at most `amount` hits in each window of so many seconds.

Windows are fixed, and those of one client begin at another moment than those of the next, at the same one in all
workers: so it is known without a question when somebody is let in again, and those who were refused do not come back
as a herd. A window is one number, however great the amount. (A moving window is a list of all hits, and one that is
weighed with the window before lets in less than was promised. But two bursts may meet at the edge of two windows.)

Where workers share a counter they add to it in blocks, once these are used up: what a client does seldom is never
counted elsewhere, a hit costs no round trip but the first behind a block, and a client that was refused costs none
until its next window. So a client is refused only once the counter has as many hits as it may have, and over all
workers is let in no more often than that and a block of each worker.

Some hits cannot be refused, as they are only known when they have happened. Those beyond the amount are a debt, which
is taken off the windows that follow: over time the rate holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final
from zlib import crc32

import gevent
from gevent.event import Event

from ..errors import StoreUnavailable
from ..stores.base import Counters

#: All blocks of one machine's workers together are such a part of the amount.
PART: Final = 8
#: The counter answers within this, or the worker counts alone; and asks again no sooner than after this.
ASK_SECONDS: Final = 0.1
ALONE_SECONDS: Final = 1.0
#: Clocks of workers on several machines differ: a counter outlives its window by this.
LATE_SECONDS: Final = 60
#: Allowances that are remembered. Above it the oldest are forgotten: nobody who has so many addresses is stopped by
#: limits for one, and the others may ask more often than they should.
MOST_KNOWN: Final = 50_000


class Limit:
    """At most `amount` hits of a kind in `seconds`, as the server's setting or a token's claim has it.

    `here` is how many there may be as far as this worker counts: all of them where it `shares` a counter, its share
    otherwise. `share` is what it lets in while it counts alone.
    """

    __slots__ = ("amount", "block", "here", "is_claim", "kind", "seconds", "share", "shares")

    def __init__(
        self, kind: str, amount: int, seconds: int, *, is_claim: bool = False, workers: int, shared: bool
    ) -> None:
        self.kind = kind
        self.amount = amount
        self.seconds = seconds
        self.is_claim = is_claim
        self.shares = shared
        self.share = max(1, amount // workers)
        self.here = amount if shared else self.share
        self.block = max(1, amount // (PART * workers)) if shared else self.share


class Allowance:
    """What one client may do by one limit, as one worker knows it. Nothing here switches greenlets.

    `credit` hits may follow before it is asked what other workers have counted. Of this window's hits `owed` were let
    in here and not yet told, `used` were let in here, and `told` are those that the counter had. `debt` are hits beyond
    the amount. `is_full`: the counter has as many as there may be.
    """

    __slots__ = (
        "_begun_at",
        "_ends_at",
        "_phase",
        "asking",
        "credit",
        "debt",
        "is_full",
        "limit",
        "owed",
        "told",
        "used",
        "whose",
        "window",
    )

    def __init__(self, limit: Limit, whose: str) -> None:
        self.limit = limit
        self.whose = whose
        #: Set when the counter has answered that is asked now.
        self.asking: Event | None = None
        self._phase = crc32(whose.encode()) / 2**32 * limit.seconds
        self._begun_at = self._ends_at = 0.0
        self.window = 0
        self.debt = 0
        self._begin(0)

    def look(self, now: float) -> None:
        """It is `now`, in seconds on a clock that workers which share a counter have in common."""
        if not self._begun_at <= now < self._ends_at:
            seconds = self.limit.seconds
            window = int((now + self._phase) // seconds)
            self._begun_at = window * seconds - self._phase
            self._ends_at = self._begun_at + seconds
            if window != self.window:
                self._begin(window)

    def _begin(self, window: int) -> None:
        skipped = max(0, window - self.window - 1)
        debt = max(0, self.debt - skipped * self.limit.here)
        self.window = window
        self.owed = self.used = debt
        self.told = 0
        self.credit = max(0, self.limit.block - debt)
        self.debt = debt if debt > self.limit.block else 0
        self.is_full = False

    def spend(self, hits: int) -> None:
        """So many hits have happened."""
        self.used += hits
        self.owed += hits
        self.credit -= hits
        if self.credit < 0:
            self.debt -= self.credit
            self.credit = 0

    def learn(self, total: int) -> None:
        """The counter has so many hits, without those that are owed."""
        self.told = total
        room = self.limit.amount - total - self.owed
        self.is_full = room <= 0
        self._go_on(room, min(self.limit.block - self.owed, max(1, room // 2)))

    def count_alone(self) -> None:
        """There is no counter, or it cannot be asked."""
        room = self.limit.share - self.used
        self._go_on(room, room)

    def _go_on(self, room: int, credit: int) -> None:
        if room <= 0:
            self.debt = min(self.debt, -room)
        else:
            self.credit = max(0, credit)
            self.debt = max(0, -credit)

    @property
    def counter(self) -> str:
        """The name of the counter of this client's window."""
        limit = self.limit
        whose = blake2b(self.whose.encode(), digest_size=12).hexdigest()  # a name may be of any length
        kind = f"{limit.kind}-claim" if limit.is_claim else limit.kind
        return f"{kind}:{limit.amount}/{limit.seconds}:{whose}:{self.window}"

    def left_seconds(self, now: float) -> float:
        """When its window ends that was looked at last."""
        return self._ends_at - now

    def wait_seconds(self, now: float) -> float:
        """When somebody is let in again who is refused now."""
        if self.limit.shares and not self.is_full:
            return ALONE_SECONDS  # it had its share, and the counter may have more soon
        return self.left_seconds(now) + self.debt // self.limit.here * self.limit.seconds

    def pace_seconds(self, now: float) -> float:
        """How long each hit is to take from now on, so that the rest of the window's hits lasts as long as the window;
        0 for the first half of them."""
        seen = self.told + self.owed
        if seen * 2 < self.limit.here:
            return 0.0
        return self.left_seconds(now) / max(1, self.limit.here - seen)

    def has_lapsed(self, now: float) -> bool:
        """Whether a new one would be as good: its window is over, and nothing is left of it."""
        if now < self._ends_at:
            return False
        self.look(now)
        return not self.used


class Allowances:
    """The allowances of one worker. `clock` is in seconds, and that of all who share the counters."""

    def __init__(self, counters: Counters | None, clock: Callable[[], float]) -> None:
        self._counters = counters
        self.clock = clock
        self._known: dict[tuple[Limit, str], Allowance] = {}
        self._alone_until = 0.0

    def __len__(self) -> int:
        return len(self._known)

    def of(self, limit: Limit, whose: str) -> Allowance:
        """What the client may do by the limit."""
        key = limit, whose
        found = self._known.get(key)
        if found is None:
            now = self.clock()
            self._make_room(now)
            found = self._known[key] = Allowance(limit, whose)
            found.look(now)
        return found

    def spend(self, limit: Limit, whose: str, hits: int) -> None:
        """The client has done so much of what is limited."""
        allowance = self.of(limit, whose)
        allowance.look(self.clock())
        allowance.spend(hits)

    def _make_room(self, now: float) -> None:
        for _ in range(2):  # one more than is added: what has lapsed is found in time
            if not self._known:
                return
            key = next(iter(self._known))
            allowance = self._known.pop(key)
            if not allowance.has_lapsed(now) and len(self._known) < MOST_KNOWN - 1:
                self._known[key] = allowance

    def admits(self, allowance: Allowance, now: float) -> bool:
        """Whether there is a hit left. Switches greenlets where it is to be asked what others have counted, for
        `ASK_SECONDS` at most."""
        allowance.look(now)
        if allowance.credit <= 0 and not allowance.is_full:
            self._ask(allowance)
        return allowance.credit > 0

    def _ask(self, allowance: Allowance) -> None:
        # Others of the client may use up meanwhile what an answer has given.
        while allowance.credit <= 0 and not allowance.is_full:
            is_alone = self._counters is None or time.monotonic() < self._alone_until
            if not is_alone and allowance.asking is not None:
                allowance.asking.wait(ASK_SECONDS)
            elif is_alone or not self._learns(allowance):
                allowance.count_alone()
                break

    def _learns(self, allowance: Allowance) -> bool:
        assert self._counters is not None
        window, owed = allowance.window, allowance.owed
        asking = allowance.asking = Event()
        allowance.owed = 0
        try:
            with gevent.Timeout(ASK_SECONDS, StoreUnavailable("The counter did not answer in time")):
                total = self._counters.incr(allowance.counter, allowance.limit.seconds + LATE_SECONDS, owed)
        except StoreUnavailable:
            if window == allowance.window:  # or it is another's by now
                allowance.owed += owed
            self._alone_until = time.monotonic() + ALONE_SECONDS
            return False
        finally:
            allowance.asking = None
            asking.set()
        if window == allowance.window:
            allowance.learn(total)
        return True
