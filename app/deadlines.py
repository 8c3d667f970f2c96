"""When polls must end, kept for all of them by one timer of the event loop.

A timer for each poll costs it 0.6 KiB and 10 µs. Here the time is cut into steps; a poll is filed under the step in
which its time is up, and one timer wakes a step's polls together. A poll so ends up to `STEP_SECONDS` late.
"""

from __future__ import annotations

import heapq
import logging
import time
from typing import Any, Final, Protocol

from gevent import get_hub

log = logging.getLogger("bide")

STEP_SECONDS: Final = 0.02


class Sleeper(Protocol):
    """Who is woken. The call is made by the event loop: it must not switch greenlets."""

    def rouse(self) -> None: ...


class Deadlines:
    """The deadlines of one process, on the clock of `time.monotonic`. Shared by all its greenlets."""

    def __init__(self) -> None:
        self._steps: dict[int, dict[Sleeper, None]] = {}
        self._order: list[int] = []  # a heap of the steps above; there may be none waiting in one of them
        self._timer: Any = None

    def __len__(self) -> int:
        return sum(map(len, self._steps.values()))

    def add(self, deadline: float, sleeper: Sleeper) -> int:
        """Rouse the sleeper once the deadline has passed, unless it is removed. Returns the step, for `remove`."""
        step = int(deadline / STEP_SECONDS) + 1
        sleepers = self._steps.get(step)
        if sleepers is None:
            sleepers = self._steps[step] = {}
            heapq.heappush(self._order, step)
            if self._order[0] == step:
                self._set_timer()
        sleepers[sleeper] = None
        return step

    def remove(self, step: int, sleeper: Sleeper) -> None:
        sleepers = self._steps.get(step)
        if sleepers is not None:
            sleepers.pop(sleeper, None)

    def close(self) -> None:
        """Rouse nobody any more."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _set_timer(self) -> None:
        self.close()
        loop = get_hub().loop
        # The loop counts from the moment at which its turn began, which was before now.
        loop.update_now()
        self._timer = loop.timer(max(0.0, self._order[0] * STEP_SECONDS - time.monotonic()))
        self._timer.start(self._ring)

    def _ring(self) -> None:
        now = time.monotonic()
        while self._order and self._order[0] * STEP_SECONDS <= now:
            for sleeper in self._steps.pop(heapq.heappop(self._order)):
                try:
                    sleeper.rouse()
                except Exception:  # whatever it was: the others' time is up too
                    log.exception("what was to happen at a deadline failed")
        if self._order:
            self._set_timer()
