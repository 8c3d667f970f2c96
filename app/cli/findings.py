"""What `bide check` finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `figures` are its numbers for programs."""

    level: Level
    name: str
    text: str
    figures: dict[str, object] = field(default_factory=dict)


class Stop(Exception):
    """What was found leaves nothing to look at."""


def ms(seconds: float) -> str:
    """A time as people read it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
