"""Reads that are asked for at the same moment, done once.

Everybody who waits on a channel reads its stream where its next event follows nothing that they know, as after a
restart of the Redis server: 4,000 polls took 5 seconds for it. They ask for the same.

Who asks joins a read before it begins, never one that is under way: that may have passed what they were woken for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import gevent
from gevent.event import AsyncResult

from ..errors import StoreUnavailable
from .base import Reading


class SharedReads:
    """Calls `read`. It is shared by all greenlets; a call switches them."""

    def __init__(self, read: Callable[..., Reading]) -> None:
        self._read = read
        self._to_begin: dict[tuple[Hashable, ...], AsyncResult[Reading]] = {}

    def __call__(self, *what: Hashable) -> Reading:
        """What `read` returns. Raises StoreUnavailable."""
        result = self._to_begin.get(what)
        if result is None:
            result = self._to_begin[what] = AsyncResult()
            # In a greenlet of its own: whose client hangs up must not take it from the others.
            gevent.spawn(self._run, what, result)
        try:
            reading = result.get()
        except StoreUnavailable as error:
            # One of one's own: the others add to its traceback.
            raise StoreUnavailable(str(error), retry_after=error.retry_after) from error
        assert reading is not None
        return reading

    def _run(self, what: tuple[Hashable, ...], result: AsyncResult[Reading]) -> None:
        del self._to_begin[what]
        try:
            result.set(self._read(*what))
        except Exception as error:
            result.set_exception(error)
