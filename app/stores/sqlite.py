"""The embedded default: one SQLite file, any number of processes of one machine, nothing to install.

Writing and reading are here, how processes hear of one another in `sqlite_listener.py`, the file itself in
`sqlite_file.py`. An append is one transaction of four or five statements, so what was acknowledged was committed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..config import Policy
from ..errors import KeyReused, StoreUnavailable, TooManyChannels, TooManyKeys
from ..events import Event
from .base import Appended, ChannelInfo, Clock, Key, Listener, Reading, Store
from .sqlite_checkpoint import Checkpoint
from .sqlite_file import Execute, SQLiteFile
from .sqlite_listener import SQLiteListener
from .sqlite_sweep import Sweep
from .wakeups import Wakeups

#: Rows over the retention, hidden from reads, that gather before an append deletes them together: deleting one with
#: each append would touch two more pages of the file every time. An append deletes at most so many beside its own.
TRIM_ROWS = 64

_EVENTS = "SELECT id, prev, at_us, type, message FROM events WHERE number = ? AND "


class SQLiteStore(Store):
    """See the module. `policy` is written into the file; None takes the file's own. `clock` gives Unix seconds."""

    def __init__(self, path: str, policy: Policy | None, clock: Clock) -> None:
        self._clock = clock
        # Absolute, so that it stays the same file when the process goes to another folder (and never `:memory:`).
        self._file = SQLiteFile(Path(path).absolute())
        with self._file.writing as execute:
            execute("INSERT OR IGNORE INTO meta VALUES ('base', ?), ('channels', 0)", (self.now_us(),))
            self.policy = self._agree(policy)
        try:
            self._wakeups = Wakeups(Path(f"{self._file.path}-listeners"))
        except OSError as error:
            self._file.close()
            raise StoreUnavailable(f"{self._file.path}-listeners cannot be a folder: {error}") from error
        self._listening: SQLiteListener | None = None
        self._checkpoint: Checkpoint | None = None
        self._sweep = Sweep(self._file, self.policy, self._oldest)

    def now_us(self) -> int:
        return int(self._clock() * 1e6)

    def append(
        self, channel: str, messages: Sequence[bytes], type: str | None = None, key: Key | None = None
    ) -> Appended:
        with self._file.writing as execute:
            # Read under the write lock: the clock of whoever appends next is read after this one's.
            now_us = self.now_us()
            row = execute("SELECT number, head, events, keys FROM channels WHERE channel = ?", (channel,)).fetchone()
            if row is not None and key is not None:
                remembered = self._remembered(execute, row[0], key, now_us)
                if remembered is not None:
                    return remembered
            if row is None:
                row = self._add_channel(execute, channel, now_us)
            number, head, count, keys = row
            first_id = max(head + 1, now_us)
            events = []
            seq = 0
            for id, message in enumerate(messages, first_id):
                seq = (
                    execute(
                        "INSERT INTO events (number, id, prev, at_us, type, message) VALUES (?, ?, ?, ?, ?, ?)",
                        (number, id, head, now_us, type, message),
                    ).lastrowid
                    or 0
                )
                events.append((id, head, message))
                head = id
            count += len(events)
            if key is not None:
                keys = self._remember(execute, number, key, first_id, head, now_us)
            excess = count - self.policy.retention(channel).events
            if excess >= TRIM_ROWS:
                count -= execute(
                    "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE number = ? ORDER BY id LIMIT ?)",
                    (number, min(excess, len(events) + TRIM_ROWS)),
                ).rowcount
            execute(
                "UPDATE channels SET head = ?, events = ?, keys = ?, last_at_us = ? WHERE number = ?",
                (head, count, keys, now_us, number),
            )
        if self._listening is not None:
            self._listening.appended(
                channel,
                seq,
                len(events),
                lambda: [Event(channel, id, prev, now_us, type, message) for id, prev, message in events],
            )
        self._wakeups.send()
        return Appended(first_id, head)

    def read(self, channel: str, after: int, limit: int, max_bytes: int) -> Reading:
        rows = ("id > ? ORDER BY id LIMIT ?", lambda floor: (max(after, floor), limit))
        return self._read(channel, rows, max_bytes)

    def read_before(self, channel: str, before: int, limit: int, max_bytes: int) -> Reading:
        rows = ("id > ? AND id < ? ORDER BY id DESC LIMIT ?", lambda floor: (floor, before, limit))
        reading = self._read(channel, rows, max_bytes)
        reading.events.reverse()
        return reading

    def info(self, channel: str) -> ChannelInfo | None:
        with self._file.reading as execute:
            row = execute(
                "SELECT number, head, events, channel, last_at_us FROM channels WHERE channel = ?", (channel,)
            ).fetchone()
            return None if row is None else self._info(execute, row)

    def channels(self, prefix: str, after: str, limit: int) -> list[ChannelInfo]:
        found = []
        with self._file.reading as execute:
            for row in execute(
                "SELECT number, head, events, channel, last_at_us FROM channels "
                "WHERE channel > ? AND channel >= ? ORDER BY channel LIMIT ?",
                (after, prefix, limit),
            ):
                if not row[3].startswith(prefix):
                    break
                found.append(self._info(execute, row))
        return found

    def delete(self, channel: str) -> None:
        with self._file.writing as execute:
            row = execute("SELECT number, head FROM channels WHERE channel = ?", (channel,)).fetchone()
            number, head = row or (None, 0)
            execute("DELETE FROM events WHERE number = ?", (number,))
            execute("UPDATE channels SET events = 0 WHERE number = ?", (number,))
            self._insert_control(execute, "deleted", {"channel": channel, "to": head})
        self._tell()

    def announce_control(self, kind: str, data: dict[str, object]) -> None:
        with self._file.writing as execute:
            self._insert_control(execute, kind, data)
        self._tell()

    def listen(self, listener: Listener) -> None:
        self._listening = SQLiteListener(self._file, self._wakeups, listener)
        self._sweep.listener = listener
        # A process that listens runs an event loop, which the disk must not stop; others may wait within a commit.
        self._file.execute("PRAGMA wal_autocheckpoint = 0")
        self._checkpoint = Checkpoint(self._file.path)

    def check(self) -> None:
        with self._file.reading as execute:
            execute("SELECT 1 FROM meta LIMIT 1").fetchone()
        if self._listening is not None and not self._listening.hears():
            raise StoreUnavailable("The store's listener does not hear other processes", retry_after=1)

    def sweep(self) -> bool:
        return self._sweep.step(self.now_us())

    def close(self) -> None:
        if self._listening is not None:
            self._listening.stop()
        if self._checkpoint is not None:
            self._checkpoint.stop()
        self._wakeups.close()
        self._file.close()

    def _agree(self, policy: Policy | None) -> Policy:
        """The policy to keep by: the one given is written down, without one the file's is read."""
        written = self._file.scalar("SELECT value FROM meta WHERE name = 'policy'")
        if policy is None:
            return msgspec.json.decode(written, type=Policy) if written else Policy()
        text = msgspec.json.encode(policy).decode()
        if text != written:
            self._file.execute("INSERT OR REPLACE INTO meta VALUES ('policy', ?)", (text,))
        return policy

    def _add_channel(self, execute: Execute, channel: str, now_us: int) -> tuple[int, int, int, int]:
        if self._file.scalar("SELECT value FROM meta WHERE name = 'channels'") >= self.policy.max_channels:
            raise TooManyChannels(f"At most BIDE_MAX_CHANNELS ({self.policy.max_channels:,}) channels are kept")
        execute("UPDATE meta SET value = value + 1 WHERE name = 'channels'")
        base = self._file.scalar("SELECT value FROM meta WHERE name = 'base'")
        number = execute(
            "INSERT INTO channels (channel, head, events, keys, last_at_us, kept_us) VALUES (?, ?, 0, 0, ?, 0)",
            (channel, base, now_us),
        ).lastrowid
        return number or 0, base, 0, 0

    def _remembered(self, execute: Execute, number: int, key: Key, now_us: int) -> Appended | None:
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

    def _remember(self, execute: Execute, number: int, key: Key, first_id: int, last_id: int, now_us: int) -> int:
        """Keep what the key stands for; returns how many keys the channel then has."""
        count: int = self._file.scalar("SELECT keys FROM channels WHERE number = ?", number)
        count -= execute(
            "DELETE FROM idempotency WHERE number = ? AND subject = ? AND text = ?",
            (number, key.subject, key.text),
        ).rowcount
        if count >= self.policy.max_idempotency_keys:
            count -= execute("DELETE FROM idempotency WHERE number = ? AND expires_us <= ?", (number, now_us)).rowcount
        if count >= self.policy.max_idempotency_keys:
            raise TooManyKeys("Try again when older keys have expired, or send no key", retry_after=10)
        expires_us = now_us + int(self.policy.idempotency_seconds * 1e6)
        execute(
            "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, key.subject, key.text, key.digest, first_id, last_id, expires_us),
        )
        return count + 1

    def _insert_control(self, execute: Execute, kind: str, data: dict[str, object]) -> None:
        execute(
            "INSERT INTO controls (at_us, kind, data) VALUES (?, ?, ?)",
            (self.now_us(), kind, json.dumps(data)),
        )

    def _tell(self) -> None:
        if self._listening is not None:
            self._listening.tell()
        self._wakeups.send()

    def _oldest(self, execute: Execute, number: int, channel: str, count: int) -> tuple[int, int] | None:
        """Id and prev of the oldest event that retention shows, None where it shows none."""
        retention = self.policy.retention(channel)
        row: tuple[int, int, int] | None = execute(
            "SELECT id, prev, at_us FROM events WHERE number = ? ORDER BY id LIMIT 1 OFFSET ?",
            (number, max(0, count - retention.events)),
        ).fetchone()
        young_us = self.now_us() - int(retention.seconds * 1e6)
        if row is not None and row[2] < young_us:
            row = execute(
                "SELECT id, prev, at_us FROM events WHERE number = ? AND id > ? AND at_us >= ? ORDER BY id LIMIT 1",
                (number, row[0], young_us),
            ).fetchone()
        return None if row is None else row[:2]

    def _read(self, channel: str, rows: tuple[str, Any], max_bytes: int) -> Reading:
        where, values = rows
        with self._file.reading as execute:
            row = execute("SELECT number, head, events FROM channels WHERE channel = ?", (channel,)).fetchone()
            if row is None:
                base = self._file.scalar("SELECT value FROM meta WHERE name = 'base'")
                return Reading(False, base, base, None, [])
            number, head, count = row
            oldest = self._oldest(execute, number, channel, count)
            if oldest is None:
                return Reading(True, head, head, None, [])
            events: list[Event] = []
            size = 0
            for id, prev, at_us, type, message in execute(_EVENTS + where, (number, *values(oldest[1]))):
                event = Event(channel, id, prev, at_us, type, message)
                size += len(event.json) + 1
                if events and size > max_bytes:
                    break
                events.append(event)
            return Reading(True, head, oldest[1], oldest[0], events)

    def _info(self, execute: Execute, row: tuple[int, int, int, str, int]) -> ChannelInfo:
        number, head, count, channel, last_at_us = row
        oldest = self._oldest(execute, number, channel, count)
        if oldest is None:
            return ChannelInfo(channel, 0, None, head, last_at_us / 1e6)
        hidden = self._file.scalar("SELECT count(*) FROM events WHERE number = ? AND id < ?", number, oldest[0])
        return ChannelInfo(channel, count - hidden, oldest[0], head, last_at_us / 1e6)
