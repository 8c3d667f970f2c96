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
import sqlite3
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
#: Questions of one round, and how much one process answers to all of them: what is beyond is left out, and told.
QUESTIONS = 100
ANSWER_BYTES = 8 * 1024 * 1024


class Round:
    """Questions that go together, and what came back: for each process its answers, in the questions' order.

    Equal questions are one. `own` are this process's answers.
    """

    def __init__(self) -> None:
        self.questions: list[dict[str, object]] = []
        self._numbers: dict[bytes, int] = {}
        self.own: dict[int, object] = {}
        self.answers: dict[str, list[Any]] = {}
        self.awaited: set[str] = set()
        self.whole = Event()
        self.partial = True
        self.over = Event()

    def add(self, question: dict[str, object]) -> int:
        """The number of the question in this round."""
        key = encode(question)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.questions)
            self.questions.append(question)
        return number


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
        if asking is None or len(asking.questions) >= QUESTIONS:
            asking = self._next = Round()
            self._spawn(self._run, asking)
        number = asking.add(question)
        # A round may have to wait for the one before it.
        asking.over.wait(2 * ASK_SECONDS)
        if number not in asking.own:
            asking.own[number] = self._listener.answer(question)
        others = [answers[number] for answers in asking.answers.values()]
        found = [asking.own[number], *(answer for answer in others if answer is not None)]
        return Answers(found, asking.partial or len(found) <= len(others))

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
            if process not in asking.answers:
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
                if self._next is asking:
                    self._next = None
                if self._send(name, asking):
                    self._receive(name, asking)
                    asking.over.set()
                    with _in_time():
                        self._commits.run(
                            lambda execute: execute("DELETE FROM answers WHERE question = ?", (name,)), lambda _: None
                        )
                asking.over.set()
                gevent.sleep(PAUSE_SECONDS)
        except (StoreUnavailable, sqlite3.Error):
            pass  # the listener says so in the log; answers that were left are swept away
        finally:
            self._asked = None
            asking.over.set()

    def _send(self, name: str, asking: Round) -> bool:
        data = {"id": name, "by": self._wakeups.name, "questions": asking.questions}
        try:
            with _in_time():
                self._ask({**data, "until_us": self._now_us() + int(ASK_SECONDS * 2e6)})
        except StoreUnavailable:
            return False
        return True

    def _receive(self, name: str, asking: Round) -> None:
        # Those whom the commit's own wake-up reached.
        asking.awaited = set(self._wakeups.reached)
        # Only now: a look that came before would take a question for answered by all of nobody.
        self._asked = name, asking
        self.look()
        asking.whole.wait(ASK_SECONDS)
        self._asked = None
        asking.partial = not self._wakeups.bound or not asking.awaited <= asking.answers.keys()

    def _answer(self, data: dict[str, Any]) -> None:
        answers, size = [], 0
        for question in data["questions"]:
            # None: it would be too much at once, and who asks is told that it is partial.
            answer = encode(self._listener.answer(question) if size < ANSWER_BYTES else None)
            size += len(answer)
            answers.append(answer)
            gevent.sleep(0)
        row = (data["id"], self._wakeups.name, self._now_us(), b"[%b]" % b",".join(answers))

        def work(execute: Execute) -> None:
            execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", row)

        # Who asked goes on without.
        with contextlib.suppress(StoreUnavailable), _in_time():
            self._commits.run(work, lambda _: None)


def _in_time() -> gevent.Timeout:
    """For a `with` block: a file that is locked is waited for no longer than an answer."""
    return gevent.Timeout(ASK_SECONDS, StoreUnavailable("The store is locked by another process"))
