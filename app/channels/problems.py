"""Every error, ours and Werkzeug's and the unexpected, as problem details (RFC 9457).

`type` is stable and names the kind, `title` and `error` are the kind's one sentence, `detail` is this case. No path,
token or stack trace leaves the server: what was not expected is told as such, and logged.
"""

from __future__ import annotations

import logging
import random
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from ..errors import BideError, NotAllowed, RateLimited, TooManyPolls, Unauthorized
from ..events import encode
from ..lifecycle import CLOSE
from .answers import Answer

log = logging.getLogger("bide")

#: Added to a Retry-After at random.
RETRY_JITTER_SECONDS = 4

#: Werkzeug's own errors that can come: kind and sentence.
KINDS = {
    400: ("bad-request", "The request cannot be understood"),
    404: ("not-found", "There is nothing at this path"),
    405: ("method-not-allowed", "This path does not take that method"),
    408: ("request-timeout", "The request did not arrive in time"),
    413: ("too-large", "The content is too large"),
    414: ("uri-too-long", "The request's address is too long"),
    415: ("unsupported-body", "This kind of body is not understood"),
}


def register(app: Flask) -> None:
    """Make the app answer every error in this form."""
    app.register_error_handler(BideError, _of_ours)
    app.register_error_handler(HTTPException, _of_werkzeug)
    app.register_error_handler(Exception, _of_nobody)


def problem(status: int, kind: str, title: str, detail: str, more: dict[str, Any]) -> Response:
    """A response with problem details; `more` are further members, such as `param`."""
    document = {
        "type": f"/problems/{kind}",
        "title": title,
        "status": status,
        "error": title,
        "detail": detail,
        **more,
    }
    return Answer(encode(document), "application/problem+json", status)


def _of_ours(error: BideError) -> Response:
    more = dict(error.more)
    if error.param is not None:
        more["param"] = error.param
    if isinstance(error, TooManyPolls):
        # Kept alive it would hold a place of the connection pool, and be one poll more all the same.
        request.environ[CLOSE] = True
    response = problem(error.status, error.kind, error.title, error.detail, more)
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = _challenge(error.code)
    elif isinstance(error, NotAllowed):
        response.headers["WWW-Authenticate"] = _challenge("insufficient_scope")
    if isinstance(error, RateLimited) and error.policy is not None:
        # By draft-ietf-httpapi-ratelimit-headers-10.
        name, amount, seconds = error.policy
        response.headers["Retry-After"] = str(error.retry_after)
        response.headers["RateLimit-Policy"] = f'"{name}";q={amount};w={seconds}'
        response.headers["RateLimit"] = f'"{name}";r=0;t={error.retry_after}'
    elif error.retry_after is not None:
        # Those who were refused together shall not come back together.
        response.headers["Retry-After"] = str(error.retry_after + random.randint(0, RETRY_JITTER_SECONDS))
    return response


def _challenge(code: str | None) -> str:
    """RFC 6750, section 3. Why is said in the body; a quoted text may hold no quotes."""
    return 'Bearer realm="bide"' + (f', error="{code}"' if code else "")


def _of_werkzeug(error: HTTPException) -> Response:
    # The request holds it, and its traceback the request: a ring that only the collector would undo.
    request.routing_exception = None
    status = error.code or 500
    kind, title = KINDS.get(status, ("http-error", error.name))
    detail = "See GET / for the paths there are" if status == 404 else title
    allowed = getattr(error, "valid_methods", None)
    if status == 405 and allowed:
        detail = f"This path takes {', '.join(sorted(allowed))}"
    response = problem(status, kind, title, detail, {})
    if status == 405 and allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _of_nobody(error: Exception) -> Response:
    log.error("a request failed: %s %s", request.method, request.path, exc_info=error)
    return problem(500, BideError.kind, BideError.title, "An unexpected error; the server's log says more", {})
