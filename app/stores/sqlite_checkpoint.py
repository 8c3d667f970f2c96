"""Moves what was committed from the write-ahead log into the file, beside the event loop.

SQLite does that by itself within the commit that fills a thousand pages, and waits for the disk there: 20 ms during
which a worker serves nobody, 80 µs when shared out over the commits between. Here a thread with a connection of its
own does it, while the worker goes on appending to the log.

Appends that never pause would let the log grow without end, since it begins anew only once all of it was moved and
nobody writes. So a long log is moved once more with writers held off (`RESTART`): the little that came since the
first pass, a matter of milliseconds, in which appends find the file busy and try again. The thread waits a little for
its turn among the writers of all processes; where it does not get it, it comes again soon.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import gevent
from gevent import monkey

log = logging.getLogger("bide.store")

#: How often the log is moved while there is something in it.
PAUSE_SECONDS = 1.0
#: How often, while so many pages (of 4 KiB) come in between: two workers under load write up to 40 MiB a second.
HURRY_SECONDS = 0.2
HURRY_PAGES = 500
#: A log of so many pages is begun anew.
RESTART_PAGES = 2000
#: How long the thread waits for its turn, and holds writers off for a reader that keeps the log, such as a backup; and
#: how long where the log has grown to so many pages all the same.
TURN_SECONDS = 0.02
LONG_PAGES = 8000
LONG_TURN_SECONDS = 0.2


class Checkpoint:
    """Runs beside one process's connection from `start` to `stop`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        self._behind = False
        self._pages = 0
        # A native lock: the thread that moves the log holds it, and who closes the connection waits for it.
        self._moving = monkey.get_original("_thread", "allocate_lock")()
        self._greenlet: gevent.Greenlet[..., None] = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()
        with self._moving:
            self._connection.close()

    def _run(self) -> None:
        while True:
            gevent.sleep(HURRY_SECONDS if self._behind else PAUSE_SECONDS)
            # A thread of gevent's pool; apply() lets the other greenlets go on.
            error = gevent.get_hub().threadpool.apply(self._move)
            if error is not None:
                # Busy with another process's, or no room on the disk: appends say so themselves.
                log.debug("%s: the log was not moved: %s", self._path, error)

    def _move(self) -> sqlite3.Error | None:
        """Returns what went wrong: raised in a thread of the pool, it would be printed with its trace."""
        with self._moving:
            try:
                _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                # The log keeps its length until somebody writes: what is as long as before has had its move.
                self._behind = pages >= HURRY_PAGES and pages != self._pages
                self._pages = pages
                if pages >= RESTART_PAGES:
                    turn = LONG_TURN_SECONDS if pages >= LONG_PAGES else TURN_SECONDS
                    self._connection.execute(f"PRAGMA busy_timeout = {int(turn * 1000)}")
                    busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                    self._behind = self._behind or bool(busy)
            except sqlite3.Error as error:
                return error
        return None
