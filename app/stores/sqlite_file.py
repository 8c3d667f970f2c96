"""A SQLite file of Bide's: opened, brought to this version's schema, and its transactions.

One connection a process, used inline: a commit costs 10 µs, less than a hop to a thread. SQLite's own waiting for a
lock would stop every greenlet of the worker, so `timeout` is 0 and a busy file is tried again between greenlets.
A transaction never switches greenlets once it has begun, so one connection serves them all.

The write-ahead log with `synchronous=NORMAL` survives the end of the process at any moment (the kernel has the
bytes at COMMIT), not a loss of power.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any

import gevent

from ..errors import SettingsError, StoreUnavailable

log = logging.getLogger("bide.store")

#: A lock that is held longer than this by another process is an answer of 503.
BUSY_SECONDS = 5.0
BUSY_STEP_SECONDS = 0.001

#: The same trouble is logged once in so long, however many requests meet it.
REPEAT_SECONDS = 10.0

#: "Bide" in ASCII, in the file's header (`PRAGMA application_id`): tells our file from anybody's.
APPLICATION_ID = 0x42696465

DAMAGED = "it is damaged, and nothing more is written into it: stop the server and put a copy in its place"

Execute = Callable[..., sqlite3.Cursor]


def _script(name: str) -> Callable[[], str]:
    return lambda: resources.files(__package__).joinpath(name).read_text()


#: The step from version n to n + 1 is MIGRATIONS[n]; version 0 is an empty file.
MIGRATIONS: list[Callable[[], str]] = [_script("schema.sql"), _script("schema_2.sql"), _script("schema_3.sql")]


def is_busy(error: BaseException) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is_damage(error: BaseException) -> bool:
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _place(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make(path: Path) -> None:
    """Make the file where there is none, as one that nobody but its owner reads: tokens bound who reads the events.

    SQLite would leave it to the umask; it gives the log and the index the modes of the file.
    """
    # Never one that is there: to close it would end the locks of this process's other connections to it.
    with contextlib.suppress(OSError):  # what is wrong SQLite meets too, and says
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def mark(path: Path) -> str:
    """Which files lie at the path now: the numbers of the file, its log and its index, 0 where there is none."""
    places = [_place(each) for each in (str(path), f"{path}-wal", f"{path}-shm")]
    return ".".join(str(place[1] if place else 0) for place in places)


def _code(error: BaseException) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def is_passing(error: sqlite3.Error) -> bool:
    """Whether it is the disk's trouble, which may pass, and nothing that the file is."""
    return _code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)


