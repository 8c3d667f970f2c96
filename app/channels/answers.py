"""Answers whose bytes are ready: what every poll and publish ends with, so that microseconds count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:  # a module of stubs, there for the type checker alone
    from _typeshed.wsgi import WSGIEnvironment


class Answer(Response):
    """A JSON text as it is to be sent. Werkzeug's way to the same bytes encodes, measures and copies for 15 µs."""

    def __init__(
        self,
        content: bytes,
        content_type: str = "application/json",
        status: int = 200,
        more: Iterable[tuple[str, str]] = (),
    ) -> None:
        headers = Headers([("Content-Type", content_type), ("Cache-Control", "no-store"), *more])
        super().__init__((content,), status, headers)
        self._content = content

    def get_wsgi_response(self, environ: WSGIEnvironment) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        headers = [*self.headers, ("Content-Length", str(len(self._content)))]
        content = () if environ["REQUEST_METHOD"] == "HEAD" else (self._content,)
        return ClosingIterator(content, self.close), self.status, headers
