"""Writes of many greenlets in one transaction: what comes within one turn of the event loop is committed together.

A commit costs more than the appends in it. So an append only leaves its work; the loop, before it looks at its
sockets again, runs what was left since it looked last, commits, tells the listeners, and lets those who wait go on.
A write that comes alone waits for nothing else, and with eight publishers at once each pays for a third of a commit.

Work that refuses (any BideError) must not have written anything: the rest of its group is committed. A group that
cannot be committed for any other reason is tried once more, one write at a time.
"""

from __future__ import annotations

import sqlite3
import sys
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

    __slots__ = ("alone", "error", "result", "rows", "told", "waiter", "work")

    def __init__(self, work: Callable[[Execute], Any], told: Callable[[Any], None], rows: int) -> None:
        self.work = work
        self.told = told
        self.rows = rows
        self.waiter: Waiter[None] = Waiter()
        self.result: Any = None
        self.error: BaseException | None = None
        self.alone = False


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
        self._timer: Any = None
        #: Whether the last group could not be written.
        self.failing = False

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
        if isinstance(write.error, sqlite3.Error):
            # Here and not in the event loop: a handler of the log may wait.
            raise self._file.unavailable(write.error) from write.error
        if write.error is not None:
            raise write.error
        result: T = write.result
        return result

    def leave_the_log(self) -> None:
        """Leave the log to a thread that moves it, from now on."""
        self._file.execute("PRAGMA wal_autocheckpoint = 0")

    def close(self) -> None:
        """Write nothing any more. Who waits still is told at the next turn of the loop."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
            if self._waiting:
                self._hub.loop.run_callback(self._commit)

    def _commit(self) -> None:
        """Runs in the event loop, which no other greenlet can interrupt. It is due whenever somebody waits.

        Whatever is raised in it, a signal's handler included, must leave nobody waiting.
        """
        if not self._waiting:
            self._busy_since = None
            return  # who waited was killed
        group: list[Write] = []
        error: BaseException | None = None
        try:
            self._file.begin()
            self._busy_since = None
            group = self._take()
            write_all(group, self._file.execute, self._begun)
        except BaseException as failed:
            if not group and is_busy(failed) and self._wait_on():
                return
            error = failed
            self._file.give_up()
        self._finish(group, error)
        if error is not None and not isinstance(error, Exception):
            raise error

    def _finish(self, group: list[Write], error: BaseException | None) -> None:
        """Runs in the event loop once a group is committed, or has failed. No group: it could not even begin."""
        self.failing = error is not None
        if not group:
            group, self._waiting = self._waiting, []
        elif error is not None and len(group) > 1:
            # It may be the fault of one of them: each goes again alone, so that no other suffers.
            for write in group:
                write.alone, write.error = True, None
            self._waiting[:0] = group
            group = []
        if self._waiting:
            self._hub.loop.run_callback(self._commit)
        try:
            if error is None:
                self._tell(group)
        finally:
            for write in group:
                write.error = write.error or error
                write.waiter.switch(None)

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
        """The next writes, until they have enough rows, or one of them is to go alone."""
        group: list[Write] = []
        rows = 0
        for write in self._waiting:
            if write.alone and group:
                break
            group.append(write)
            rows += write.rows
            if rows >= GROUP_ROWS or write.alone:
                break
        del self._waiting[: len(group)]
        return group

    def _tell(self, group: Iterable[Write]) -> None:
        for write in group:
            if write.error is None:
                try:
                    write.told(write.result)
                except Exception:  # a defect, said so; the others are told all the same
                    self._hub.handle_error(self, *sys.exc_info())
        self._sent()
