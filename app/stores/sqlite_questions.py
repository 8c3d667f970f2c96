"""Questions to every process that listens at the file, and their answers: who is subscribed, for one.

A question goes out as a control, which the others hear like any other; each writes its answer as a row, which the
asker finds at its next look and removes. Who is to answer is known from the sockets that took the wake-up: a process
that was killed has none, one that was stopped has one and is missed.

Questions that come while others are on their way go together in the next round. So whatever clients ask for, one
process writes a bounded number of questions a second.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import gevent
import msgspec
from gevent.event import Event
from gevent.lock import Semaphore

from ..errors import StoreUnavailable
from ..events import encode
from .base import ASK_SECONDS, Answers, Listener
from .sqlite_commits import Commits
from .sqlite_file import Execute, SQLiteFile
from .wakeups import Wakeups

#: From the end of a round to the next question.
PAUSE_SECONDS = 0.02


class Round:
    """Questions that go together, and what came back: for each process its answers, in the questions' order."""

    def __init__(self) -> None:
        self.questions: list[dict[str, object]] = []
        self.answers: dict[str, list[Any]] = {}
        self.awaited: set[str] = set()
        self.whole = Event()
        self.partial = True
        self.over = Event()


class Questions:
    """Asks for one process, and answers for it. `ask` sends the control."""

    def __init__(
        self,
        file: SQLiteFile,
        commits: Commits,
        wakeups: Wakeups,
        listener: Listener,
        ask: Callable[[dict[str, object]], None],
        now_us: Callable[[], int],
    ) -> None:
        self._file = file
        self._commits = commits
        self._wakeups = wakeups
        self._listener = listener
        self._ask = ask
        self._now_us = now_us
        self._numbers = itertools.count()
        self._turn = Semaphore()
        self._next: Round | None = None
        self._asked: tuple[str, Round] | None = None
        self._greenlets: set[gevent.Greenlet[..., None]] = set()

    def ask(self, question: dict[str, object]) -> Answers:
        """See `Store.ask`."""
        if self._wakeups.bound and not self._wakeups.siblings():
            return Answers([self._listener.answer(question)], False)
        asking = self._next
        if asking is None:
            asking = self._next = Round()
            self._spawn(self._run, asking)
        number = len(asking.questions)
        asking.questions.append(question)
        asking.over.wait()
        own = self._listener.answer(question)
        return Answers([own, *(answers[number] for answers in asking.answers.values())], asking.partial)

    def asked(self, data: dict[str, Any]) -> None:
        """A process asks, perhaps this one."""
        if data["by"] != self._wakeups.name and data["until_us"] > self._now_us():
            self._spawn(self._answer, data)

    def look(self) -> None:
        """Something was committed: see whether it was an answer."""
        if self._asked is None:
            return
        name, asking = self._asked
        for process, answers in self._file.execute("SELECT process, answer FROM answers WHERE question = ?", (name,)):
            asking.answers[process] = msgspec.json.decode(answers)
        if asking.awaited <= asking.answers.keys():
            asking.whole.set()

    def stop(self) -> None:
        gevent.killall(list(self._greenlets))

    def _spawn(self, run: Callable[..., None], *arguments: object) -> None:
        greenlet = gevent.spawn(run, *arguments)
        self._greenlets.add(greenlet)
        greenlet.rawlink(self._greenlets.discard)

    def _run(self, asking: Round) -> None:
        name = f"{self._wakeups.name}-{next(self._numbers)}"
        try:
            with self._turn:
                self._next = None
                self._asked = name, asking
                self._send(name, asking)
                self._asked = None
                asking.over.set()
                self._commits.run(
                    lambda execute: execute("DELETE FROM answers WHERE question = ?", (name,)), lambda _: None
                )
                gevent.sleep(PAUSE_SECONDS)
        except StoreUnavailable:
            pass  # said in the log; the answers are swept away later
        finally:
            asking.over.set()

    def _send(self, name: str, asking: Round) -> None:
        try:
            until_us = self._now_us() + int(ASK_SECONDS * 1e6)
            self._ask({"id": name, "by": self._wakeups.name, "until_us": until_us, "questions": asking.questions})
        except StoreUnavailable:
            return  # said in the log
        # Those whom the commit's own wake-up reached.
        asking.awaited = set(self._wakeups.reached)
        self.look()
        asking.whole.wait(ASK_SECONDS)
        asking.partial = not self._wakeups.bound or not asking.awaited <= asking.answers.keys()

    def _answer(self, data: dict[str, Any]) -> None:
        answers = encode([self._listener.answer(question) for question in data["questions"]])

        def work(execute: Execute) -> None:
            row = (data["id"], self._wakeups.name, self._now_us(), answers)
            execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", row)

        # Said in the log, and who asked goes on without.
        with contextlib.suppress(StoreUnavailable):
            self._commits.run(work, lambda _: None)
