"""Tokens, and the ways in which a request may carry one."""

import time

import jwt

from tests.support.app import problem

SECRET = "0123456789abcdef0123456789abcdef"
OWN = {"Origin": "http://localhost"}
FOREIGN = {"Origin": "http://evil.example"}
POLL = "/subscribe/news?timeout=0"


def token(subject="ann", seconds=600, **claims):
    rights = {"publish": ["*"], "subscribe": ["*"], "presence": ["*"], "admin": ["*"]}
    return jwt.encode({"sub": subject, "exp": time.time() + seconds, "bide": rights, **claims}, SECRET, "HS256")


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


def cookie(text):
    return {"Cookie": f"__Host-bide={text}"}


def in_query(text, name="access_token"):
    return f"{POLL}&{name}={text}"


def refused(answer, says, code="invalid_request", status=401):
    assert answer.status_code == status, answer.text
    assert says in problem(answer)["detail"]
    if status == 401:
        told = "" if code is None else f', error="{code}"'
        assert answer.headers["WWW-Authenticate"] == f'Bearer realm="bide"{told}'
