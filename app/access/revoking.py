"""`POST /auth/revoke`: tokens are refused from now on, before they expire.

    {"sub": "ann", "exp": 1790000000}       all that ann has by now
    {"jti": "9f1c", "exp": 1790000000}      one

A subject's revocation covers what was issued (`iat`) up to its moment, and what does not say when it was issued; so
whoever logs in anew is let in. Clocks differ, and `iat` has whole seconds mostly: covered is each token that this
server would have let in at that moment, those of issuers whose clocks are ahead by the leeway among them. A token that
is made within some seconds of the revocation may be covered too; `issued_until` in the answer tells up to when.

`exp` says when the last of the tokens will have expired, after which the revocation is forgotten. Nobody knows who does
not say: then it is kept for as good as ever, for a token must never come back to life.
"""

from __future__ import annotations

import math
import time
from typing import Any, Final

from flask import Response

from ..channels import body
from ..channels.answers import Answer
from ..config import MAX_SECONDS
from ..dispatch import current_app, current_environ
from ..errors import InvalidRequest, NoTokens
from ..events import encode
from ..names import MAX_SUBJECT_CHARACTERS, is_subject
from ..server import Server
from ..stores.base import Revocation
from .admission import check_again
from .permit import LEEWAY_SECONDS

#: A token whose jti is longer is revoked by its subject.
MAX_JTI_CHARACTERS: Final = 255


def revoke() -> Response:
    """POST /auth/revoke"""
    server: Server = current_app().extensions["bide"]
    if not server.settings.has_key:
        raise NoTokens(
            "Without a key (BIDE_JWT_SECRET, BIDE_JWT_PUBLIC_KEY or BIDE_JWKS_URL) there is nothing to revoke"
        )
    environ = current_environ()
    asked = body.json_object(environ, server.settings.max_body_bytes)
    check_again(environ, server.settings)
    now = time.time()
    kept = server.store.revoke(_revocation(asked, now))
    told: dict[str, Any] = {"status": "revoked", kept.claim: kept.value}
    if kept.claim == "sub":
        told["issued_until"] = kept.issued_until
    return Answer(encode({**told, "until": kept.until}))


def _revocation(asked: dict[str, Any], now: float) -> Revocation:
    until = _until(asked.get("exp"), now)
    subject, jti = asked.get("sub"), asked.get("jti")
    if (subject is None) == (jti is None):
        raise InvalidRequest('Give a subject or the id of one token: {"sub": "ann"} or {"jti": "9f1c"}')
    if jti is not None:
        if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_JTI_CHARACTERS:
            raise InvalidRequest(f"jti is a text of 1 to {MAX_JTI_CHARACTERS} characters", param="jti")
        return Revocation("jti", jti, 0, until)
    if not isinstance(subject, str) or not is_subject(subject):
        raise InvalidRequest(f"sub is a text of 1 to {MAX_SUBJECT_CHARACTERS} printable characters", param="sub")
    return Revocation("sub", subject, math.ceil(now + LEEWAY_SECONDS), until)


def _until(expires_at: Any, now: float) -> int:
    if expires_at is None:
        return int(now + MAX_SECONDS)
    if isinstance(expires_at, int | float) and now - LEEWAY_SECONDS < expires_at <= now + MAX_SECONDS:
        return math.ceil(expires_at)
    raise InvalidRequest(
        "exp is in Unix seconds: when the last of the tokens expires, not in the past and within ten years",
        param="exp",
    )
