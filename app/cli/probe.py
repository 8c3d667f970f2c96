"""One request of `bide check`, looked at closely: what came back, when, and on which connection.

It goes the client's own way (`client.wire`), through the same settings for proxies and certificates, so that what is
measured is what clients meet.
"""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

import requests

from ..client.answers import json_of
from ..client.errors import ClientError
from ..client.wire import Wire

ANSWER_SECONDS: Final = 10.0
T = TypeVar("T")

_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,80})", re.IGNORECASE).search


class Trouble(Exception):
    """There was no answer. Its text is one sentence. `is_silent`: the connection stayed open, and nothing came."""

    def __init__(self, text: str, is_silent: bool = False) -> None:
        super().__init__(text)
        self.is_silent = is_silent


@dataclass(frozen=True)
class Reply:
    """An answer, `seconds` after the request was sent; `version` is that of HTTP, times ten."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes
    seconds: float
    version: int

    @cached_property
    def body(self) -> dict[str, Any]:
        """Its JSON, empty where it is no object."""
        found = json_of(self.content)
        return found if isinstance(found, dict) else {}

    @property
    def is_problem(self) -> bool:
        """Bide itself has refused it."""
        return self.status >= 400 and str(self.body.get("type", "")).startswith("/problems/")

    @property
    def complaint(self) -> str:
        """One sentence on an answer that should have been another one."""
        place = self.url.partition("?")[0]
        if self.is_problem:
            return f"{place} says {self.status}: {self.body.get('detail')}"
        if 300 <= self.status < 400:
            place = f"{place} leads to {self.headers.get('Location', 'nowhere')}"
            return f"{place}: a captive portal, or the server has another URL"
        if "html" in self.headers.get("Content-Type", "").lower():
            title = _TITLE(self.content)
            named = f" “{title[1].decode(errors='replace').strip()}”" if title else ""
            said = f"with {self.status} and a web page{named}"
            return f"{place} answers {said}: a captive portal, a proxy's own page or another server, not Bide"
        if not self.content and 200 <= self.status < 300:
            return f"{place} answers {self.status} without a body: something on the way takes the bodies of answers"
        text = self.body.get("detail") or self.body.get("error") or self.reason
        return f"{place} answers with {self.status} ({text}), in a form that is not Bide's"


class Probe(Wire):
    """A session on one connection, which counts how often it had to be made."""

    def __init__(self, url: str, token: str | None, client_id: str) -> None:
        super().__init__(url, token, client_id, 1)
        self.requests = 0
        self.connections = 0
        self.connect_seconds = 0.0
        self._handle: socket.socket | None = None

    def connect(self, host: str, port: int, seconds: Any, options: Any) -> tuple[socket.socket, socket.socket]:
        begun = time.monotonic()
        sock, self._handle = super().connect(host, port, seconds, options)
        self.connect_seconds = time.monotonic() - begun
        self.connections += 1
        return sock, self._handle

    def look(
        self,
        method: str,
        path: str,
        params: Mapping[str, object] | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Reply:
        """One request. Raises Trouble where nothing came back."""
        sent = {name: str(value) for name, value in (params or {}).items()}
        self.requests += 1
        begun = time.monotonic()
        try:
            response = self.send(method, path, sent, content, headers, seconds)
        except ClientError as error:
            raise _trouble(error, seconds) from error
        return Reply(
            str(response.url),
            response.status_code,
            response.reason or "no reason given",
            response.headers,
            response.content,
            time.monotonic() - begun,
            response.raw.version,
        )

    def is_closed_within(self, seconds: float) -> bool:
        """Wait while nothing is asked; whether the other side closes the connection meanwhile."""
        handle = self._handle
        if handle is None or handle.fileno() < 0:
            return True
        looking = select.poll()
        looking.register(handle, select.POLLIN)
        return bool(looking.poll(seconds * 1000))


def poll_of(cursor: object, seconds: float) -> dict[str, object]:
    """The parameters of a poll."""
    return {"last_event_id": cursor, "timeout": f"{seconds:.3f}", "limit": 100}


def begin(work: Callable[[], T]) -> Future[T]:
    """Do it in a thread, which does not outlive the program."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _trouble(error: ClientError, seconds: float) -> Trouble:
    """The client's error as the doctor says it."""
    cause, text = error.__cause__, str(error)
    place, _, reason = text.partition(" does not answer: ")
    if isinstance(cause, requests.exceptions.SSLError):
        if "WRONG_VERSION_NUMBER" in text:
            return Trouble(f"{place} speaks no TLS: its URL begins with http://")
        return Trouble(text if "is not trusted" in reason else f"{place} is not trusted: {reason}")
    if isinstance(cause, requests.exceptions.ReadTimeout) or "Read timed out" in reason:
        return Trouble(f"{place} takes the request and sends nothing for {seconds:.3g} s", is_silent=True)
    if isinstance(cause, requests.exceptions.ChunkedEncodingError):
        return Trouble(f"{place} answers and is cut before the end of it: {reason}")
    if isinstance(cause, requests.exceptions.ContentDecodingError):
        return Trouble(f"{place} answers with a body that is not encoded as it says: {reason}")
    return Trouble(text)
