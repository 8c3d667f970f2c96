"""How long to wait before something is tried again.

A random time up to a bound that doubles with each try ("full jitter": AWS Architecture Blog, Exponential Backoff And
Jitter, 2015): clients that were thrown off together must not come back together.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_SECONDS: Final = 0.25
MOST_SECONDS: Final = 30.0
#: A Retry-After of more is a mistake, and a number beyond what a thread can wait for ends it.
LONGEST_HINT_SECONDS: Final = 86_400.0


class Backoff:
    """`most` is the bound in seconds."""

    def __init__(self, most: float = MOST_SECONDS) -> None:
        self._most = most
        self._tries = 0

    def reset(self) -> None:
        """It went well."""
        self._tries = 0

    def seconds(self, retry_after: float | None = None) -> float:
        """How long to wait now; never less than what the server asked for."""
        bound = min(self._most, FIRST_SECONDS * 2 ** min(self._tries, 16))
        self._tries += 1
        return (retry_after or 0.0) + random.uniform(0, bound)


def retry_after_of(text: str | None) -> float | None:
    """The seconds of a Retry-After header (RFC 9110, section 10.2.3: a number, or a date), a day at
    most; None where it has none."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_HINT_SECONDS)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), LONGEST_HINT_SECONDS)
