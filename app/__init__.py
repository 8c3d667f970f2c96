"""Bide: a real-time channel server over plain HTTP.

`create_app()` makes the server as a Flask app; `Publisher(open_store(url))` publishes without Flask. Everything is
looked up when it is first asked for (PEP 562), so that a program imports what it uses: `bide.client` neither Flask nor
gevent, a publisher no Flask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import VERSION

if TYPE_CHECKING:
    from .config import Settings
    from .errors import BideError
    from .factory import create_app
    from .publisher import Publisher
    from .stores import open_store

__version__ = VERSION

_MODULES = {
    "BideError": ".errors",
    "Publisher": ".publisher",
    "Settings": ".config",
    "create_app": ".factory",
    "open_store": ".stores",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["BideError", "Publisher", "Settings", "create_app", "open_store"]
