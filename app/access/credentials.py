"""Where a request's token is: its `Authorization`, else its query where that may be, else its cookie (RFC 6750).

A browser sends the cookie by itself, whatever page made it ask. So the cookie counts where no other token was given,
and what it is to change something for has to come from a page of this server's own origin, or of a listed one. In the
query a token is taken only with `BIDE_TOKEN_IN_QUERY=1`, and by polls alone, for clients that can send no header.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from ..errors import Unauthorized
from ..scrub import QUERY_TOKENS, Tokens
from . import origins

SCHEME: Final = "bearer "
#: RFC 6265bis, section 4.1.3.2: a cookie of this name comes from this host alone, by TLS, for all its paths.
COOKIE: Final = "__Host-bide"
#: What a browser sends to a page without asking it to change anything (RFC 9110, section 9.2.1).
SAFE_METHODS: Final = frozenset(["GET", "HEAD", "OPTIONS"])

GIVE: Final = "Give a token: Authorization: Bearer <token>"


class Credentials:
    """Finds the tokens of requests. `listed` are origins beside the request's own whose pages may use the cookie,
    `in_query` the endpoints that take a token in the query."""

    def __init__(self, listed: frozenset[str], in_query: Collection[str]) -> None:
        self._listed = listed
        self._in_query = in_query

    def find(self, environ: Mapping[str, Any], endpoint: str) -> str:
        """The request's token. Raises Unauthorized where there is none, or more than one, and ForeignOrigin where it is
        a cookie's that the request may not use."""
        if QUERY_TOKENS in environ:
            return self._of_query(environ, endpoint)
        if "HTTP_AUTHORIZATION" in environ:
            return of_header(environ)
        token = of_cookie(environ)
        if token is None:
            raise Unauthorized(GIVE, code=None)
        if needs_origin(environ):
            origins.require_origin(environ, self._listed)
        return token

    def _of_query(self, environ: Mapping[str, Any], endpoint: str) -> str:
        tokens: Tokens = environ[QUERY_TOKENS]
        if "HTTP_AUTHORIZATION" in environ or len(tokens.texts) > 1:
            raise Unauthorized("Give one token, as Authorization: Bearer <token>", code="invalid_request")
        if endpoint not in self._in_query:
            raise Unauthorized(
                "A token in the query is not taken here, where logs keep it: send Authorization: Bearer <token>",
                code="invalid_request",
            )
        return tokens.texts[0]


def of_header(environ: Mapping[str, Any]) -> str:
    """The token of the request's Authorization. Raises Unauthorized where there is none."""
    header: str | None = environ.get("HTTP_AUTHORIZATION")
    if header is None:
        raise Unauthorized(GIVE, code=None)
    if header[: len(SCHEME)].lower() != SCHEME:
        # RFC 6750, section 3.1: who used another method is told no error code.
        raise Unauthorized("Authorization is to be Bearer <token>", code=None)
    return header[len(SCHEME) :].strip(" ")


def of_cookie(environ: Mapping[str, Any]) -> str | None:
    """The token of the request's cookie, None where there is none. Raises Unauthorized where there are several."""
    header: str = environ.get("HTTP_COOKIE", "")
    if COOKIE not in header:
        return None
    pairs = [pair.strip(" \t").partition("=") for pair in header.split(";")]
    values = [value.strip(" \t") for name, _, value in pairs if name.rstrip(" \t") == COOKIE]
    if len(values) > 1:
        # Whose it is cannot be told: one of them somebody else may have put there.
        raise Unauthorized(f"The cookie {COOKIE} came {len(values)} times: delete it", code="invalid_request")
    value = values[0] if values else ""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return value or None


def needs_origin(environ: Mapping[str, Any]) -> bool:
    """Whether a request may be served by its cookie only where it says that it comes from a page which may do that.

    What may change something, and an upgrade, whose connection no browser keeps to pages of one origin. Streams are to
    need it too: an EventSource of the same origin sends no Origin, but `Sec-Fetch-Site: same-origin`.
    """
    return environ["REQUEST_METHOD"] not in SAFE_METHODS or "HTTP_UPGRADE" in environ
