"""A client behind its adapter, as a program that is told what to do and heard."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: A cold start imports everything once, on a machine that is busy; and ends no faster.
START_SECONDS = 30.0

Line = dict[str, Any]


class CaseFailed(Exception):
    """What was wrong, in sentences."""


class Program:
    """A client behind its adapter: lines of JSON to it and from it (README.md)."""

    def __init__(self, command: Sequence[str], hear: Callable[[Line], None]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the program is
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._hear = hear
        self.heard: list[Line] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, **line: Any) -> None:
        try:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise CaseFailed(f"the program ended before it was told to {line['do']}") from None

    def has_said(self, word: str) -> bool:
        return any(word in line for line in self.heard)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> int | None:
        """Its exit code, once it ended by itself; None if it had to be killed."""
        self._process.stdin.close()
        try:
            return self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:]

    def _read(self) -> None:
        for line in self._process.stdout:
            said = json.loads(line)
            self.heard.append(said)
            self._hear(said)
