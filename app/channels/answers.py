"""Answers whose bytes are ready: what every poll and publish ends with, so that microseconds count.

Everything that Bide itself answers is one of these, and has their headers: errors too, and what is parked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response
from flask.globals import request_ctx
from gunicorn.workers.base_async import ALREADY_HANDLED
from werkzeug.datastructures import Headers
from werkzeug.wsgi import ClosingIterator

from ..grant import Grant, Request

if TYPE_CHECKING:  # a module of stubs, there for the type checker alone
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


Fields = tuple[tuple[str, str], ...]

#: Of every answer; docs/security.md says why no others are.
COMMON: Final[Fields] = (
    ("Cache-Control", "no-store"),
    # A message is whatever its publisher sent: no browser shall find a script or a page in it.
    ("X-Content-Type-Options", "nosniff"),
    # Nor take it into the process of a foreign page, as a picture, say. Who may read it fetches it by CORS.
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # Where it is shown as a page all the same, it does nothing, and in nobody's frame.
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)

#: Where an environ has the further headers of its answer, which depend on who asks (access/cors.py). They are added
#: last: whoever embeds this may have answered for himself.
FURTHER: Final = "bide.headers"


def further(environ: WSGIEnvironment, headers: Headers) -> Fields:
    """What is to be added to an answer's own headers."""
    found: Fields = environ.get(FURTHER, ())
    if found and any(name.lower() == "access-control-allow-origin" for name, _ in headers):
        return ()
    return found


def register(app: Flask) -> None:
    """Let OPTIONS be answered as all else is."""
    app.make_default_options_response = _options  # type: ignore[method-assign]  # it is there to be replaced


def _options() -> Response:
    methods = request_ctx.url_adapter.allowed_methods()  # type: ignore[union-attr]  # a request has one
    return Answer(b"", None, more=[("Allow", ", ".join(sorted(methods)))])


class _Own(Response):
    """An answer of Bide's own."""

    #: What has no content has no type: Flask would call it text/html.
    default_mimetype = None

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        headers = super().get_wsgi_headers(environ)
        headers.extend(further(environ, self.headers))
        return headers


class Answer(_Own):
    """A JSON text as it is to be sent. Werkzeug's way to the same bytes encodes, measures and copies for 15 µs."""

    def __init__(
        self,
        content: bytes,
        content_type: str | None = "application/json",
        status: int = 200,
        more: Iterable[tuple[str, str]] = (),
    ) -> None:
        of_type = () if content_type is None else (("Content-Type", content_type),)
        self._ready = (content,)
        super().__init__(self._ready, status, Headers([*of_type, *COMMON, *more]))

    def get_wsgi_response(self, environ: WSGIEnvironment) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        if self.response is not self._ready or self._status_code in WITHOUT_CONTENT:
            return super().get_wsgi_response(environ)  # an `after_request` function made another of it
        (content,) = self._ready
        headers = [*self.headers, *further(environ, self.headers), ("Content-Length", str(len(content)))]
        body = () if environ["REQUEST_METHOD"] == "HEAD" else self._ready
        return ClosingIterator(body, self.close), self.status, headers


class Parking(_Own):
    """What is known of the answer to a poll that waits. Sent by the connection, when the rest is known.

    Its headers are made when somebody asks for them: most polls are parked without that. Where an `after_request`
    function gave it content, or a status that has none, it is an answer as any other, and the poll waits for nothing.
    """

    # As Response.__init__ would set them: that takes 3 µs.
    _status = "200 OK"
    _status_code = 200
    response = ()
    direct_passthrough = False

    def __init__(self, grant: Grant, preference: str | None) -> None:
        self._grant = grant
        self._preference = preference
        self._on_close = []

    @cached_property
    def headers(self) -> Headers:  # type: ignore[override]  # an attribute of Werkzeug's
        headers = Headers([("Content-Type", "application/json"), *COMMON])
        if self._preference is not None:
            headers["Preference-Applied"] = self._preference
        return headers

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        """Write down the head in the grant, with what `after_request` functions made of it."""
        if self.response or self._status_code in WITHOUT_CONTENT:
            return super().__call__(environ, start_response)
        response = start_response.__self__  # type: ignore[attr-defined]  # gunicorn's response, whose method it is
        self._grant.closes = response.must_close or response.req.should_close()
        is_plain = "headers" not in self.__dict__ and self._preference is None
        more = environ.get(FURTHER, ()) if is_plain else further(environ, self.headers)
        known = environ["SERVER_PROTOCOL"], self._status, None if is_plain else tuple(self.headers), more
        head = _heads.get(known)
        logs = environ["gunicorn.socket"].logs_requests
        if logs:
            self._grant.request = Request(response, environ, datetime.now())
        if head is None or logs:
            # gunicorn looks for what may not be in a header, whoever made it.
            start_response(self._status, [*self.headers, *more])
            lines = "".join(
                [f"{name}: {value}\r\n" for name, value in response.headers if name.lower() not in OF_FRAMING]
            )
            text = f"{environ['SERVER_PROTOCOL']} {self._status}\r\nServer: {response.version}\r\n{lines}"
            head = text.encode("latin-1")
            if len(_heads) >= HEADS:
                _heads.clear()
            _heads[known] = head
        self._grant.head = head
        for close in self._on_close:
            close()  # the request ends here: nobody keeps this for as long as the poll waits
        return ALREADY_HANDLED


#: What the framing of the answer says by itself.
OF_FRAMING = ("content-length", "last-event-id", "date")
WITHOUT_CONTENT = (204, 304)
#: Heads that polls have in common, which is nearly all of them.
HEADS = 1000
_heads: dict[Any, bytes] = {}
