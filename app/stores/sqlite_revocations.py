"""Revocations in the file: kept, listed, and dropped when their tokens have long expired; each within a transaction."""

from __future__ import annotations

from typing import Final

from .base import REVOKED_SECONDS, Revocation, too_many_revocations
from .sqlite_file import Execute

#: Rows removed in one step.
ROWS: Final = 1000


def keep(execute: Execute, revocation: Revocation, most: int, now_us: int) -> Revocation:
    """Do what `Store.revoke` promises. Refuses before it has written anything."""
    row = execute("SELECT * FROM revocations WHERE claim = ? AND value = ?", revocation.tokens).fetchone()
    earlier = None if row is None else Revocation(*row)
    if earlier is None or not earlier.is_kept(now_us / 1e6):
        earlier = None
        (count,) = execute("SELECT count(*) FROM revocations WHERE until > ?", (_ended(now_us),)).fetchone()
        if count >= most:
            raise too_many_revocations(most)
    kept = revocation.joined(earlier)
    execute("INSERT OR REPLACE INTO revocations VALUES (?, ?, ?, ?)", kept)
    return kept


def listed(execute: Execute, now_us: int) -> list[Revocation]:
    """All that are kept."""
    return [Revocation(*row) for row in execute("SELECT * FROM revocations WHERE until > ?", (_ended(now_us),))]


def drop(execute: Execute, now_us: int) -> None:
    """Remove some of those that have ended."""
    execute(
        "DELETE FROM revocations WHERE (claim, value) IN "
        "(SELECT claim, value FROM revocations WHERE until <= ? ORDER BY until LIMIT ?)",
        (_ended(now_us), ROWS),
    )


def _ended(now_us: int) -> float:
    return now_us / 1e6 - REVOKED_SECONDS
