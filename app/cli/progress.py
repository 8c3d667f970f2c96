"""How far a long publish has come, drawn on a terminal's standard error."""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import Any, Final

from .output import Output, rich_for

#: What is over sooner needs none.
LONG_SECONDS: Final = 1.0


class Progress:
    """Of events that are read from the descriptor `number`. Where `output` is a terminal the ids there tell enough."""

    def __init__(self, number: int, output: Output) -> None:
        self._number = number
        self._begins_at = float("inf") if output.is_terminal else time.monotonic() + LONG_SECONDS
        self._bar: Any = None

    def tell(self, events: int) -> None:
        if self._bar is None:
            if time.monotonic() < self._begins_at:
                return
            self._begins_at = float("inf")
            self._begin()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._place(), events=events)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _begin(self) -> None:
        rich = rich_for(sys.stderr, "rich.progress")
        if rich is None:
            return
        status = os.fstat(self._number)
        self._is_file = stat.S_ISREG(status.st_mode)
        self._bar = rich.Progress(
            rich.TextColumn("{task.fields[events]:,} events"),
            rich.BarColumn(),
            *([rich.TaskProgressColumn(), rich.TimeRemainingColumn()] if self._is_file else [rich.TimeElapsedColumn()]),
            console=rich.Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=status.st_size if self._is_file else None, events=0)
        self._bar.start()

    def _place(self) -> int:
        return os.lseek(self._number, 0, os.SEEK_CUR) if self._is_file else 0
