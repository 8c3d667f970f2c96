"""One append within a transaction of the file: number, keep, remember the key, trim; four or five statements."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..config import Policy
from ..errors import KeyReused, TooManyChannels, TooManyKeys
from ..events import MAX_ID, Event
from .base import Appended, Key
from .sqlite_file import Execute
from .sqlite_trim import BITE_SECONDS, drop_events, drop_keys

#: Rows over the retention, hidden from reads, that gather before an append deletes them together: deleting one with
#: each append would touch two more pages of the file every time. An append deletes at most so many beside its own.
TRIM_ROWS = 64


class Written(NamedTuple):
    """What an append did: `stored` events, made only for who listens, the last of them number `seq` of the file."""

    appended: Appended
    channel: str
    seq: int = 0
    stored: int = 0
    events: Callable[[], list[Event]] = list


def write(
    execute: Execute,
    policy: Policy,
    clock_us: Callable[[], int],
    channel: str,
    messages: Sequence[bytes],
    type: str | None,
    key: Key | None,
) -> Written:
    """Do within a transaction what `Store.append` promises. Refuses before it has written anything."""
    # Read under the write lock: the clock of whoever appends next is read after this one's.
    now_us = clock_us()
    row = execute(
        "SELECT number, head, events, keys, deleted_to FROM channels WHERE channel = ?", (channel,)
    ).fetchone()
    if row is None:
        row = _add_channel(execute, policy, channel, now_us)
    elif key is not None:
        remembered = _remembered(execute, row[0], key, now_us)
        if remembered is not None:
            return Written(remembered, channel)
    number, head, count, keys, deleted_to = row
    if key is not None:
        keys = _room_for_key(execute, policy, number, key, keys, now_us) + 1
    first_id = max(head + 1, now_us)
    rows = []
    seq = 0
    for id, message in enumerate(messages, first_id):
        seq = (
            execute(
                "INSERT INTO events (number, id, prev, at_us, type, message) VALUES (?, ?, ?, ?, ?, ?)",
                (number, id, head, now_us, type, message),
            ).lastrowid
            or 0
        )
        rows.append((id, head, message))
        head = id
    count += len(rows)
    if key is not None:
        expires_us = now_us + int(policy.idempotency_seconds * 1e6)
        execute(
            "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, key.subject, key.text, key.digest, first_id, head, expires_us),
        )
    excess = count - policy.retention(channel).events
    if excess >= TRIM_ROWS:
        # As many as were added, or a channel of batches would grow without end; more only while there is time.
        added = min(excess, len(rows))
        count -= drop_events(execute, number, deleted_to, MAX_ID, math.inf, added)
        ends_at = time.monotonic() + BITE_SECONDS
        count -= drop_events(execute, number, deleted_to, MAX_ID, ends_at, min(excess - added, TRIM_ROWS))
    execute(
        "UPDATE channels SET head = ?, events = ?, keys = ?, last_at_us = ? WHERE number = ?",
        (head, count, keys, now_us, number),
    )

    def events() -> list[Event]:
        return [Event(channel, id, prev, now_us, type, message) for id, prev, message in rows]

    return Written(Appended(first_id, head), channel, seq, len(rows), events)


def _add_channel(execute: Execute, policy: Policy, channel: str, now_us: int) -> tuple[int, int, int, int, int]:
    (channels,) = execute("SELECT value FROM meta WHERE name = 'channels'").fetchone()
    if channels >= policy.max_channels:
        raise TooManyChannels(f"At most BIDE_MAX_CHANNELS ({policy.max_channels:,}) channels are kept")
    execute("UPDATE meta SET value = value + 1 WHERE name = 'channels'")
    (base,) = execute("SELECT value FROM meta WHERE name = 'base'").fetchone()
    number = execute(
        "INSERT INTO channels (channel, head, events, keys, last_at_us, kept_us) VALUES (?, ?, 0, 0, ?, 0)",
        (channel, base, now_us),
    ).lastrowid
    return number or 0, base, 0, 0, 0


def _remembered(execute: Execute, number: int, key: Key, now_us: int) -> Appended | None:
    row = execute(
        "SELECT digest, first_id, last_id FROM idempotency "
        "WHERE number = ? AND subject = ? AND text = ? AND expires_us > ?",
        (number, key.subject, key.text, now_us),
    ).fetchone()
    if row is None:
        return None
    if row[0] != key.digest:
        raise KeyReused("Send new content under a new Idempotency-Key", param="Idempotency-Key")
    return Appended(row[1], row[2], replayed=True)


def _room_for_key(execute: Execute, policy: Policy, number: int, key: Key, count: int, now_us: int) -> int:
    """Make room for a key of the channel, which has `count`; returns how many it has then. Refuses at first."""
    most = policy.max_idempotency_keys
    if count >= most:
        expired = execute("SELECT count(*) FROM idempotency WHERE number = ? AND expires_us <= ?", (number, now_us))
        if count - expired.fetchone()[0] >= most:
            raise TooManyKeys("Try again when older keys have expired, or send no key", retry_after=10)
        # Some of them: all at once would be a pause for everybody, and the sweep comes by.
        count -= drop_keys(execute, number, now_us)
    # The same key, expired: it is given anew.
    return (
        count
        - execute(
            "DELETE FROM idempotency WHERE number = ? AND subject = ? AND text = ?", (number, key.subject, key.text)
        ).rowcount
    )
