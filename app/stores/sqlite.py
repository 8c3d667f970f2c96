"""The embedded default: one SQLite file, any number of processes of one machine, nothing to install.

Reading is here. What an append does is in `sqlite_append.py`, when it is committed in `sqlite_commits.py`, how
processes hear of one another in `sqlite_listener.py`, the file itself in `sqlite_file.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gevent

from ..config import Policy
from ..errors import StoreUnavailable
from ..events import Event
from . import sqlite_revocations
from .base import Answers, Appended, ChannelInfo, Clock, Key, Listener, Reading, Revocation, Store
from .sqlite_append import Written, write
from .sqlite_checkpoint import Checkpoint
from .sqlite_commits import Commits
from .sqlite_durable import DurableCommits
from .sqlite_file import Execute, SQLiteFile, mark
from .sqlite_listener import SQLiteListener
from .sqlite_policy import FilePolicy
from .sqlite_questions import SQLiteQuestions
from .sqlite_sweep import Sweep
from .wakeups import Wakeups, marks

#: How long a probe waits for a store that could not be written to the last time.
PROBE_SECONDS = 0.5

_EVENTS = "SELECT id, prev, at_us, type, message FROM events WHERE number = ? AND "


class SQLiteStore(Store):
    """See the module. `policy` is written into the file; None takes the file's own. `clock` gives Unix seconds.

    With `durable` an append waits for the disk, so that it survives a loss of power.
    """

    def __init__(self, path: Path, policy: Policy | None, clock: Clock, durable: bool = False) -> None:
        self._clock = clock
        # Absolute, so that it stays the same file when the process goes to another folder (and never `:memory:`).
        path = path.absolute()
        listeners = Path(f"{path}-listeners")
        self._refuse_others_files(path, listeners)
        self._file = SQLiteFile(path)
        try:
            with self._file.writing as execute:
                execute("INSERT OR IGNORE INTO meta VALUES ('base', ?), ('channels', 0)", (self.now_us(),))
            self._policy = FilePolicy(self._file, policy)
            self._wakeups = Wakeups(listeners)
            self._commits = (DurableCommits if durable else Commits)(
                self._file, self._policy.follow, self._wakeups.send
            )
        except OSError as error:
            self._file.close()
            raise StoreUnavailable(f"{listeners} cannot be a folder: {error}") from error
        except BaseException:
            self._file.close()
            raise
        self._file.opened = True
        self._listening: SQLiteListener | None = None
        self._questions: SQLiteQuestions | None = None
        self._checkpoint: Checkpoint | None = None
        self._sweep = Sweep(self._file, self._policy, self._oldest)

    def _refuse_others_files(self, path: Path, listeners: Path) -> None:
        """Where others have lost sight of their log a new one would be begun beside it, and both be lost."""
        try:
            others = marks(listeners) - {mark(path)}
        except OSError as error:
            raise StoreUnavailable(f"{listeners} cannot be a folder: {error}") from error
        if others:
            raise StoreUnavailable(
                f"{path}, its -wal or its -shm was removed or replaced under processes that use it: "
                "put it back, or stop them all first"
            )

    @property
    def policy(self) -> Policy:
        return self._policy.current

    def now_us(self) -> int:
        return int(self._clock() * 1e6)

    def append(
        self, channel: str, messages: Sequence[bytes], type: str | None = None, key: Key | None = None
    ) -> Appended:
        def work(execute: Execute) -> Written:
            return write(execute, self.policy, self.now_us, channel, messages, type, key)

        return self._commits.run(work, self._announce, len(messages)).appended

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
                "SELECT number, head, events, deleted_to, channel, last_at_us FROM channels WHERE channel = ?",
                (channel,),
            ).fetchone()
            return None if row is None else self._info(execute, row)

    def channels(self, prefix: str, after: str, limit: int) -> list[ChannelInfo]:
        found = []
        with self._file.reading as execute:
            for row in execute(
                "SELECT number, head, events, deleted_to, channel, last_at_us FROM channels "
                "WHERE channel > ? AND channel >= ? ORDER BY channel LIMIT ?",
                (after, prefix, limit),
            ):
                if not row[4].startswith(prefix):
                    break
                found.append(self._info(execute, row))
        return found

    def delete(self, channel: str) -> None:
        def work(execute: Execute) -> None:
            # Hidden, not removed: that is the sweep's, in steps, since a hundred thousand rows are a long pause.
            row = execute(
                "UPDATE channels SET deleted_to = head, events = 0 WHERE channel = ? RETURNING head", (channel,)
            ).fetchone()
            self._insert_control(execute, "deleted", {"channel": channel, "to": row[0] if row else 0})

        self._commits.run(work, self._tell)

    def revoke(self, revocation: Revocation) -> Revocation:
        def work(execute: Execute) -> Revocation:
            kept = sqlite_revocations.keep(execute, revocation, self.policy.max_revocations, self.now_us())
            self._insert_control(execute, "revoked", revocation._asdict())
            return kept

        return self._commits.run(work, self._tell)

    def revocations(self) -> list[Revocation]:
        with self._file.reading as execute:
            return sqlite_revocations.listed(execute, self.now_us())

    def announce_control(self, kind: str, data: dict[str, object]) -> None:
        self._commits.run(lambda execute: self._insert_control(execute, kind, data), self._tell)

    def ask(self, question: dict[str, object]) -> Answers:
        assert self._questions is not None
        return self._questions.ask(question)

    def listen(self, listener: Listener) -> None:
        self._questions = SQLiteQuestions(
            self._file, self._commits, self._wakeups, listener, partial(self.announce_control, "asked"), self.now_us
        )
        self._listening = SQLiteListener(self._file, self._wakeups, listener, self._questions)
        self._sweep.listener = listener
        # A process that listens runs an event loop, which the disk must not stop; others may wait within a commit.
        self._commits.leave_the_log()
        self._checkpoint = Checkpoint(self._file.path)

    def catch_up(self) -> None:
        if self._listening is not None:
            self._listening.catch_up()

    def check(self) -> None:
        with self._file.reading as execute:
            self._file.check_usable()
            execute("SELECT 1 FROM meta LIMIT 1").fetchone()
        if self._commits.failing:
            # Nobody may be sending publishes any more that would show that it works again. Who probes is not to wait.
            with gevent.Timeout(PROBE_SECONDS, StoreUnavailable("The store cannot be written to", retry_after=1)):
                self._commits.run(self._write_the_time, lambda _: None)
        if self._listening is not None and not self._listening.hears():
            raise StoreUnavailable("The store's listener does not hear other processes", retry_after=1)

    def sweep(self) -> bool:
        return self._sweep.step(self.now_us())

    def close(self) -> None:
        if self._listening is not None:
            self._listening.stop()
        if self._questions is not None:
            self._questions.stop()
        if self._checkpoint is not None:
            self._checkpoint.stop()
        self._commits.close()
        self._wakeups.close()
        self._file.close()

    def _insert_control(self, execute: Execute, kind: str, data: dict[str, object]) -> None:
        execute(
            "INSERT INTO controls (at_us, kind, data) VALUES (?, ?, ?)",
            (self.now_us(), kind, json.dumps(data)),
        )

    def _announce(self, written: Written) -> None:
        if self._listening is not None and written.stored:
            self._listening.appended(written.channel, written.seq, written.stored, written.events)

    def _write_the_time(self, execute: Execute) -> None:
        # Something that differs: SQLite writes no page that stays the same.
        execute("INSERT OR REPLACE INTO meta VALUES ('written', ?)", (self.now_us(),))

    def _tell(self, _: object) -> None:
        if self._listening is not None:
            self._listening.tell()

    def _oldest(
        self, execute: Execute, number: int, channel: str, count: int, deleted_to: int
    ) -> tuple[int, int] | None:
        """Id and prev of the oldest event that retention shows, None where it shows none."""
        retention = self.retention(channel)
        row: tuple[int, int, int] | None = execute(
            "SELECT id, prev, at_us FROM events WHERE number = ? AND id > ? ORDER BY id LIMIT 1 OFFSET ?",
            (number, deleted_to, max(0, count - retention.events)),
        ).fetchone()
        young_us = self.now_us() - int(retention.seconds * 1e6)
        if row is not None and row[2] < young_us:
            # An id is never below its event's time, so that nothing below this one is young enough: no scan over
            # what has ended, but for as much as the clock stepped back.
            row = execute(
                "SELECT id, prev, at_us FROM events WHERE number = ? AND id >= ? AND at_us >= ? ORDER BY id LIMIT 1",
                (number, max(row[0], young_us), young_us),
            ).fetchone()
        return None if row is None else row[:2]

    def _read(self, channel: str, rows: tuple[str, Any], max_bytes: int) -> Reading:
        where, values = rows
        with self._file.reading as execute:
            row = execute(
                "SELECT number, head, events, deleted_to FROM channels WHERE channel = ?", (channel,)
            ).fetchone()
            if row is None:
                base = self._file.scalar("SELECT value FROM meta WHERE name = 'base'")
                return Reading(False, base, base, None, [])
            number, head, count, deleted_to = row
            oldest = self._oldest(execute, number, channel, count, deleted_to)
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

    def _info(self, execute: Execute, row: tuple[int, int, int, int, str, int]) -> ChannelInfo:
        number, head, count, deleted_to, channel, last_at_us = row
        oldest = self._oldest(execute, number, channel, count, deleted_to)
        if oldest is None:
            return ChannelInfo(channel, 0, None, head, last_at_us / 1e6)
        hidden = self._file.scalar(
            "SELECT count(*) FROM events WHERE number = ? AND id > ? AND id < ?", number, deleted_to, oldest[0]
        )
        return ChannelInfo(channel, count - hidden, oldest[0], head, last_at_us / 1e6)
