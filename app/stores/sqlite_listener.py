"""How a process hears what others appended to the file it shares with them.

Every append takes the next number of one sequence, over all channels and processes. A process remembers the last
number it announced. After an append of its own it announces that directly, if it is the very next; in every other
case it reads what is above its number. It looks when a datagram wakes it, and every 100 ms for safety, at the cost
of one look at SQLite's `data_version`, which changes with every commit of another process.

A number that is not there (trimmed or deleted before this process looked, since it was stopped for a while) cannot
be announced: then the listener is told that something was lost, and reads its channels again.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable

import gevent

from ..errors import StoreUnavailable
from ..events import Event
from .base import Listener
from .sqlite_file import SQLiteFile, mark
from .sqlite_questions import SQLiteQuestions
from .wakeups import Wakeups

log = logging.getLogger("bide.store")

#: A held poll sees what another process published within this, should every datagram be lost.
LOOK_SECONDS = 0.1
#: A loop that did not come round for this long is not hearing.
DEAF_SECONDS = 5.0
#: Rows read and announced between two turns of the event loop: some milliseconds.
ROWS = 500


class SQLiteListener:
    """Announces to one listener until `stop`. `tell` and `appended` do not switch greenlets once they read."""

    def __init__(self, file: SQLiteFile, wakeups: Wakeups, listener: Listener, questions: SQLiteQuestions) -> None:
        self._file = file
        self._questions = questions
        self._wakeups = wakeups
        self._listener = listener
        self._looked_at = time.monotonic()
        # Woken from here on, and only then the number from which to go on: nothing falls between.
        wakeups.listen(mark(file.path))
        # Before the numbers too: a commit in between is then a change that is looked at.
        self._version: int | None = file.scalar("PRAGMA data_version")
        with file.reading:
            self._event_seq = self._last("events")
            self._control_seq = self._last("controls")
            # Who asked after the socket was there awaits an answer.
            asked = file.execute(
                "SELECT data FROM controls WHERE kind = 'asked' ORDER BY seq DESC LIMIT 100"
            ).fetchall()
        for (data,) in asked:
            questions.asked(json.loads(data))
        self._greenlet = gevent.spawn(self._run)

    def appended(self, channel: str, seq: int, count: int, events: Callable[[], list[Event]]) -> None:
        """This process appended `count` events, numbered up to `seq`."""
        if seq != self._event_seq + count:
            self.tell()
            return
        if self._listener.hears(channel):
            try:
                self._listener.announce(events())
            except BaseException:
                self._version = None  # announced by the loop's next look
                raise
        self._event_seq = seq

    def tell(self) -> None:
        """Announce everything that was committed until now, this process's own last commit among it.

        That is stored whether or not it can be read back at this moment: if not, the loop announces it.
        """
        try:
            while self._step():
                pass
        except StoreUnavailable:
            self._version = None

    def catch_up(self) -> None:
        """Announce what other processes have committed until now, if anything; see `Store.catch_up`."""
        try:
            version = self._file.scalar("PRAGMA data_version")
            # One step: after a stop of seconds there may be many, and between them the loop serves others.
            if version != self._version and not self._step():
                self._questions.look()
                self._version = version
        except (StoreUnavailable, sqlite3.Error):
            self._version = None  # the loop's next look says so, and tries again

    def hears(self) -> bool:
        """Whether the loop comes round. Where nobody ran the event loop meanwhile (a test) it is given a turn."""
        if time.monotonic() - self._looked_at > DEAF_SECONDS:
            gevent.sleep(2 * LOOK_SECONDS)
        return time.monotonic() - self._looked_at < DEAF_SECONDS

    def stop(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        away = False
        while True:
            woken = self._wakeups.wait(LOOK_SECONDS)
            gevent.sleep(0)  # where wake-ups come faster than looks are done, the wait never waits
            try:
                version = self._file.scalar("PRAGMA data_version")
                if woken or version != self._version:
                    while self._step():
                        gevent.sleep(0)
                    self._questions.look()
                    self._version = version  # only now: a look that failed is to be looked again
                self._looked_at = time.monotonic()
                if away:
                    log.warning("the store can be read again")
                    away = False
            except Exception as error:  # whatever it is, a worker that went deaf would be worse
                if isinstance(error, sqlite3.Error):
                    self._file.unavailable(error)  # says so in the log
                elif not away and not isinstance(error, StoreUnavailable):
                    log.exception("the store cannot be listened to; trying again")
                away = True
                gevent.sleep(LOOK_SECONDS)

    def _last(self, table: str) -> int:
        return self._file.scalar("SELECT seq FROM sqlite_sequence WHERE name = ?", table) or 0

    def _step(self) -> bool:
        """Announce the next rows; whether there may be more."""
        with self._file.reading as execute:
            events = execute(
                "SELECT seq, channel, id, prev, at_us, type, message, id <= deleted_to "
                "FROM events JOIN channels USING (number) WHERE seq > ? ORDER BY seq LIMIT ?",
                (self._event_seq, ROWS),
            ).fetchall()
            controls = execute(
                "SELECT seq, kind, data FROM controls WHERE seq > ? ORDER BY seq LIMIT ?",
                (self._control_seq, ROWS),
            ).fetchall()
            event_seq = events[-1][0] if len(events) == ROWS else self._last("events")
            control_seq = controls[-1][0] if len(controls) == ROWS else self._last("controls")
        holes = event_seq - self._event_seq != len(events) or control_seq - self._control_seq != len(controls)
        self._event_seq, self._control_seq = event_seq, control_seq
        try:
            heard = [
                Event(channel, *rest)
                for _, channel, *rest, deleted in events
                if not deleted and self._listener.hears(channel)
            ]
            if heard:
                self._listener.announce(heard)
            for _, kind, data in controls:
                if kind == "asked":
                    self._questions.asked(json.loads(data))
                else:
                    self._listener.control(kind, json.loads(data))
        except BaseException:
            holes = True  # the numbers have gone on
            raise
        finally:
            if holes:
                self._listener.lost()
        return len(events) == ROWS or len(controls) == ROWS
