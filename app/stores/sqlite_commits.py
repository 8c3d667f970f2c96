"""Writes of many greenlets in one transaction: what comes within one turn of the event loop is committed together.

A commit costs more than the appends in it. So an append only leaves its work; the loop, before it looks at its
sockets again, runs what was left since it looked last, commits, tells the listeners, and lets those who wait go on.
A write that comes alone waits for nothing else, and with eight publishers at once each pays for a third of a commit.

Work that refuses (any BideError) must not have written anything: the rest of its group is committed. A group that
cannot be committed for any other reason is tried once more, one write at a time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gevent import get_hub
from gevent.hub import Waiter

from ..errors import BideError
from .sqlite_file import BUSY_SECONDS, BUSY_STEP_SECONDS, Execute, SQLiteFile, is_busy

T = TypeVar("T")

#: A group that has so many rows is closed: some milliseconds in which the loop serves nobody else.
GROUP_ROWS = 1000


class Write:
    """Work that waits for its turn, and afterwards what came of it."""

    __slots__ = ("error", "result", "rows", "told", "waiter", "work")

    def __init__(self, work: Callable[[Execute], Any], told: Callable[[Any], None], rows: int) -> None:
        self.work = work
        self.told = told
        self.rows = rows
        self.waiter: Waiter[None] = Waiter()
        self.result: Any = None
        self.error: Exception | None = None


def write_all(group: Iterable[Write], execute: Execute, begun: Callable[[Execute], None]) -> None:
    """Do a group's work in the transaction that has begun, and commit it."""
    begun(execute)
    for write in group:
        try:
            write.result = write.work(execute)
        except BideError as refusal:
            write.error = refusal
    execute("COMMIT")


class Commits:
    """The writer of one file in this process.

    `begun` is called first in each transaction, `sent` after each group's commit. No greenlet is switched in either.
    """

    def __init__(self, file: SQLiteFile, begun: Callable[[Execute], None], sent: Callable[[], None]) -> None:
        self._file = file
        self._begun = begun
        self._sent = sent
        self._hub = get_hub()
        self._waiting: list[Write] = []
        self._busy_since: float | None = None
        #: Whether the last group could not be written.
        self.failing = False
        self._timer: Any = None

    def run(self, work: Callable[[Execute], T], told: Callable[[T], None], rows: int = 1) -> T:
        """Run the work in a transaction, and return what it returned once that is committed. Switches greenlets.

        The work writes about so many rows. `told` gets its result after the commit, before anybody goes on; neither
        may switch greenlets. Raises what the work raises, and StoreUnavailable when the file cannot be written;
        nothing is stored then.
        """
        if get_hub() is not self._hub:
            raise RuntimeError("A store is used by the thread that opened it: open one in each")
        write = Write(work, told, rows)
        if not self._waiting:
            self._hub.loop.run_callback(self._commit)
        self._waiting.append(write)
        try:
            write.waiter.get()
        except BaseException:
            # The greenlet was killed: if its turn has not come, it does not come any more.
            if write in self._waiting:
                self._waiting.remove(write)
            raise
        if write.error is not None:
            raise write.error
        result: T = write.result
        return result

    def close(self) -> None:
        """Write nothing any more. Who waits still is told at the next turn of the loop."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
            if self._waiting:
                self._hub.loop.run_callback(self._commit)

    def _commit(self) -> None:
        """Runs in the event loop, which no other greenlet can interrupt. It is due whenever somebody waits."""
        if not self._waiting:
            return  # who waited was killed
        try:
            self._file.check_place()
            self._file.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as not_begun:
            if not (is_busy(not_begun) and self._wait_on()):
                group, self._waiting = self._waiting, []
                self.failing = True
                self._let_go(group, not_begun)
            return
        self._busy_since = None
        group = self._take()
        error: Exception | None = None
        try:
            write_all(group, self._file.execute, self._begun)
        except Exception as failed:
            self._file.roll_back()
            error = failed
        self._finish(group, error)

    def _finish(self, group: list[Write], error: Exception | None) -> None:
        """Runs in the event loop once a group is committed, or has failed."""
        self.failing = error is not None
        if error is not None and len(group) > 1:
            # It may be the fault of one of them: each goes again alone, so that no other suffers.
            for write in group:
                write.rows, write.error = GROUP_ROWS, None
            self._waiting[:0] = group
            group = []
        if self._waiting:
            self._hub.loop.run_callback(self._commit)
        try:
            if error is None:
                self._tell(group)
        finally:
            self._let_go(group, error)

    def _wait_on(self) -> bool:
        """Whether a busy file is tried again; if so it will be."""
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        if now - self._busy_since > BUSY_SECONDS:
            self._busy_since = None
            return False
        if self._timer is None:
            self._timer = self._hub.loop.timer(BUSY_STEP_SECONDS)
        self._timer.start(self._commit)
        return True

    def _take(self) -> list[Write]:
        """The next writes, until they have enough rows."""
        group = []
        rows = 0
        for write in self._waiting:
            group.append(write)
            rows += write.rows
            if rows >= GROUP_ROWS:
                break
        del self._waiting[: len(group)]
        return group

    def _tell(self, group: Iterable[Write]) -> None:
        for write in group:
            if write.error is None:
                write.told(write.result)
        self._sent()

    def _let_go(self, group: Iterable[Write], error: Exception | None) -> None:
        for write in group:
            if isinstance(error, sqlite3.Error):
                # One for each: an exception is its greenlet's own to add to.
                write.error = self._file.unavailable(error)
            elif error is not None:
                write.error = error
            write.waiter.switch(None)
