"""The black-box suite is whole: each of its tests runs on every target, but for a few that no proxy lets through."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "tests" / "conformance"

TARGETS = {"sqlite", "nginx", "redis-2-workers", "valkey-gevent"}
MOST_DIRECT = 10
KEYLESS = 2


@pytest.fixture(scope="module")
def targets():
    """For each test function of the suite the targets that it runs on, as pytest collects them."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", SUITE]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    found = defaultdict(set)
    for line in result.stdout.splitlines():
        if match := re.match(r"tests/conformance/(\w+\.py::test_\w+)(?:\[(.*)\])?$", line):
            function, parameters = match.groups()
            # Longest first: one target's name begins with another's.
            named = [
                target for target in sorted(TARGETS, key=len, reverse=True) if (parameters or "").startswith(target)
            ]
            found[function].add(named[0] if named else None)
    return found


def marked(mark):
    """The functions that have the mark."""
    pattern = re.compile(f"@pytest.mark.{mark}\n" + r"(?:(?!def ).*\n)*def (test_\w+)")
    return {f"{file.name}::{name}" for file in SUITE.glob("test_*.py") for name in pattern.findall(file.read_text())}


def test_every_test_runs_on_every_target_but_the_direct_ones_not_behind_nginx(targets):
    direct = marked("direct")
    assert len(targets) > 200
    wrong = {
        function: found
        for function, found in targets.items()
        if found != (TARGETS - {"nginx"} if function in direct else TARGETS)
    }
    assert wrong == {}


def test_at_most_ten_tests_are_direct():
    # Each mark is on a function of its own: one on a parameter, a class or a module would escape the count.
    marks = sum(file.read_text().count("mark.direct") for file in SUITE.glob("*.py"))
    assert 0 < marks == len(marked("direct")) <= MOST_DIRECT


def test_what_is_so_only_without_a_key_is_tried_on_every_target_without_one():
    """The targets that have a key are behind nginx, and these are left out there in any case."""
    assert len(marked("keyless")) == KEYLESS
    assert marked("keyless") < marked("direct")
