"""What goes wrong between a client and a server, each under the name that the cases call it by.

A fault hits the requests that the case names (`poll 2`, `polls 2 to 4`, `polls from 2 on`, the same with `publish`),
and notes each that it hit: what is not delivered in the end fails the case.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from .contract import Answer, good, problem
from .server import Exchange, GoneError, encoded

#: What a proxy, or the portal of a hotel, says instead of the server.
PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>Please sign in</h1></body></html>"

Injection = Callable[..., None]
INJECTIONS: dict[str, Injection] = {}


def fault(name: str) -> Callable[[Injection], Injection]:
    def add(injection: Injection) -> Injection:
        INJECTIONS[name] = injection
        return injection

    return add


@fault("reset before the answer")
def reset_before(exchange: Exchange) -> None:
    exchange.reset()


@fault("closed before the answer")
def closed_before(exchange: Exchange) -> None:
    exchange.close()


@fault("reset amid the answer")
def reset_amid(exchange: Exchange) -> None:
    _send_a_part(exchange, encoded(exchange.answer()))
    exchange.reset()


@fault("closed amid the answer")
def closed_amid(exchange: Exchange) -> None:
    _send_a_part(exchange, encoded(exchange.answer()))
    exchange.close()


@fault("done, but the answer is lost")
def answer_lost(exchange: Exchange) -> None:
    exchange.answer()
    exchange.reset()


@fault("JSON that ends early")
def json_ends_early(exchange: Exchange) -> None:
    answer = exchange.answer()
    answer.body = answer.body[: len(answer.body) // 2]
    answer.is_fruitful = False
    exchange.send(answer)


@fault("answered with")
def answered_with(exchange: Exchange, status: int, retry_after: Any = None, page: bool = False) -> None:
    """An error, as a problem or as a proxy's page; `retry after` is in seconds, or {date: seconds ahead}."""
    if page:
        answer = Answer(status, PAGE, {"Content-Type": "text/html"}, is_fruitful=False)
    elif status == 204:
        answer = Answer(status, b"", {}, is_fruitful=False)
    else:
        answer = problem(status, "injected", "a fault of the case")
    if isinstance(retry_after, dict):
        # A date has no fractions: the next whole second.
        then = math.ceil(time.time() + retry_after["date"])
        answer.headers["Retry-After"] = formatdate(then, usegmt=True)
        exchange.seen.not_before = time.monotonic() + then - time.time()
    elif retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
        exchange.seen.not_before = time.monotonic() + retry_after
    exchange.send(answer)


@fault("answered with a Retry-After of")
def answered_with_a_hint(exchange: Exchange, retry_after: str) -> None:
    answer = problem(503, "injected", "a fault of the case")
    answer.headers["Retry-After"] = retry_after
    exchange.send(answer)


@fault("answered with the JSON")
def answered_with_json(exchange: Exchange, text: str) -> None:
    exchange.send(Answer(200, text.encode(), {"Content-Type": "application/json"}, is_fruitful=False))


@fault("sent elsewhere")
def sent_elsewhere(exchange: Exchange, status: int, to: str) -> None:
    exchange.send(Answer(status, b"", {"Location": exchange.server.url + to}, is_fruitful=False))


@fault("delayed")
def delayed(exchange: Exchange, seconds: float) -> None:
    answer = exchange.answer()
    exchange.connection.pause(seconds)
    exchange.send(answer)


@fault("delayed now more now less")
def jittery(exchange: Exchange, up_to: float) -> None:
    answer = exchange.answer()
    exchange.connection.pause(random.Random(exchange.seen.number).uniform(0, up_to))
    exchange.send(answer)


