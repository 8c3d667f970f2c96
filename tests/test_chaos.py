"""`scripts/chaos`: how it is called, and what its table finds wrong. What it does is in tests/redis/test_chaos.py."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.chaos.faults import Kind
from tests.chaos.table import Outcome, Row
from tests.support.servers import ROOT
from tests.support.verdict import Verdict


@pytest.mark.parametrize(
    "options",
    [[], ["--minutes", "x"], ["--minutes", "0"], ["--minutes", "1", "--on", "mysql"], ["--minutes", "1", "a"]],
)
def test_wrong_options_are_told_in_one_line(options):
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *options], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("scripts/chaos: ")
    assert done.stderr.count("\n") == 1


def outcome(*, in_flight=(1, 2), forced=("hit", "reads"), **found):
    """Of one phase with one kind of fault, which ought to make streams be read."""
    row, verdict, its = Row(Kind(int, ("reads",))), Verdict(), Outcome()
    row.in_flight += in_flight
    row.forced += Counter(forced)
    its.rows[False]["a fault"] = row
    for kind, count in found.items():
        verdict.find(kind, count, "somewhere")
    its.take(False, verdict, Counter(publishes=1), "a phase")
    return its


def test_a_run_in_which_each_fault_was_one_and_nothing_was_found_is_well():
    assert outcome().faults() == []


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"lost": 1}, "a phase: lost: 1 somewhere"),
        ({"in_flight": ()}, "a fault: was not injected"),
        ({"in_flight": (3, 0)}, "a fault: came while no publish was in flight"),
        ({"forced": ("reads",)}, "a fault: forced nothing: hit"),
        ({"forced": ("hit",)}, "a fault: forced nothing: reads"),
    ],
)
def test_what_is_wrong_is_told(what, told):
    assert outcome(**what).faults() == [told]
    assert "a fault" in outcome(**what).table("a title")


def test_a_phase_in_which_redis_lost_nothing_shows_nothing():
    its = outcome()
    its.rows[True] = its.rows[False]
    assert its.faults() == ["nothing was lost where something may be"]
