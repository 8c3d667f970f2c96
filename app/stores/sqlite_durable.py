"""Commits that wait for the disk: `?synchronous=full`, where what was acknowledged also survives a loss of power.

Waiting for the disk takes milliseconds, in which the event loop must go on. So each group is written by a thread, on a
connection of its own; what comes meanwhile is the next group. The more publishers there are the more share one wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from .sqlite_commits import Commits, Write, write_all
from .sqlite_file import BUSY_SECONDS, Execute, SQLiteFile


class DurableCommits(Commits):
    """See the module. `begun` and the work of a write run in the thread; everything else in the event loop."""

    def __init__(self, file: SQLiteFile, begun: Callable[[Execute], None], sent: Callable[[], None]) -> None:
        super().__init__(file, begun, sent)
        self._writing = False
        self._closed = False
        # The one connection that may wait for a lock within SQLite, since a thread of its own waits there.
        self._connection = sqlite3.connect(
            file.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")

    def close(self) -> None:
        super().close()
        self._closed = True
        if not self._writing:
            self._connection.close()

    def _commit(self) -> None:
        if self._writing or not self._waiting:
            return  # the thread's end comes back here; or who waited was killed
        group = self._take()
        self._writing = True
        self._hub.threadpool.spawn(self._in_thread, group).rawlink(lambda written: self._written(group, written.value))

    def _in_thread(self, group: list[Write]) -> Exception | None:
        """Returns what went wrong: raised in a thread of the pool, it would be printed with its trace."""
        try:
            self._file.check_place()
            self._connection.execute("BEGIN IMMEDIATE")
            write_all(group, self._connection.execute, self._begun)
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return error
        return None

    def _written(self, group: list[Write], error: Exception | None) -> None:
        self._writing = False
        if self._closed:
            self._connection.close()
        self._finish(group, error)
