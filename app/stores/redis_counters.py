"""Counters on the Redis server, by the scripts of the library limits and over the store's own connections.

limits' RedisStorage would make a client of redis-py, with its own pool and defaults, which `redis_link.py` has not: a
server that does not answer would be waited for without end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from limits.storage.base import Storage
from limits.storage.redis import RedisStorage

from ..errors import StoreUnavailable
from .redis_keys import Keys
from .redis_link import Link, Script


class RedisCounters(RedisStorage):
    """limits' counters, each with its expiry, below the store's prefix."""

    def __init__(self, link: Link, keys: Keys) -> None:
        Storage.__init__(self)
        self.key_prefix = keys.rates.decode()
        script = Script(self.SCRIPT_INCR_EXPIRE)

        def run(keys: Sequence[str], arguments: Sequence[Any]) -> Any:
            return link.run(script, [key.encode() for key in keys], *arguments)

        run_as: Callable[..., Any] = run
        self.lua_incr_expire = run_as  # type: ignore[assignment]  # all that is asked of redis-py's object is to be called

    @property
    def base_exceptions(self) -> type[Exception]:
        return StoreUnavailable
