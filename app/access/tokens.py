"""Bearer tokens (RFC 7519): verified once, and remembered until they expire.

A token names its subject (`sub`) and when it ends (`exp`), and in its claim `bide` what its bearer may do:

    {"sub": "ann", "exp": 1790000000, "bide": {"publish": ["chat.*"], "subscribe": ["chat.*", "user.{sub}"]}}
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import jwt

from .. import knobs
from ..errors import Unauthorized
from ..names import MAX_SUBJECT_CHARACTERS, is_subject
from . import keys
from .permit import LEEWAY_SECONDS, RIGHTS, Permit, Revoked

#: Tokens that are remembered; above it those that came first are verified anew. With what is made of them they take
#: 2 KB each, and long ones up to 14 times their characters: 110 MB at most.
MOST_KNOWN: Final = 10_000
MOST_CHARACTERS: Final = 8_000_000
#: What `rate` may bound.
RATED: Final = frozenset(["publish", "subscribe"])

#: The one way to write a token. Without it there would be as many texts of each as anybody likes, each remembered.
_TOKEN: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII).fullmatch

NO_TOKEN: Final = "That is no valid token: give a signed JWT, such as `bide token` prints"
_REASONS: Final[tuple[tuple[type[jwt.PyJWTError], str], ...]] = (
    (jwt.ExpiredSignatureError, "The token has expired"),
    (jwt.ImmatureSignatureError, "The token is not valid yet (nbf or iat is later than now)"),
    (jwt.InvalidAudienceError, "The token is for an audience (aud) that is not this server's BIDE_JWT_AUDIENCE"),
    (jwt.InvalidIssuerError, "The token is from an issuer (iss) that is not this server's BIDE_JWT_ISSUER"),
    (jwt.InvalidSignatureError, "The token's signature does not fit this server's key"),
)


class Tokens:
    """Verifies tokens. Shared by all greenlets; a call may switch them where a key has to be fetched first."""

    def __init__(self, source: keys.Keys, revoked: Revoked, *, audience: str = "", issuer: str = "") -> None:
        self._keys = source
        self._revoked = revoked
        self._audience = audience or None
        self._issuer = issuer or None
        self._known: dict[str, Permit] = {}
        self._characters = 0

    def permit(self, text: str) -> Permit:
        """What a token permits. Raises Unauthorized for one that is not, not yet or no longer valid."""
        permit = self._known.get(text)
        if permit is None:
            permit = self._verified(text)
            self._remember(text, permit)
        try:
            permit.check_good()
        except Unauthorized:
            if not permit.seconds:
                self._forget(text)
            raise
        return permit

    def forget(self) -> None:
        """Verify every token anew: a key is gone."""
        self._known.clear()
        self._characters = 0

    def _remember(self, text: str, permit: Permit) -> None:
        self._forget(text)  # another greenlet may have verified it meanwhile
        self._known[text] = permit
        self._characters += len(text)
        while len(self._known) > MOST_KNOWN or self._characters > MOST_CHARACTERS:
            self._forget(next(iter(self._known)))

    def _forget(self, text: str) -> None:
        if self._known.pop(text, None) is not None:
            self._characters -= len(text)

    def _verified(self, text: str) -> Permit:
        if _TOKEN(text) is None or not _is_canonical(text.rpartition(".")[2]):
            raise Unauthorized(NO_TOKEN)
        try:
            header = jwt.get_unverified_header(text)
            if "crit" in header:  # RFC 7515, section 4.1.11: what must be understood is not
                raise Unauthorized("The token's header has extensions (crit), which are not understood")
            key = self._keys.find(header.get("kid"), header.get("alg"))
            claims = jwt.decode(
                text,
                key.key,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub"]},
            )
        except jwt.MissingRequiredClaimError as error:
            raise Unauthorized(f"The token has no claim {error.claim}") from None
        except jwt.PyJWTError as error:
            for kind, reason in _REASONS:
                if isinstance(error, kind):
                    raise Unauthorized(reason) from None
            raise Unauthorized(NO_TOKEN) from None
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            # What a claim or a header is, if it is not what it should be, PyJWT does not always ask.
            raise Unauthorized("The token's claims or its header are not what they should be") from None
        return self._permit(claims)

    def _permit(self, claims: Mapping[str, Any]) -> Permit:
        subject, jti, issued_at, own = (claims.get(name) for name in ("sub", "jti", "iat", "bide"))
        if not isinstance(subject, str) or not is_subject(subject):
            raise Unauthorized(f"The token's sub is to be 1 to {MAX_SUBJECT_CHARACTERS} printable characters")
        if jti is not None and not isinstance(jti, str):
            raise Unauthorized("The token's jti is to be a text")
        if not isinstance(own, dict | None):
            raise Unauthorized('The token\'s claim bide is to be an object such as {"subscribe": ["news"]}')
        if "nbf" in claims:
            _seconds("nbf", claims["nbf"])  # PyJWT has compared it, whatever it took for a number
        own = own or {}
        for right in RIGHTS:
            patterns = own.get(right, [])
            if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
                raise Unauthorized(f'The token\'s claim bide.{right} is to be a list such as ["news", "user.*"]')
        return Permit(
            subject,
            {right: own.get(right, []) for right in RIGHTS},
            expires_at=_seconds("exp", claims["exp"]) + LEEWAY_SECONDS,
            issued_at=None if issued_at is None else _seconds("iat", issued_at),
            jti=jti,
            rates=_rates(own.get("rate", {})),
            revoked=self._revoked,
        )


def _seconds(claim: str, value: Any) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise Unauthorized(f"The token's {claim} is to be a number of seconds since 1970")
    return seconds


def _is_canonical(text: str) -> bool:
    """Whether base64url has no other text for the same bytes: the bits that its last character has left over are 0."""
    left = len(text) % 4
    return left == 0 or (left == 2 and text[-1] in "AQgw") or (left == 3 and text[-1] in "AEIMQUYcgkosw048")


def _rates(value: Any) -> dict[str, knobs.Rate]:
    """`{"publish": "10/second"}`: what this subject may do at most, where others may do more."""
    # A bound that is not known here must not be ignored, as a right may be.
    if not isinstance(value, dict) or not value.keys() <= RATED:
        raise Unauthorized('The token\'s claim bide.rate is to be an object such as {"publish": "10/second"}')
    rates = {}
    for kind, text in value.items():
        try:
            rates[kind] = knobs.rate(text if isinstance(text, str) else "")
        except ValueError as error:
            raise Unauthorized(f"The token's claim bide.rate.{kind} is to be {error}") from None
    return rates
