"""Which tokens were revoked before they expire, as this process knows it.

The store keeps the list. A process reads it when it begins to serve, and until it could do so nobody's token is good.
From then on it hears of each revocation, and judges by what it has heard while the store is away. Where it may have
missed one it reads the list again, and joins what it finds to what it knows: what was announced meanwhile must not be
lost, nor what a store lost (a Redis server that was emptied, or that evicted the list), which is told it again.

Shared by all greenlets of the process. Nothing but `begin` switches them.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import gevent

from .errors import StoreUnavailable, TooManyRevocations
from .stores.base import Revocation, Store

log = logging.getLogger("bide")

#: Before a list that could not be read is read again.
AGAIN_SECONDS: Final = 0.25
#: From one look at all the polls to the next, however many tokens are revoked.
LOOK_SECONDS: Final = 0.1
#: What a store has lost is told it in parts of so many, since every process tells it.
TOLD: Final = 100
#: Revocations that ended are forgotten when there are twice as many as after the last time, and so many at least.
FEW: Final = 1000


class Token(Protocol):
    """What a revocation is matched with. Times are Unix seconds."""

    subject: str
    jti: str | None
    issued_at: float | None


class Revocations:
    """`version` grows with each: whoever looked at an earlier one looks again."""

    def __init__(self) -> None:
        self.version = 0
        self._store: Store | None = None
        self._changed: Callable[[], None] = lambda: None
        self._subjects: dict[str, Revocation] = {}
        self._jtis: dict[str | None, Revocation] = {}
        self._forget_at = FEW
        self._is_read = False
        self._is_due = False
        self._reading: gevent.Greenlet[..., None] | None = None
        self._is_new = False
        self._looking: gevent.Greenlet[..., None] | None = None

    def begin(self, store: Store, changed: Callable[[], None]) -> None:
        """Read the list, at once or as soon as that can be done; the store is listened to already. `changed` is called
        when there are more, from then on, in a greenlet of its own."""
        self._store, self._changed = store, changed
        try:
            self._read(store)
        except StoreUnavailable:
            self.missed()

    def stop(self) -> None:
        """End what runs beside."""
        self._store = None
        for greenlet in (self._reading, self._looking):
            if greenlet is not None:
                greenlet.kill()

    def check(self) -> None:
        """Raise StoreUnavailable where it cannot be known yet what was revoked."""
        if self._store is not None and not self._is_read:
            raise StoreUnavailable("It could not be read yet which tokens were revoked: try again", retry_after=1)

    def covers(self, token: Token) -> bool:
        """Whether the token was revoked. Raises StoreUnavailable where that cannot be known yet."""
        self.check()
        if token.jti not in self._jtis and token.subject not in self._subjects:
            return False  # nearly all, for the thousands of polls that are looked at
        now = time.time()
        of_one, of_all = self._jtis.get(token.jti), self._subjects.get(token.subject)
        if of_one is not None and of_one.is_kept(now):
            return True
        if of_all is None or not of_all.is_kept(now):
            return False
        return token.issued_at is None or token.issued_at <= of_all.issued_until

    def heard(self, data: Mapping[str, Any]) -> None:
        """Some process revoked tokens: the data of the control `revoked`."""
        self._learn(Revocation(data["claim"], data["value"], data["issued_until"], data["until"]))

    def missed(self) -> None:
        """Some may have been revoked without a word of it reaching this process: read the list again."""
        self._is_due = True
        if self._store is not None and not self._reading:
            self._reading = gevent.spawn(self._read_on, self._store)

    def _read_on(self, store: Store) -> None:
        while self._is_due:
            self._is_due = False
            try:
                self._read(store)
            except Exception as error:  # whatever it is, tokens that were revoked must not be let in for ever
                if not isinstance(error, StoreUnavailable):
                    log.exception("it cannot be read which tokens were revoked; trying again")
                self._is_due = True
                gevent.sleep(AGAIN_SECONDS)

    def _read(self, store: Store) -> None:
        told: set[tuple[str, str]] = set()
        while True:
            listed = store.revocations()
            for revocation in listed:
                self._learn(revocation)
            self._is_read = True
            known = {each.tokens: each for each in (*self._subjects.values(), *self._jtis.values())}
            lost = known.keys() - {each.tokens for each in listed} - told
            lost = {tokens for tokens in lost if known[tokens].until > time.time()}
            if not lost:
                return
            some = random.sample(sorted(lost), min(len(lost), TOLD))
            told.update(some)
            for tokens in some:
                try:
                    store.revoke(known[tokens])
                except TooManyRevocations:
                    return  # those that came later have taken its place

    def _learn(self, revocation: Revocation) -> None:
        of: dict[Any, Revocation] = self._subjects if revocation.claim == "sub" else self._jtis
        known = of.get(revocation.value)
        joined = revocation.joined(known)
        if joined == known:
            return
        if len(self._subjects) + len(self._jtis) >= self._forget_at:
            self._forget_ended()
        of[revocation.value] = joined
        self.version += 1
        self._is_new = True
        if not self._looking:
            self._looking = gevent.spawn(self._look_on)

    def _forget_ended(self) -> None:
        now = time.time()
        for of in (self._subjects, self._jtis):
            some: dict[Any, Revocation] = of
            for value in [value for value, each in some.items() if not each.is_kept(now)]:
                del some[value]
        self._forget_at = max(FEW, 2 * (len(self._subjects) + len(self._jtis)))

    def _look_on(self) -> None:
        while self._is_new:
            self._is_new = False
            self._changed()
            gevent.sleep(LOOK_SECONDS)
