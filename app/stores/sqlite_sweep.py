"""Housekeeping of the file, in small steps: rows that retention has ended, keys that expired, heads that are due.

Nothing that a read shows depends on it. Each step looks at some channels, by name, and writes only when there is
something to drop, so that several processes may sweep one file.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..events import MAX_ID
from . import sqlite_revocations
from .base import Listener
from .sqlite_file import Execute, SQLiteFile
from .sqlite_policy import FilePolicy
from .sqlite_trim import BITE_SECONDS, KEYS, drop_events, drop_keys

#: Channels looked at in one step: about a millisecond.
CHANNELS = 200

#: How long one process's word that a head has a subscriber holds for the others, in microseconds. A round of
#: sweeping is far shorter.
KEPT_US = 300_000_000

#: Controls are announced within 100 ms; a process that was stopped for longer than this is told that it lost some.
CONTROL_US = 60_000_000
#: Rows of them removed in one step.
CONTROLS = 1000

#: An answer that came too late for who asked is removed after this, in microseconds.
ANSWER_US = 60_000_000


class Sweep:
    """One process's round over the channels. `listener` says which of them have a subscriber here.

    `oldest` gives id and prev of the oldest event that retention shows, within a transaction.
    """

    def __init__(
        self,
        file: SQLiteFile,
        policy: FilePolicy,
        oldest: Callable[[Execute, int, str, int, int], tuple[int, int] | None],
    ) -> None:
        self._file = file
        self._policy = policy
        self._oldest = oldest
        self._after = ""
        self._unfinished = False
        self.listener: Listener | None = None

    def step(self, now_us: int) -> bool:
        """Look at the next channels; whether the round goes on."""
        with self._file.reading as execute:
            self._file.check_usable()
            self._policy.follow(execute)
            rows = execute(
                "SELECT number, channel, events, last_at_us, kept_us, "
                "(SELECT at_us FROM events WHERE number = channels.number AND id > deleted_to ORDER BY id LIMIT 1), "
                "EXISTS (SELECT 1 FROM events WHERE number = channels.number AND id <= deleted_to) "
                "OR EXISTS (SELECT 1 FROM idempotency WHERE number = channels.number AND expires_us <= ?), keys "
                "FROM channels WHERE channel > ? ORDER BY channel LIMIT ?",
                (now_us, self._after, CHANNELS),
            ).fetchall()
        if not rows:
            self._after = ""
            if self._unfinished:
                self._unfinished = False
                return True
            with self._file.writing as execute:
                # The oldest by their order; those of a clock that was ahead for a moment go as well.
                execute(
                    "DELETE FROM controls WHERE seq IN (SELECT seq FROM controls ORDER BY seq LIMIT ?) "
                    "AND at_us NOT BETWEEN ? AND ?",
                    (CONTROLS, now_us - CONTROL_US, now_us + CONTROL_US),
                )
                execute("DELETE FROM answers WHERE at_us < ?", (now_us - ANSWER_US,))
                sqlite_revocations.drop(execute, now_us)
            return False
        trimmed: list[tuple[int, str]] = []
        quiet: list[tuple[int, str, int]] = []
        for number, channel, count, last_at_us, kept_us, oldest_us, ended, keys in rows:
            retention = self._policy.current.retention(channel)
            due = now_us > last_at_us + retention.head_seconds * 1e6 - KEPT_US / 2
            old = oldest_us is not None and oldest_us < now_us - retention.seconds * 1e6
            if count > retention.events or old or ended:
                trimmed.append((number, channel))
            elif not count and not keys and due:
                quiet.append((number, channel, max(kept_us, last_at_us + int(retention.head_seconds * 1e6))))
        after = rows[-1][1]
        if trimmed or quiet:
            with self._file.writing as execute:
                after = self._trim(execute, trimmed, now_us) or after
                self._forget(execute, quiet, now_us)
        self._after = after
        return True

    def _trim(self, execute: Execute, channels: list[tuple[int, str]], now_us: int) -> str | None:
        """Drop what has ended, as far as one step goes: the channel after which the next one goes on, None where it
        went all the way. A channel that may have more to drop keeps no other waiting: it is come back to.
        """
        self._policy.follow(execute)
        ends_at = time.monotonic() + BITE_SECONDS
        for number, channel in channels:
            # It may have been written to since it was looked at, or forgotten, and its number be another's.
            row = execute(
                "SELECT events, deleted_to FROM channels WHERE number = ? AND channel = ?", (number, channel)
            ).fetchone()
            if row is None:
                continue
            expired = drop_keys(execute, number, now_us)
            deleted = drop_events(execute, number, 0, row[1] + 1, ends_at)
            oldest = self._oldest(execute, number, channel, *row)
            dropped = drop_events(execute, number, row[1], MAX_ID if oldest is None else oldest[0], ends_at)
            if dropped or expired:
                execute(
                    "UPDATE channels SET events = events - ?, keys = keys - ? WHERE number = ?",
                    (dropped, expired, number),
                )
            over = time.monotonic() > ends_at
            if over or expired == KEYS:
                self._unfinished = self._unfinished or bool(expired or deleted or dropped)
            if over:
                return channel
        return None

    def _forget(self, execute: Execute, channels: list[tuple[int, str, int]], now_us: int) -> None:
        names = [channel for _, channel, _ in channels]
        here = set(self.listener.subscribed(names)) if self.listener is not None else set()
        for number, channel, until_us in channels:
            if channel in here:
                execute("UPDATE channels SET kept_us = ? WHERE number = ?", (now_us + KEPT_US, number))
            elif now_us > until_us:
                # It may have been written to since it was looked at.
                forgotten = execute(
                    "DELETE FROM channels WHERE number = ? AND events = 0 AND keys = 0 AND kept_us <= ? "
                    "AND last_at_us <= ? RETURNING head",
                    (number, now_us, until_us),
                ).fetchone()
                if forgotten is not None:
                    execute("UPDATE meta SET value = value - 1 WHERE name = 'channels'")
                    execute("UPDATE meta SET value = max(value, ?) WHERE name = 'base'", forgotten)