class Transaction:
    """`with file.writing as execute:` commits at its end, or rolls back when anything was raised."""

    def __init__(self, file: SQLiteFile, begin: str) -> None:
        self._file = file
        self._begin = begin

    def __enter__(self) -> Execute:
        deadline = None
        execute = self._file.execute
        while True:
            try:
                execute(self._begin)
                return execute
            except sqlite3.Error as error:
                now = time.monotonic()
                deadline = deadline or now + BUSY_SECONDS
                if not is_busy(error) or now > deadline:
                    raise self._file.unavailable(error) from error
            gevent.sleep(BUSY_STEP_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.Error as failed:
            self._file.roll_back()
            if kind is None:
                raise self._file.unavailable(failed) from failed
        if isinstance(error, sqlite3.Error):
            raise self._file.unavailable(error) from error


class SQLiteFile:
    """The open file. `execute` runs one statement; `reading` and `writing` are its transactions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, cached_statements=256)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"{path} cannot be opened: {error}") from error
        self._said: dict[str, float] = {}
        self._damaged = False
        #: Set by the store once it is open. Until then the reason of a trouble is told to whoever opens it.
        self.opened = False
        self.execute: Execute = self._connection.execute
        self.reading = Transaction(self, "BEGIN")
        self.writing = Transaction(self, "BEGIN IMMEDIATE")
        try:
            self._prepare()
            # Its log and its index are there as long as anybody has it open.
            beside = [f"{path}-wal", f"{path}-shm"]
            self._places = [(each, _place(each)) for each in (str(path), *beside)]
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """Begin to write. Raises sqlite3.Error."""
        self.check_usable()
        self.roll_back()  # where an earlier one could not be, or was interrupted
        self.execute("BEGIN IMMEDIATE")

    def give_up(self) -> None:
        """Roll back what can be; if it cannot, the next that begins does."""
        with contextlib.suppress(sqlite3.Error):
            self.roll_back()

    def check_usable(self) -> None:
        """See that what is written will be read. Raises sqlite3.Error.

        The open files must still be those at their paths: what was written into one that was removed would be
        acknowledged and never seen again. And no damage must have been met: a write beside one may well succeed.
        """
        if self._damaged:
            raise sqlite3.DatabaseError(DAMAGED)
        for path, place in self._places:
            if _place(path) != place:
                name = os.path.basename(path)
                raise sqlite3.OperationalError(f"{name} was removed or replaced while in use: put it back, or restart")

    def roll_back(self) -> None:
        """End the transaction that may be open, with nothing of it done."""
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def unavailable(self, error: sqlite3.Error) -> StoreUnavailable:
        """What a client is told of an error; the reason itself is for the log."""
        if not self.opened:
            return StoreUnavailable(f"{self.path} cannot be used as a store: {error}")
        self._damaged = self._damaged or _is_damage(error)
        text, now = DAMAGED if _is_damage(error) else str(error), time.monotonic()
        if now - self._said.get(text, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            # Each by itself: troubles that come in turns would say so in turns.
            self._said = {said: at for said, at in self._said.items() if now - at < REPEAT_SECONDS} | {text: now}
            log.error("%s cannot be used: %s", self.path, text)
        return StoreUnavailable(
            "The store is locked by another process: try again"
            if is_busy(error)
            else "The store cannot be used at the moment: try again",
            retry_after=1,
        )

    def scalar(self, statement: str, *values: Any) -> Any:
        """The first column of the first row, None without one."""
        row = self.execute(statement, values).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        self._connection.close()

    def _prepare(self) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._recognise()
                self.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.DatabaseError as error:
                if is_passing(error):
                    raise StoreUnavailable(f"{self.path} cannot be opened: {error}") from None
                if not is_busy(error):
                    raise SettingsError(f"{self.path} cannot be used as a store: {error}") from None
                if time.monotonic() > deadline:
                    raise StoreUnavailable(f"{self.path} is locked by another process") from None
            gevent.sleep(BUSY_STEP_SECONDS)
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute("PRAGMA secure_delete = FAST")  # Debian's SQLite would write zeros over all that is removed
        with self.writing:
            self._migrate()

    def _recognise(self) -> None:
        """Refuse what is not ours, before anything is written into it. Raises SettingsError."""
        # One moment of the file, which another process may be making just now.
        self.execute("BEGIN")
        try:
            version = self.scalar("PRAGMA user_version")
            foreign = self.scalar("PRAGMA application_id") != APPLICATION_ID
            used = version or self.scalar("SELECT count(*) FROM sqlite_schema")
        finally:
            self.roll_back()
        if foreign and used:
            raise SettingsError(f"{self.path} is a database of another program: give another BIDE_STORE")
        if version > len(MIGRATIONS):
            raise SettingsError(
                f"{self.path} was written by a newer version of Bide (schema {version}; "
                f"this one knows {len(MIGRATIONS)}): run that version, or give another BIDE_STORE"
            )

    def _migrate(self) -> None:
        version = self.scalar("PRAGMA user_version")
        for number in range(version, len(MIGRATIONS)):
            # Not executescript(), which would commit what has been done so far.
            for statement in MIGRATIONS[number]().split(";\n"):
                self.execute(statement)
            self.execute(f"PRAGMA user_version = {number + 1}")
        self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
