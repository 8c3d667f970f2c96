"""Lines on standard output, each of which is out when the call returns, and what is drawn on a terminal.

Written past Python's buffers: what a buffer still holds when the reader has gone would be told as an error at exit,
and would hold the exit up where the reader is stuck.
"""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from ..client import Event

#: What would steer a terminal rather than be seen on it.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def text_of(message: Any) -> str:
    """A message as a line: a text as it is, other JSON compact."""
    return message if isinstance(message, str) else compact(message)


def line_of(event: Event, *, is_json: bool) -> str:
    """An event as a line: its message, or with `is_json` all of it."""
    if not is_json:
        return text_of(event.message)
    told = {"id": event.id, "channel": event.channel, "message": event.message, "timestamp": event.timestamp}
    return compact(told if event.type is None else told | {"type": event.type})


def visible(text: str) -> str:
    """A text for a terminal, which it cannot steer."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


class Output:
    """Standard output. Where it was closed from the start what is written goes nowhere."""

    def __init__(self) -> None:
        self._number = None if sys.stdout is None else sys.stdout.fileno()
        #: Somebody waits until there is room for a line.
        self.is_writing = False

    @property
    def number(self) -> int | None:
        """Its descriptor."""
        return self._number

    @property
    def is_terminal(self) -> bool:
        return self._number is not None and os.isatty(self._number)

    def line(self, text: str) -> None:
        """Write a text and the end of its line. Raises BrokenPipeError where nobody reads it."""
        if self._number is None:
            return
        if self.is_terminal:
            text = visible(text)
        data = memoryview(f"{text}\n".encode(errors="backslashreplace"))
        self.is_writing = True
        try:
            while data:
                data = data[os.write(self._number, data) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise click.ClickException(f"standard output cannot be written to: {error.strerror}") from error
        finally:
            self.is_writing = False


def rich_for(stream: Any, module: str) -> Any:
    """A module of rich where the stream is a terminal and rich is installed, else None."""
    if stream is None or not stream.isatty() or find_spec("rich") is None:
        return None
    return import_module(module)
