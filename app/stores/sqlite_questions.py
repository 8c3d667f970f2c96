"""Questions to every process that listens at the file (`questions.py`).

A question goes out as a control, which the others hear like any other; each writes its answer as a row, which the
asker finds at its next look and removes. Who is to answer is known from the sockets that took the wake-up: a process
that was killed has none, one that was stopped has one and is missed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from .base import ASK_SECONDS, Answers, Listener
from .questions import Questions, Round
from .sqlite_commits import Commits
from .sqlite_file import Execute, SQLiteFile
from .wakeups import Wakeups


class SQLiteQuestions(Questions):
    """`ask` sends the control."""

    def __init__(
        self,
        file: SQLiteFile,
        commits: Commits,
        wakeups: Wakeups,
        listener: Listener,
        ask: Callable[[dict[str, object]], None],
        now_us: Callable[[], int],
    ) -> None:
        super().__init__(listener)
        self._file = file
        self._commits = commits
        self._wakeups = wakeups
        self._ask = ask
        self._now_us = now_us
        self._awaited: set[str] = set()

    @property
    def name(self) -> str:
        return self._wakeups.name

    @property
    def _reaches_all(self) -> bool:
        # Who cannot bind its own socket does not know of the others' either.
        return self._wakeups.bound

    def ask(self, question: dict[str, object]) -> Answers:
        """See `Store.ask`."""
        if self._wakeups.bound and not self._wakeups.siblings():
            return Answers([self._listener.answer(question)], False)
        return super().ask(question)

    def asked(self, data: dict[str, Any]) -> None:
        """A process asks, perhaps this one."""
        if data["by"] != self.name and data["until_us"] > self._now_us():
            self._spawn(self._answer, data)

    def look(self) -> None:
        """Something was committed: see whether it was an answer."""
        if self._asked is None:
            return
        name, asking = self._asked
        for process, answers in self._file.execute("SELECT process, answer FROM answers WHERE question = ?", (name,)):
            if process not in asking.answers:
                asking.answers[process] = msgspec.json.decode(answers)
        if self._awaited <= asking.answers.keys():
            asking.whole.set()

    def _send(self, name: str, asking: Round) -> None:
        data = {"id": name, "by": self.name, "questions": asking.questions}
        self._ask({**data, "until_us": self._now_us() + int(ASK_SECONDS * 2e6)})
        # Those whom the commit's own wake-up reached.
        self._awaited = set(self._wakeups.reached)
        # Only now: a look that came before would take a question for answered by all of nobody.
        self._asked = name, asking
        with contextlib.suppress(sqlite3.Error):  # the listener looks again, and says so in the log
            self.look()

    def _reply(self, data: dict[str, Any], answers: bytes) -> None:
        row = (data["id"], self.name, self._now_us(), answers)

        def work(execute: Execute) -> None:
            execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", row)

        self._commits.run(work, lambda _: None)

    def _forget(self, name: str) -> None:
        # What is left all the same is swept away.
        with contextlib.suppress(sqlite3.Error):
            self._commits.run(
                lambda execute: execute("DELETE FROM answers WHERE question = ?", (name,)), lambda _: None
            )
