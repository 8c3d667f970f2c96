"""Keeps tokens out of logs, wherever a client puts them.

A token in a URL (RFC 6750, section 2.3) is told to whoever is told the URL: access logs, error logs, and the pages that
a browser goes to next, in `Referer`. So it is taken out of a request before anything else sees that, whether it is
allowed there or not; who checks tokens finds it in the environ under a name of its own, in an object that shows it to
nobody else. What gunicorn says of requests that never become an app's goes through a filter of its loggers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_plus

#: In a request's environ: the tokens of its query, where there are any.
QUERY_TOKENS: Final = "bide.query_tokens"
PARAMETER: Final = "access_token"
#: What stands for a token where one was.
HIDDEN: Final = "***"

#: Where a URL is in an environ. One that is in the path is none of ours, but may be one with its `?` forgotten.
_KEYS: Final = ("RAW_URI", "REQUEST_URI", "QUERY_STRING", "PATH_INFO", "HTTP_REFERER")

_NAME: Final = "".join(f"(?:{letter}|%{ord(letter):02x})" for letter in PARAMETER)
_IN_URL: Final = re.compile(rf"({_NAME}(?:=|%3d))[^&#\s\"]+", re.IGNORECASE).sub
#: The cookie as credentials.py takes it: blanks around its `=`, and quotes, which an access log escapes.
_COOKIE: Final = r"__Host-bide[ \t]*=[ \t]*(?:\\?\")?"
_IN_TEXT: Final = re.compile(rf"({_NAME}(?:=|%3d)|{_COOKIE}|\bbearer(?:\s+|\.))[^&#\s\"'<>;,]+", re.IGNORECASE).sub

#: The last where an embedding application is tried out with Flask's own server.
_LOGGERS: Final = ("bide", "gunicorn.error", "gunicorn.access", "werkzeug")


class Tokens:
    """The tokens of a query, more than one if it was given more than once."""

    __slots__ = ("texts",)

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)

    def __repr__(self) -> str:
        return HIDDEN


def scrub(environ: dict[str, Any], request: Any) -> None:
    """Take tokens out of what a request's environ and gunicorn's request object tell of its URL."""
    if not _may_tell(environ.get("RAW_URI") or environ.get("QUERY_STRING", "")) and not (
        "HTTP_REFERER" in environ and _may_tell(environ["HTTP_REFERER"])
    ):
        return
    texts = _tokens(environ.get("QUERY_STRING", ""))
    if texts:
        environ[QUERY_TOKENS] = Tokens(texts)
    done: dict[str, str] = {}  # gunicorn's request tells the same as the environ
    for key in _KEYS:
        text = environ.get(key)
        if text is not None and _may_tell(text):
            environ[key] = done[text] = _of_url(text)
    # What gunicorn logs of a request that fails, and of what it asks of the environ.
    for name in ("uri", "query"):
        text = getattr(request, name, None)
        if isinstance(text, str):
            setattr(request, name, done.get(text) or _of_url(text))
    fields = vars(request).get("headers") if hasattr(request, "__dict__") else None
    if isinstance(fields, list):
        fields[:] = [(name, _of_url(text) if name == "REFERER" else text) for name, text in fields]


def scrub_logs() -> None:
    """Have tokens taken out of what gunicorn and this server log. May be called again."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)


def _tokens(query: str) -> list[str]:
    pairs = [pair.partition("=") for pair in query.split("&")]
    return [unquote_plus(value) for name, _, value in pairs if unquote_plus(name) == PARAMETER]


def _may_tell(text: str) -> bool:
    """A quick look, for every request: the pattern takes 20 µs where nothing is found."""
    # Escaped, the letters of "token" begin so; commas, colons and spaces do not.
    return "token" in text or ("%" in text and ("%6" in text or "%7" in text))


def _of_url(text: str) -> str:
    return _IN_URL(rf"\1{HIDDEN}", text)


def _of_text(text: str) -> str:
    lower = text.lower()
    if _may_tell(lower) or "bearer" in lower or "__host-bide" in lower:
        return _IN_TEXT(rf"\1{HIDDEN}", text)
    return text


def _filter(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    scrubbed = _of_text(said)
    if scrubbed != said:
        record.msg, record.args = scrubbed, ()
    if record.exc_info:
        told = record.exc_text or _formatter.formatException(record.exc_info)
        scrubbed = _of_text(told)
        if scrubbed != told:
            # A formatter prints the text; the exception itself is for nobody to format anew.
            record.exc_text, record.exc_info = scrubbed, None
    return True


_formatter = logging.Formatter()
