"""Lets pages of the listed origins read what is answered (CORS, as the Fetch standard has it).

A browser hands an answer to a page of another origin only where the answer says so, and asks by OPTIONS before it sends
what no form could have sent. Flask-Cors works out what is to be said, once for each origin: its function for every
answer takes 21 µs. What is said here goes out with the answers of answers.py, parked polls' too, and only with those:
an embedding application answers itself for what it adds to the app.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from flask import Flask, Response, request
from flask_cors import core

from ..channels.answers import FURTHER, Answer, Fields
from ..dispatch import current_environ

#: How long a browser may remember what it was told; Chromium does so for no longer.
MAX_AGE_SECONDS: Final = 7200

METHODS: Final = ["DELETE", "GET", "HEAD", "POST"]
ALLOWED: Final = ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-Client-ID"]
EXPOSED: Final = ["Idempotency-Replayed", "Last-Event-ID", "Preference-Applied", "RateLimit", "Retry-After"]

#: Said to everybody: a cache shall not take the answer to one origin for that to another, or to none.
TO_NOBODY: Final[Fields] = (("Vary", "Origin"),)


def register(app: Flask, listed: Iterable[str], ours: Iterable[str]) -> None:
    """Answer pages of the listed origins; `ours` are the blueprints for which preflights are answered. To be registered
    first of all: a page may read too why it is refused."""
    names = frozenset(ours)
    to_pages = {origin: _said(origin, "GET") for origin in listed}
    to_preflights = {origin: _said(origin, "OPTIONS") for origin in listed}

    def note() -> Response | None:
        environ = current_environ()
        origin = environ.get("HTTP_ORIGIN", "")
        environ[FURTHER] = to_pages.get(origin, TO_NOBODY)
        if environ["REQUEST_METHOD"] != "OPTIONS":
            return None
        rule = request.url_rule
        if rule is not None and rule.endpoint.partition(".")[0] not in names:
            environ[FURTHER] = TO_NOBODY
        elif "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ and origin in to_preflights:
            # Whatever the path: a preflight that is a 404 would leave the page without a word of why.
            environ[FURTHER] = to_preflights[origin]
            return Answer(b"", None, 204)
        return None

    app.before_request(note)


def _said(origin: str, method: str) -> Fields:
    """What an answer to a page of the origin says."""
    options = core.serialize_options(
        {
            # Flask-Cors takes a text with brackets, such as an IPv6 address, for a pattern: here it is one.
            "origins": [re.compile(re.escape(origin))],
            "methods": METHODS,
            "allow_headers": ALLOWED,
            "expose_headers": EXPOSED,
            # They are named one by one, so that a cookie may come along.
            "supports_credentials": True,
            "max_age": MAX_AGE_SECONDS,
            "vary_header": True,
        }
    )
    # All that may be asked for: the answer is the same, whatever is.
    asked = {"Origin": origin, core.ACL_REQUEST_METHOD: "GET", core.ACL_REQUEST_HEADERS: ", ".join(ALLOWED)}
    return tuple((name, str(value)) for name, value in core.get_cors_headers(options, asked, method).items(multi=True))
