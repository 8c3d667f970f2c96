"""`--exec`: a shell command that is run for each event, until it succeeds."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Final

from ..client import Event
from ..client.backoff import Backoff
from .asking import note
from .stopping import Stopping

#: Most of the real-time ones have none.
_NAMES: Final = {each.value: each.name for each in signal.Signals}


class Executing:
    """Runs `command`, which gets a line on its standard input and what else there is of the event in variables."""

    def __init__(self, command: str, stopping: Stopping) -> None:
        self._command = command
        self._stopping = stopping

    def __call__(self, event: Event, line: str) -> bool:
        """Whether it succeeded, rather than that this process was asked to end."""
        backoff = Backoff()
        while (trouble := self._run(event, line)) is not None:
            told = f"event {event.id} of {event.channel}: the command {trouble}"
            if self._stopping.is_asked:
                note(f"{told}; it is not done")
                return False
            pause = backoff.seconds()
            note(f"{told}; again in {pause:.1f} s")
            if self._stopping.wait(pause):
                return False
        return True

    def _run(self, event: Event, line: str) -> str | None:
        """What was wrong, None where it succeeded."""
        # One that runs below another command's --exec would else be told that one's type.
        env = {name: text for name, text in os.environ.items() if name != "BIDE_TYPE"}
        env["BIDE_CHANNEL"] = event.channel
        env["BIDE_EVENT_ID"] = str(event.id)
        env["BIDE_TIMESTAMP"] = str(event.timestamp)
        if event.type is not None:
            env["BIDE_TYPE"] = event.type
        try:
            code = subprocess.run(
                ["/bin/sh", "-c", self._command], input=f"{line}\n".encode(errors="replace"), env=env, check=False
            ).returncode
        except OSError as error:
            return f"cannot be run: {error.strerror}"
        if code == 0:
            return None
        if code < 0:
            return f"was ended by {_NAMES.get(-code, f'signal {-code}')}"
        return f"ended with {code}"
