"""`open_store(url)`: the only place that knows which stores exist."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

from ..config import Policy
from ..errors import SettingsError
from .base import Clock, Store
from .memory import MemoryStore
from .sqlite import SQLiteStore

_REDIS = ("redis", "rediss", "unix")
_SYNCHRONOUS = {"": False, "synchronous=normal": False, "synchronous=full": True}


def open_store(url: str, policy: Policy | None = None, clock: Clock = time.time) -> Store:
    """Open the store at `url`, making it where it does not exist.

    `sqlite:///relative/path`, `sqlite:////absolute/path` (percent-decoded; `?synchronous=full` makes every append wait
    for the disk), `redis://host:6379/0`, `rediss://`, `unix:///path` (each with redis-py's options, and `?prefix=` for
    the names of keys), or `memory://`. With a `policy` the store keeps by it from now on; without one its own is taken,
    as the server wrote it. `clock` gives Unix seconds; without one a Redis server's own is used.
    Raises SettingsError for a URL that is none of these or a file that is none of Bide's, StoreUnavailable for one
    that cannot be opened now.
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest:
        return MemoryStore(policy or Policy(), clock)
    path = sqlite_path(url)
    if path is not None:
        return SQLiteStore(path, policy, clock, durable=_SYNCHRONOUS[url.partition("?")[2]])
    if scheme in _REDIS and separator and rest:
        try:
            # Only now: it is an extra, and who does without has no redis-py.
            module = import_module(".redis", __package__)
        except ModuleNotFoundError as error:
            raise SettingsError(f"BIDE_STORE={scheme}:// needs {error.name}: install bide[redis]") from None
        opened: Store = module.RedisStore(url, policy, None if clock is time.time else clock)
        return opened
    raise SettingsError(
        f"BIDE_STORE={_shown(url)!r} cannot be used: give sqlite:///relative/path, sqlite:////absolute/path "
        "(and ?synchronous=full after it, to survive a loss of power), redis://host:6379/0, rediss://, unix:///path "
        "or memory://"
    )


def _shown(url: str) -> str:
    """As it may be said: without what is likely a password."""
    return url if "@" not in url else url.partition(":")[0] + ":…"


def sqlite_path(url: str) -> Path | None:
    """The file of a `sqlite://` URL, None for one that names none."""
    scheme, _, rest = url.partition("://")
    path, _, option = rest.partition("?")
    well_formed = scheme == "sqlite" and path.startswith("/") and len(path) > 1 and "%00" not in path
    return Path(unquote(path[1:])) if well_formed and option in _SYNCHRONOUS else None


__all__ = ["Store", "open_store", "sqlite_path"]
