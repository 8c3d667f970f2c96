"""How a command that goes on for ever is asked to end: by SIGINT, by SIGTERM, or by its reader's going.

What it does at that moment is finished first. A thread learns of it, since a handler of Python's may run while the main
thread holds a lock that ending takes, and since nobody tells a writer that has nothing to write that its pipe has no
reader any more (`bide subscribe news | head -1`).
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from .output import Output

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """It was to end while it waited for room to write; what it wrote is not whole."""


class Stopping:
    """A context, within which `end` is called, once and by a thread, when this process is asked to end. Asked a second
    time it ends at once, by the signal."""

    def __init__(self, output: Output, end: Callable[[], object]) -> None:
        self._output = output
        self._end = end
        self._asked = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until this process is asked to end; whether it was."""
        return self._asked.wait(seconds)

    def __enter__(self) -> Self:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's & have it
                self._before[number] = signal.signal(number, self._meet)
        threading.Thread(target=self._watch, args=(reading,), name="bide-stopping", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        return kind is Stopped

    def _meet(self, number: int, frame: object) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        if self._output.is_writing:
            raise Stopped

    def _watch(self, reading: int) -> None:
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        if self._output.number is not None:
            poll.register(self._output.number, 0)  # errors alone, as that nobody reads it
        poll.poll()
        self._asked.set()
        self._end()