@fault("trickles")
def trickles(exchange: Exchange, pieces: int = 10) -> None:
    answer = exchange.answer()
    data = encoded(answer)
    size = max(1, len(data) // pieces)
    exchange.server.note_answer(exchange.seen, answer, data)
    for begin in range(0, len(data), size):
        if begin:  # not behind the last: who has all may leave
            exchange.connection.pause(0.02)
        exchange.connection.send(data[begin : begin + size])


@fault("silence")
def silence(exchange: Exchange) -> None:
    """Nothing comes, and nobody says that nothing will: what a router does that forgot the connection."""
    exchange.seen.is_fruitful = False
    exchange.connection.pause(3600)


@fault("time is up at once")
def time_is_up(exchange: Exchange) -> None:
    exchange.send(exchange.answer(at_once=True))


@fault("the server drains")
def drains(exchange: Exchange) -> None:
    """It ends the poll, and says that the connection ends with it."""
    answer = exchange.answer(at_once=True)
    answer.headers["Connection"] = "close"
    exchange.send(answer)
    exchange.close()


@fault("the answer of an earlier one")
def repeated(exchange: Exchange, number: int) -> None:
    """As a cache on the way gives it that does not read Cache-Control."""
    data = exchange.server.sent[exchange.seen.request.kind, number]
    exchange.server.note_answer(exchange.seen, Answer(200, b"", {}, is_fruitful=False), data)
    exchange.connection.send(data)


@fault("answered, and the idle connection closed")
def idle_closed(exchange: Exchange) -> None:
    exchange.send(exchange.answer())
    exchange.close()


@fault("unknown members and headers")
def unknown(exchange: Exchange) -> None:
    answer = exchange.answer()
    said = {**json.loads(answer.body), "status_of_the_moon": {"id": 7}, "extra": [None]}
    for event in said.get("events", []):
        event["priority"] = "high"
    headers = {**answer.headers, "X-Moon": "full", "Set-Cookie": "moon=full; Path=/"}
    exchange.send(Answer(200, good(said).body, headers, answer.is_fruitful))


@fault("without the cursor's header")
def headerless(exchange: Exchange) -> None:
    answer = exchange.answer()
    answer.headers.pop("Last-Event-ID", None)
    exchange.send(answer)


@fault("in chunks")
def chunked(exchange: Exchange) -> None:
    answer = exchange.answer()
    parts = [answer.body[:7], answer.body[7:]]
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"
    headers = {**answer.headers, "Transfer-Encoding": "chunked", "Content-Length": ""}
    exchange.send(Answer(answer.status, body, headers, answer.is_fruitful))


@fault("the server goes down")
def goes_down(exchange: Exchange, seconds: float) -> None:
    exchange.server.go_down(seconds)
    exchange.reset()


@fault("the road goes dead")
def goes_dead(exchange: Exchange) -> None:
    """The connection is reset, and no new one comes about."""
    exchange.server.go_dead()
    exchange.reset()


def _send_a_part(exchange: Exchange, data: bytes) -> None:
    exchange.seen.is_fruitful = False
    exchange.connection.send(data[: len(data) - 10])
    # So that the client has read the part before a reset takes it away again.
    exchange.connection.pause(0.05)


@dataclass
class Fault:
    """One line of a case: which requests, and what befalls them."""

    which: str
    name: str
    parameters: dict[str, Any]
    delivered: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        found = re.fullmatch(r"(poll|publish)(?: (\d+)|e?s (\d+) to (\d+)|e?s from (\d+) on)", self.which)
        if not found or self.name not in INJECTIONS:
            raise ValueError(f"no such fault: {self.which}: {self.name}")
        self.kind, one, first, last, begin = found.groups()
        self.first = int(one or first or begin)
        self.last = int(one or last or 0) or math.inf

    def inject(self, exchange: Exchange) -> None:
        first = [self.parameters[""]] if "" in self.parameters else []
        INJECTIONS[self.name](exchange, *first, **{name: each for name, each in self.parameters.items() if name})

    def hits(self, kind: str, number: int) -> bool:
        return kind == self.kind and self.first <= number <= self.last

    def is_delivered(self) -> bool:
        if self.last == math.inf:
            return bool(self.delivered)
        return len(self.delivered) == self.last - self.first + 1


class Faults:
    def __init__(self, faults: list[Fault]) -> None:
        self.all = faults

    def hit(self, exchange: Exchange) -> bool:
        """Whether a fault dealt with the request."""
        for each in self.all:
            if each.hits(exchange.seen.request.kind, exchange.seen.number):
                exchange.seen.hit_by = each.name
                exchange.seen.is_fruitful = False
                each.delivered.append(exchange.seen.number)
                try:
                    each.inject(exchange)
                except GoneError:
                    # Who leaves before the end has not been given all of it, but for one that only waits.
                    if each.name != "silence":
                        each.delivered.remove(exchange.seen.number)
                    raise
                return True
        return False
