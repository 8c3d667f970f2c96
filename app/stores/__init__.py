"""`open_store(url)`: the only place that knows which stores exist."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import unquote

from ..config import Policy
from ..errors import SettingsError
from .base import Clock, Store
from .memory import MemoryStore
from .sqlite import SQLiteStore

_SYNCHRONOUS = {"": False, "synchronous=normal": False, "synchronous=full": True}


def open_store(url: str, policy: Policy | None = None, clock: Clock = time.time) -> Store:
    """Open the store at `url`, making it where it does not exist.

    `sqlite:///relative/path`, `sqlite:////absolute/path` (percent-decoded; `?synchronous=full` makes every append wait
    for the disk) or `memory://`. With a `policy` the store
    keeps by it from now on; without one a file's own is taken, as the server wrote it. `clock` gives Unix seconds.
    Raises SettingsError for a URL that is none of these or a file that is none of Bide's, StoreUnavailable for one
    that cannot be opened now.
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest:
        return MemoryStore(policy or Policy(), clock)
    path = sqlite_path(url)
    if path is not None:
        return SQLiteStore(path, policy, clock, durable=_SYNCHRONOUS[url.partition("?")[2]])
    raise SettingsError(
        f"BIDE_STORE={url!r} cannot be used: give sqlite:///relative/path, sqlite:////absolute/path "
        "(and ?synchronous=full after it, to survive a loss of power) or memory://"
    )


def sqlite_path(url: str) -> Path | None:
    """The file of a `sqlite://` URL, None for one that names none."""
    scheme, _, rest = url.partition("://")
    path, _, option = rest.partition("?")
    well_formed = scheme == "sqlite" and path.startswith("/") and len(path) > 1 and "%00" not in path
    return Path(unquote(path[1:])) if well_formed and option in _SYNCHRONOUS else None


__all__ = ["Store", "open_store", "sqlite_path"]
