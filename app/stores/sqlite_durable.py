"""Commits that wait for the disk: `?synchronous=full`, where what was acknowledged also survives a loss of power.

Waiting for the disk takes milliseconds, in which the event loop must go on. So each group is written by a thread, on a
connection of its own; what comes meanwhile is the next group. The more publishers there are the more share one wait.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

from gevent.threadpool import ThreadPool

from .sqlite_commits import Commits, Write, write_all
from .sqlite_file import BUSY_SECONDS, Execute, SQLiteFile


class DurableCommits(Commits):
    """See the module. `begun` and the work of a write run in the thread; everything else in the event loop."""

    def __init__(self, file: SQLiteFile, begun: Callable[[Execute], None], sent: Callable[[], None]) -> None:
        super().__init__(file, begun, sent)
        self._writing = False
        self._closed = False
        # Of its own: the event loop, which begins each group, must never wait for a place in it.
        self._thread = ThreadPool(1)
        # The one connection that may wait for a lock within SQLite, since the thread waits there.
        self._connection = sqlite3.connect(
            file.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA secure_delete = FAST")

    def leave_the_log(self) -> None:
        super().leave_the_log()
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")

    def close(self) -> None:
        super().close()
        self._closed = True
        if not self._writing:
            self._connection.close()

    def _commit(self) -> None:
        if self._writing or not self._waiting:
            return  # the thread's end comes back here; or who waited was killed
        if self._closed:
            self._finish([], sqlite3.ProgrammingError("it was closed"))
            return
        group = self._take()
        self._writing = True
        self._thread.spawn(self._in_thread, group).rawlink(lambda written: self._written(group, written))

    def _in_thread(self, group: list[Write]) -> tuple[bool, BaseException | None]:
        """Whether the group began to be written, and what went wrong; raised here that would only be printed."""
        begun = False
        try:
            self._file.check_usable()
            self._give_up()
            self._connection.execute("BEGIN IMMEDIATE")
            begun = True
            write_all(group, self._connection.execute, self._begun)
        except BaseException as error:
            self._give_up()
            return begun, error
        return True, None

    def _give_up(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _written(self, group: list[Write], written: Any) -> None:
        self._writing = False
        if self._closed:
            self._connection.close()
        begun, error = written.value or (True, written.exception)
        if not begun:
            # Each alone would wait as long once more.
            self._waiting[:0] = group
            group = []
        self._finish(group, error)
