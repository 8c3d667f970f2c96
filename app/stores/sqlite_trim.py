"""Removes rows in small bites, each within a transaction of its caller: what is over is hidden from reads already.

How long a row takes depends on its message, from a microsecond to a third of a millisecond. So a bite ends by the
clock: nobody else waits longer for it, and the rest is left to the next append or the next step of the sweep.
"""

from __future__ import annotations

import sys
import time

from .sqlite_file import Execute

#: A bite ends after this, and not within so many rows.
BITE_SECONDS = 0.004
BITE_ROWS = 16
#: Keys are small, and all alike.
KEYS = 500


def drop_events(
    execute: Execute, number: int, after: int, before: int, ends_at: float, limit: int = sys.maxsize
) -> int:
    """Remove a channel's oldest events between two ids, until a monotonic time; how many it were."""
    dropped = 0
    while dropped < limit:
        rows = min(BITE_ROWS, limit - dropped)
        gone = execute(
            "DELETE FROM events WHERE seq IN "
            "(SELECT seq FROM events WHERE number = ? AND id > ? AND id < ? ORDER BY id LIMIT ?)",
            (number, after, before, rows),
        ).rowcount
        dropped += gone
        if gone < rows or time.monotonic() > ends_at:
            break
    return dropped


def drop_keys(execute: Execute, number: int, now_us: int, limit: int = KEYS) -> int:
    """Remove some of a channel's expired idempotency keys; how many it were."""
    return execute(
        "DELETE FROM idempotency WHERE number = ? AND (subject, text) IN "
        "(SELECT subject, text FROM idempotency WHERE number = ? AND expires_us <= ? ORDER BY expires_us LIMIT ?)",
        (number, number, now_us, limit),
    ).rowcount
