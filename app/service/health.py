"""`/` greets, `/healthz` says that the process answers, `/readyz` that it should be given work."""

from __future__ import annotations

from flask import Response, current_app

from ..channels.answers import Answer
from ..errors import Unavailable
from ..events import encode
from ..server import Server
from ..version import VERSION

GREETING = {
    "message": "Bide: publish with one POST, wait with one GET",
    "version": VERSION,
    "links": {
        "publish": "/publish/{channel}",
        "publish_several": "/publish",
        "subscribe": "/subscribe/{channels}",
        "channels": "/channels",
        "history": "/channels/{channel}/events",
        "alive": "/healthz",
        "ready": "/readyz",
        "description": "/openapi.json",
    },
}


def greet() -> Response:
    """GET /"""
    return _answer(GREETING)


def alive() -> Response:
    """GET /healthz"""
    return _answer({"status": "alive"})


def ready() -> Response:
    """GET /readyz: the store is reachable, its listener hears, it is known which tokens were revoked, the worker is not
    stopping; else 503."""
    server: Server = current_app.extensions["bide"]
    if server.notifier.draining:
        raise Unavailable("This worker is stopping", retry_after=1)
    server.store.check()
    server.revocations.check()
    return _answer({"status": "ready"})


def _answer(value: object) -> Response:
    return Answer(encode(value))
