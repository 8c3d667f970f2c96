"""Bide: a real-time channel server over plain HTTP.

`create_app()` makes the server as a Flask app; `Publisher(open_store(url))` publishes without Flask, which is not even
imported then: `create_app` is looked up when it is first asked for (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import Settings
from .errors import BideError
from .publisher import Publisher
from .stores import open_store
from .version import VERSION

if TYPE_CHECKING:
    from .factory import create_app

__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name == "create_app":
        return import_module(".factory", __name__).create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["BideError", "Publisher", "Settings", "create_app", "open_store"]
