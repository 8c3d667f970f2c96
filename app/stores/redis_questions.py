"""Questions to every process that listens on the Redis server (`questions.py`).

A question is a control, whose `PUBLISH` tells how many processes it reached; each sends its answer to the topic of who
asked.
"""

from __future__ import annotations

import json
from typing import Any

from .base import Listener
from .questions import Questions, Round
from .redis_keys import Keys
from .redis_link import Link


class RedisQuestions(Questions):
    """`mark` names this process."""

    def __init__(self, link: Link, keys: Keys, mark: str, listener: Listener) -> None:
        super().__init__(listener)
        self._link = link
        self._keys = keys
        self._mark = mark
        #: How many others the question reached, None until that is known; and whether this process heard it itself, and
        #: so was one of those that it reached.
        self._awaited: int | None = None
        self._heard = False

    @property
    def name(self) -> str:
        return self._mark

    def asked(self, data: dict[str, Any]) -> None:
        """Another process asks."""
        self._spawn(self._answer, data)

    def heard(self, data: dict[str, Any]) -> None:
        """This process's own question has come round."""
        if self._asked is not None and data["id"] == self._asked[0]:
            self._heard = True
            self._look(self._asked[1])

    def answered(self, data: bytes) -> None:
        """Something came for this process alone."""
        if self._asked is None or not data.startswith(b"{"):
            return
        told = json.loads(data)
        name, asking = self._asked
        if told["to"] == name:
            asking.answers[told["by"]] = told["answers"]
            self._look(asking)

    def _look(self, asking: Round) -> None:
        if self._heard and self._awaited is not None and len(asking.answers) >= self._awaited:
            asking.whole.set()

    def _send(self, name: str, asking: Round) -> None:
        self._awaited, self._heard = None, False
        self._asked = name, asking  # an answer may be here before the server's
        text = {"id": name, "reply": self._keys.to(self._mark).decode(), "questions": asking.questions}
        control = json.dumps({"by": self._mark, "kind": "asked", "data": text})
        # This process hears it too; else one of the others would not be waited for.
        self._awaited = self._link.call(b"PUBLISH", self._keys.controls, control) - 1
        self._look(asking)

    def _forget(self, name: str) -> None:
        """Nothing of it is on the server."""

    def _reply(self, data: dict[str, Any], answers: bytes) -> None:
        text = json.dumps({"to": data["id"], "by": self._mark})
        self._link.call(b"PUBLISH", data["reply"], b'%b, "answers": %b}' % (text[:-1].encode(), answers))
