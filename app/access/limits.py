"""How often a client may publish and poll (`BIDE_RATE_PUBLISH`, `BIDE_RATE_SUBSCRIBE`, a token's claim `bide.rate`),
and how many polls it may hold (`BIDE_MAX_POLLS_PER_CLIENT`).

A client is the subject of its token, else where it comes from. A publish is counted when it comes; a poll when it is
answered without an event, so that a busy channel never refuses its own subscribers. Once half of what it may poll is
used up an empty answer keeps its poll waiting for as long as the rest has to last: who does nothing but ask again at
once is slowed to the limit's rate, and only who does that on many connections is refused.

The server's limit and the token's are counted each for itself, and what one of them refuses is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from ..config import Settings
from ..errors import RateLimited
from ..knobs import Rate
from ..stores import Store
from .addresses import Addresses
from .allowances import Allowance, Allowances, Limit
from .permit import Permit

#: Where the app keeps them; nothing is there where there are no limits.
LIMITS: Final = "bide.limits"

#: Limits of claims that are remembered; above it the oldest is forgotten, and what was counted by it.
MOST_CLAIMS: Final = 1000
#: Clients of whom it is remembered by what their polls are counted; above it all are forgotten.
MOST_COUNTING: Final = 20_000


class Leave:
    """What one request may do. `client` is for whom its poll is counted, None where polls are not; `pace_seconds` is
    how long that waits at least where there is no event, and `empty` is to be called when it is answered so."""

    __slots__ = ("_known", "_limits", "_whose", "client", "empty", "pace_seconds")

    def __init__(self, known: Allowances, limits: tuple[Limit, ...], whose: str, *, counts_polls: bool = False) -> None:
        self._known = known
        self._limits = limits
        self._whose = whose
        self.client = whose if counts_polls else None
        self.pace_seconds = 0.0
        self.empty: Callable[[], None] | None = None

    def spend(self, hits: int) -> None:
        """It has done so much."""
        for limit in self._limits:
            self._known.spend(limit, self._whose, hits)


class Limits:
    """The limits of one worker. Calls may switch greenlets, for a moment."""

    def __init__(self, settings: Settings, store: Store, workers: int) -> None:
        self._workers = max(1, workers)
        self._addresses = Addresses(settings.forwarded_allow_ips)
        self._counts_polls = settings.max_polls_per_client > 0
        self._most_seconds = settings.max_timeout_seconds
        rates = {"publish": settings.rate_publish, "subscribe": settings.rate_subscribe}
        counters = store.counters() if settings.has_key or any(rates.values()) else None
        self._is_shared = counters is not None
        clock = time.monotonic if counters is None else lambda: store.now_us() / 1e6
        self._known = Allowances(counters, clock)
        self._claims: dict[tuple[str, Rate], Limit] = {}
        self._counting: dict[tuple[tuple[Limit, ...], str], Callable[[], None]] = {}
        self._settings = {
            kind: () if rate is None else (self._limit(kind, rate, is_claim=False),) for kind, rate in rates.items()
        }

    def publish(self, environ: Mapping[str, Any], permit: Permit | None) -> Leave | None:
        """A publish came, which is counted as one to one channel. None where it has no limit. Raises RateLimited."""
        limits = self._of("publish", permit)
        if not limits:
            return None
        whose = self._whose(environ, permit)
        self._admitting(limits, whose)
        leave = Leave(self._known, limits, whose)
        leave.spend(1)
        return leave

    def poll(self, environ: Mapping[str, Any], permit: Permit | None) -> Leave | None:
        """A poll came. None where it has no limit. Raises RateLimited."""
        limits = self._of("subscribe", permit)
        if not limits and not self._counts_polls:
            return None
        whose = self._whose(environ, permit)
        leave = Leave(self._known, limits, whose, counts_polls=self._counts_polls)
        if limits:
            leave.empty = self._counts(limits, whose)
            found = self._admitting(limits, whose)
            now = self._known.clock()
            for allowance in found:
                if pace := allowance.pace_seconds(now):
                    leave.pace_seconds = min(max(pace, leave.pace_seconds), self._most_seconds)
        return leave

    def _counts(self, limits: tuple[Limit, ...], whose: str) -> Callable[[], None]:
        """What counts an answer without an event. One for all polls of a client: each would be two more objects that a
        parked poll has, and a thousand polls a round of the collector, which takes as long as a tenth of the polls."""
        found = self._counting.get((limits, whose))
        if found is None:
            if len(self._counting) >= MOST_COUNTING:
                self._counting.clear()
            found = self._counting[limits, whose] = partial(self._count, limits, whose)
        return found

    def _count(self, limits: tuple[Limit, ...], whose: str) -> None:
        for limit in limits:
            # Found anew: a poll waits for longer than an unused allowance is remembered.
            self._known.spend(limit, whose, 1)

    def _of(self, kind: str, permit: Permit | None) -> tuple[Limit, ...]:
        limits = self._settings[kind]
        claim = permit.rates.get(kind) if permit is not None and permit.rates else None
        return limits if claim is None else (*limits, self._claim(kind, claim))

    def _whose(self, environ: Mapping[str, Any], permit: Permit | None) -> str:
        return self._addresses.of(environ) if permit is None else permit.subject

    def _admitting(self, limits: tuple[Limit, ...], whose: str) -> list[Allowance]:
        """What the client has by the limits. Raises RateLimited where one of them has nothing left."""
        found = [self._known.of(limit, whose) for limit in limits]
        while True:
            for allowance in found:
                # The time is asked for anew: the one before may have waited for its counter.
                if not self._known.admits(allowance, self._known.clock()):
                    raise _refusal(allowance, self._known.clock())
            # While one of them waited, others of the client may have used up what the one before it had.
            if len(found) == 1 or all(allowance.credit > 0 for allowance in found):
                return found

    def _limit(self, kind: str, rate: Rate, *, is_claim: bool) -> Limit:
        return Limit(kind, *rate, is_claim=is_claim, workers=self._workers, shared=self._is_shared)

    def _claim(self, kind: str, rate: Rate) -> Limit:
        found = self._claims.get((kind, rate))
        if found is None:
            if len(self._claims) >= MOST_CLAIMS:
                del self._claims[next(iter(self._claims))]
            found = self._claims[kind, rate] = self._limit(kind, rate, is_claim=True)
        return found


def limits_of(settings: Settings, store: Store, workers: int) -> Limits | None:
    """The limits that there are; None where there are none, and no tokens that may have some."""
    if not (settings.has_key or settings.rate_publish or settings.rate_subscribe or settings.max_polls_per_client):
        return None
    return Limits(settings, store, workers)


def _refusal(allowance: Allowance, now: float) -> RateLimited:
    limit = allowance.limit
    source = f"the token's claim bide.rate.{limit.kind}" if limit.is_claim else f"BIDE_RATE_{limit.kind.upper()}"
    what = "publishes" if limit.kind == "publish" else "polls answered without an event"
    part = "" if limit.here == limit.amount else f", this worker's part of {limit.amount:,}"
    seconds = max(1, math.ceil(allowance.wait_seconds(now)))
    return RateLimited(
        f"At most {limit.here:,} {what} in {limit.seconds:,} s ({source}{part}): try again in {seconds:,} s",
        retry_after=seconds,
        policy=(limit.kind, limit.here, limit.seconds),
    )
