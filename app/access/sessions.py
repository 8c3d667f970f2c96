"""`/auth/session`: a browser's token in a cookie, which scripts cannot read and which EventSource and WebSocket send.

The cookie holds the token itself, so that there is nothing to keep here. It ends with the token; DELETE has the browser
forget it, which ends nothing but that: a token that somebody copied is good until its `exp`, or until it is revoked.
"""

from __future__ import annotations

import re
import time
from typing import Final

from flask import Response

from ..channels.answers import Answer
from ..dispatch import current_app, current_environ
from ..errors import InvalidRequest, NoTokens
from ..events import encode
from ..server import Server
from . import origins
from .admission import permit_of
from .credentials import COOKIE, of_header
from .permit import LEEWAY_SECONDS

#: Browsers take 4,096 bytes for a cookie's name and value.
MAX_TOKEN_BYTES: Final = 4000
#: RFC 6265bis, section 5.5: none is kept for longer than 400 days.
MAX_AGE_SECONDS: Final = 400 * 86400
ATTRIBUTES: Final = "Path=/; Secure; HttpOnly; SameSite=Strict"

#: RFC 6750, section 2.1; all of them may be in a cookie. That a verified token has no others is PyJWT's word alone.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*").fullmatch


def begin() -> Response:
    """POST /auth/session"""
    server, environ = _server(), current_environ()
    permit = permit_of(environ, server.settings)
    if permit is None:
        raise _no_tokens()
    token = of_header(environ)
    if len(token) > MAX_TOKEN_BYTES or not _TOKEN(token):
        raise InvalidRequest(
            f"This token fits in no cookie: {MAX_TOKEN_BYTES:,} bytes of A-Z a-z 0-9 . _ ~ + / - = do; "
            f"it has {len(token):,}, so send it as Authorization, or name fewer channels in it",
            param="Authorization",
        )
    ends_at = permit.expires_at - LEEWAY_SECONDS
    seconds = int(min(max(0.0, ends_at - time.time()), MAX_AGE_SECONDS))
    response = Answer(encode({"sub": permit.subject, "expires_at": ends_at}))
    response.headers["Set-Cookie"] = f"{COOKIE}={token}; Max-Age={seconds}; {ATTRIBUTES}"
    return response


def end() -> Response:
    """DELETE /auth/session"""
    server, environ = _server(), current_environ()
    if not server.settings.has_key:
        raise _no_tokens()
    if COOKIE in environ.get("HTTP_COOKIE", ""):
        origins.require_origin(environ, server.settings.cors_origins)
    response = Answer(b"", None, 204)
    response.headers["Set-Cookie"] = f"{COOKIE}=; Max-Age=0; {ATTRIBUTES}"
    return response


def _server() -> Server:
    server: Server = current_app().extensions["bide"]
    return server


def _no_tokens() -> NoTokens:
    return NoTokens("Without a key (BIDE_JWT_SECRET, BIDE_JWT_PUBLIC_KEY or BIDE_JWKS_URL) anyone may do anything here")
