"""Questions to every process that listens, and their answers: who is subscribed, for one.

A question is a control, whose `PUBLISH` tells how many processes it reached; each sends its answer to the topic of who
asked. Questions that come while others are on their way go together in the next round: whatever clients ask for, one
process asks a bounded number of times a second.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any, Final

import gevent
from gevent.event import Event

from ..errors import StoreUnavailable
from .base import ASK_SECONDS, Answers, Listener
from .redis_keys import Keys
from .redis_link import Link

#: From the end of a round to the next question.
PAUSE_SECONDS: Final = 0.02
#: Questions of one round, and how much one process answers to all of them: what is beyond is left out, and told.
QUESTIONS: Final = 100
ANSWER_BYTES: Final = 8 * 1024 * 1024


class Round:
    """Questions that go together. `answers` are those of the other processes, in the questions' order; `heard` is
    whether the process that asks has heard its question, and so was one of those that it reached."""

    def __init__(self) -> None:
        self.questions: list[dict[str, object]] = []
        self.answers: list[list[Any]] = []
        self.awaited: int | None = None
        self.heard = False
        self.complete = Event()
        self.over = Event()

    @property
    def is_whole(self) -> bool:
        return self.heard and self.awaited is not None and len(self.answers) >= self.awaited

    def add(self, question: dict[str, object]) -> int:
        """The number of the question in this round; equal questions are one."""
        if question not in self.questions:
            self.questions.append(question)
        return self.questions.index(question)


class RedisQuestions:
    """Asks for one process, and answers for it."""

    def __init__(self, link: Link, keys: Keys, mark: str, listener: Listener) -> None:
        self._link = link
        self._keys = keys
        self._mark = mark
        self._listener = listener
        self._numbers = itertools.count()
        self._next: Round | None = None
        self._asked: tuple[str, Round] | None = None
        self._greenlets: set[gevent.Greenlet[..., None]] = set()
        self._asking: gevent.Greenlet[..., None] | None = None

    def ask(self, question: dict[str, object]) -> Answers:
        """See `Store.ask`."""
        asking = self._next
        if asking is None or len(asking.questions) >= QUESTIONS:
            asking = self._next = Round()
        number = asking.add(question)
        if self._asking is None or self._asking.dead:
            self._asking = self._spawn(self._run)
        # A round may have to wait for the one before it.
        asking.over.wait(2 * ASK_SECONDS)
        own = self._listener.answer(question)
        others = [answers[number] for answers in asking.answers]
        found = [answer for answer in others if answer is not None]
        return Answers([own, *found], not asking.is_whole or len(found) < len(others))

    def asked(self, data: dict[str, Any]) -> None:
        """Another process asks."""
        self._spawn(self._answer, data)

    def heard(self, data: dict[str, Any]) -> None:
        """This process's own question has come round."""
        if self._asked is not None and data["id"] == self._asked[0]:
            self._asked[1].heard = True
            self._look(self._asked[1])

    def answered(self, data: bytes) -> None:
        """Something came for this process alone."""
        if self._asked is None or not data.startswith(b"{"):
            return
        told = json.loads(data)
        name, asking = self._asked
        if told["to"] == name:
            asking.answers.append(told["answers"])
            self._look(asking)

    def stop(self) -> None:
        gevent.killall(list(self._greenlets))

    def _look(self, asking: Round) -> None:
        if asking.is_whole:
            asking.complete.set()

    def _spawn(self, run: Any, *arguments: object) -> gevent.Greenlet[..., None]:
        greenlet = gevent.spawn(run, *arguments)
        self._greenlets.add(greenlet)
        greenlet.rawlink(self._greenlets.discard)
        return greenlet

    def _run(self) -> None:
        while self._next is not None:
            asking, self._next = self._next, None
            name = f"{self._mark}-{next(self._numbers)}"
            self._asked = name, asking
            try:
                with contextlib.suppress(StoreUnavailable), _in_time():
                    text = {"id": name, "reply": self._keys.to(self._mark).decode(), "questions": asking.questions}
                    control = json.dumps({"by": self._mark, "kind": "asked", "data": text})
                    # This process hears it too; else one of the others would not be waited for.
                    asking.awaited = self._link.call(b"PUBLISH", self._keys.controls, control) - 1
                    self._look(asking)
                    asking.complete.wait(ASK_SECONDS)
            finally:
                self._asked = None
                asking.over.set()
            gevent.sleep(PAUSE_SECONDS)

    def _answer(self, data: dict[str, Any]) -> None:
        answers, size = [], 0
        for question in data["questions"]:
            # null: it would be too much at once, and who asks is told that it is partial.
            answer = json.dumps(self._listener.answer(question) if size < ANSWER_BYTES else None)
            size += len(answer)
            answers.append(answer)
            gevent.sleep(0)
        text = f'{{"to": {json.dumps(data["id"])}, "answers": [{", ".join(answers)}]}}'
        # Who asked goes on without.
        with contextlib.suppress(StoreUnavailable), _in_time():
            self._link.call(b"PUBLISH", data["reply"], text)


def _in_time() -> gevent.Timeout:
    """For a `with` block: the server is waited for no longer than an answer."""
    return gevent.Timeout(2 * ASK_SECONDS, StoreUnavailable("The Redis server does not answer"))
