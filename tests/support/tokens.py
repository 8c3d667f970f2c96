"""Tokens for tests, as whoever has the secret would sign them."""

import time

import jwt

#: As long as the longest of HMAC's algorithms wants it.
SECRET = "a secret of tests, which everybody may read, and which is good for nothing else"
#: What a server is started with to know these tokens.
ENV = {"BIDE_JWT_SECRET": SECRET}
RIGHTS = ("publish", "subscribe", "presence", "admin")
#: So long is a token good for: longer than any test takes.
GOOD_SECONDS = 3600


def token(claims=None, *, sub="ann", secret=SECRET, algorithm="HS256", **more):
    """A token of a subject; `claims` are its claim `bide`. A further claim that is None is left out."""
    told = {"sub": sub, "exp": int(time.time()) + GOOD_SECONDS, **({} if claims is None else {"bide": claims}), **more}
    told = {name: value for name, value in told.items() if value is not None}
    return jwt.encode(told, secret, algorithm)


def all_rights(sub="ann"):
    """A token that may do everything, and read the server's own channels."""
    return token({right: ["*"] for right in RIGHTS} | {"admin": ["*", "@bide.*"]}, sub=sub)


def bearer(text):
    return {"Authorization": f"Bearer {text}"}
