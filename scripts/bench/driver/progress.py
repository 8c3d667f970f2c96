"""How far it is: a bar on a terminal, else a line for each step."""

import sys
import time


class Progress:
    def __init__(self, total, stream=None):
        self._stream = stream or sys.stderr
        self._total, self._done, self._begun = total, 0, time.monotonic()

    def step(self, what):
        """Says what begins now."""
        if self._stream.isatty():
            full = 30 * self._done // self._total
            bar = "#" * full + "-" * (30 - full)
            self._stream.write(f"\r\x1b[K[{bar}] {self._done}/{self._total} {self._left()}{what}")
        else:
            self._stream.write(f"{self._done + 1}/{self._total} {what}\n")
        self._stream.flush()
        self._done += 1

    def _left(self):
        if not self._done:
            return ""
        left = (time.monotonic() - self._begun) / self._done * (self._total - self._done)
        return f"{int(left) // 60}:{int(left) % 60:02} left, "

    def end(self):
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")
            self._stream.flush()
