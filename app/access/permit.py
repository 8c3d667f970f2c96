"""What one token lets its bearer do: whose it is, until when, and which channels its claims name.

A claim is a list of patterns, exact names or prefixes that end in `*`, in which `{sub}` stands for the token's subject.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, Protocol, get_args

from ..errors import NotAllowed, Unauthorized
from ..knobs import Rate
from ..names import Patterns, is_own, resolved

Right = Literal["publish", "subscribe", "presence", "admin"]
RIGHTS: Final[tuple[Right, ...]] = get_args(Right)

#: Clocks of different machines differ.
LEEWAY_SECONDS: Final = 5

#: Most tokens have claims for one right or two, and there are many.
_NO_PATTERNS: Final = Patterns(())


class Revoked(Protocol):
    """What was revoked: `version` grows whenever there is more."""

    version: int

    def covers(self, permit: Permit) -> bool:
        """Whether the token was revoked. Raises Unavailable where that cannot be known yet."""


class Permit:
    """Made of a token that was verified. Times are Unix seconds; of `rates` a subject may have less than others."""

    __slots__ = ("_checked", "_is_revoked", "_revoked", "_rights", "expires_at", "issued_at", "jti", "rates", "subject")

    def __init__(
        self,
        subject: str,
        claims: Mapping[Right, Sequence[str]],
        *,
        expires_at: float,
        issued_at: float | None = None,
        jti: str | None = None,
        rates: Mapping[str, Rate] | None = None,
        revoked: Revoked,
    ) -> None:
        self.subject = subject
        self.expires_at = expires_at
        self.issued_at = issued_at
        self.jti = jti
        self.rates = rates or {}
        self._rights = {
            right: Patterns([resolved(pattern, subject) for pattern in claims[right]])
            if claims.get(right)
            else _NO_PATTERNS
            for right in RIGHTS
        }
        self._revoked = revoked
        self._checked = -1
        self._is_revoked = False

    @property
    def is_revoked(self) -> bool:
        version = self._revoked.version
        if self._checked != version:
            self._is_revoked = self._revoked.covers(self)
            self._checked = version  # only now: what could not be known is asked again
        return self._is_revoked

    @property
    def seconds(self) -> float:
        """How long it is good for yet, 0 where it has expired."""
        return max(0.0, self.expires_at - time.time())

    def check_good(self) -> None:
        """Raise Unauthorized where it has expired, or was revoked."""
        if time.time() >= self.expires_at:
            raise Unauthorized("The token has expired")
        if self.is_revoked:
            raise Unauthorized("The token was revoked")

    def patterns(self, right: Right) -> Patterns:
        """What the claim of the right names."""
        return self._rights[right]

    def check(self, right: Right, channels: Iterable[str]) -> None:
        """Raise NotAllowed unless it has the right for all the channels; the server's own are read by admins alone."""
        matches = self._rights[right].matches
        for channel in channels:
            if right != "admin" and is_own(channel):
                self.check("admin", (channel,))
            elif not matches(channel):
                raise NotAllowed(f"The token's claim bide.{right} names no pattern that matches {channel[:200]!r}")

    def check_all(self) -> None:
        """Raise NotAllowed unless it may administer everything."""
        if "*" not in self._rights["admin"].texts:
            raise NotAllowed('The token needs the claim bide.admin with the pattern "*"')
