"""`/openapi.json`: what the server can do, for programs. `app/openapi.yaml` is the text, written by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
from flask import Response

from ..channels.answers import Answer
from ..events import encode
from ..version import VERSION

TEXT = Path(__file__).parent.parent / "openapi.yaml"


def describe() -> Response:
    """GET /openapi.json"""
    return Answer(_converted())


@cache
def _converted() -> bytes:
    """The description as JSON, made when it is first asked for: that takes longer than many requests together."""
    description = msgspec.yaml.decode(TEXT.read_bytes())
    description["info"]["version"] = VERSION
    return encode(description)
