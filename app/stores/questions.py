"""Rounds of questions to every process that listens, and their answers: who is subscribed, for one.

Questions that come while others are on their way go together in the next round. So whatever clients ask for, one
process sends a bounded number of questions a second. How a round goes out, how an answer comes back, and who is to
answer, is the store's.
"""

from __future__ import annotations

import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from ..errors import StoreUnavailable
from ..events import encode
from .base import ASK_SECONDS, Answers, Listener

#: From the end of a round to the next question.
PAUSE_SECONDS: Final = 0.02
#: Questions of one round, and how much one process answers to all of them: what is beyond is left out, and told.
QUESTIONS: Final = 100
ANSWER_BYTES: Final = 8 * 1024 * 1024


class Round:
    """Questions that go together, and what came back: for each process its answers, in the questions' order.

    Equal questions are one. `own` are this process's answers; `whole` is set once every other's are there.
    """

    def __init__(self) -> None:
        self.questions: list[dict[str, object]] = []
        self._numbers: dict[bytes, int] = {}
        self.own: dict[int, object] = {}
        self.answers: dict[str, list[Any]] = {}
        self.whole = Event()
        self.over = Event()

    def add(self, question: dict[str, object]) -> int:
        """The number of the question in this round."""
        key = encode(question)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.questions)
            self.questions.append(question)
        return number


class Questions(ABC):
    """Asks for one process, and answers for it.

    `_asked` is the round that is on its way, and its name: whoever finds an answer to that puts it into the round.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._numbers = itertools.count()
        self._turn = Semaphore()
        self._next: Round | None = None
        self._asked: tuple[str, Round] | None = None
        self._greenlets: set[gevent.Greenlet[..., None]] = set()

    @property
    @abstractmethod
    def name(self) -> str:
        """This process's among all that listen."""

    @property
    def _reaches_all(self) -> bool:
        """Whether every process that lives is known to have been asked, where all that were asked have answered."""
        return True

    @abstractmethod
    def _send(self, name: str, asking: Round) -> None:
        """Send the round's questions to the other processes under its name; from then on it is `_asked`, and `whole`
        is set when all have answered. Raises StoreUnavailable."""

    @abstractmethod
    def _reply(self, data: dict[str, Any], answers: bytes) -> None:
        """Send a JSON list of answers back to who has asked. Raises StoreUnavailable."""

    @abstractmethod
    def _forget(self, name: str) -> None:
        """The round is over. Raises StoreUnavailable."""

    def ask(self, question: dict[str, object]) -> Answers:
        """See `Store.ask`."""
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
        is_whole = asking.whole.is_set() and self._reaches_all and len(found) > len(others)
        return Answers(found, not is_whole)

    def stop(self) -> None:
        gevent.killall(list(self._greenlets))

    def _spawn(self, run: Callable[..., None], *arguments: object) -> None:
        greenlet = gevent.spawn(run, *arguments)
        self._greenlets.add(greenlet)
        greenlet.rawlink(self._greenlets.discard)

    def _run(self, asking: Round) -> None:
        name = f"{self.name}-{next(self._numbers)}"
        try:
            with self._turn:
                if self._next is asking:
                    self._next = None
                with _in_time():
                    self._send(name, asking)
                    asking.whole.wait(ASK_SECONDS)
                self._asked = None
                asking.over.set()
                with _in_time():
                    self._forget(name)
                gevent.sleep(PAUSE_SECONDS)
        finally:
            self._asked = None
            asking.over.set()

    def _answer(self, data: dict[str, Any]) -> None:
        """Answer the questions of another process."""
        answers, size = [], 0
        for question in data["questions"]:
            # null: it would be too much at once, and who asks is told that it is partial.
            answer = encode(self._listener.answer(question) if size < ANSWER_BYTES else None)
            size += len(answer)
            answers.append(answer)
            gevent.sleep(0)
        # Who asked goes on without.
        with _in_time():
            self._reply(data, b"[%b]" % b",".join(answers))


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """A store that is away, or does not answer, is let be; it says so in the log by itself."""
    with contextlib.suppress(StoreUnavailable), gevent.Timeout(2 * ASK_SECONDS, StoreUnavailable("It took too long")):
        yield
