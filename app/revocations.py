"""Which tokens were revoked before they expire, as this process knows it."""

from __future__ import annotations

from typing import Protocol


class Token(Protocol):
    """What a revocation is matched with. Times are Unix seconds."""

    subject: str
    jti: str | None
    issued_at: float | None


class Revocations:
    """`version` grows with each: whoever looked at an earlier one looks again."""

    def __init__(self) -> None:
        self.version = 0

    def covers(self, token: Token) -> bool:
        """Whether the token was revoked."""
        return False
