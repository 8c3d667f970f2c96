"""Plays many cases at the same time, since most of a case is waiting."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from .cases import Case
from .player import Player

#: More would make each wait for the others' processors.
AT_ONCE = 10


def adapter(name: str) -> list[str]:
    return [sys.executable, "-m", f"tests.client_conformance.adapters.{name}"]


def play_all(cases: Iterable[Case], command: list[str], patience: float = math.inf) -> dict[str, Future[None]]:
    """By the case's name; those that last longest begin first. No case is waited for longer than `patience`."""
    pool = ThreadPoolExecutor(AT_ONCE)
    longest_first = sorted(cases, key=lambda case: "silence" not in str(case.faults))
    played = {case.name: pool.submit(_play, case, command, patience) for case in longest_first}
    pool.shutdown(wait=False)
    return played


def _play(case: Case, command: list[str], patience: float) -> None:
    Player(case, command, min(case.within, patience)).play()
