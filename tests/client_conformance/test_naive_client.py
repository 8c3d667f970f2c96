"""The naive client shows what the cases are worth: it does the plain ones, and fails most of the others."""

import pytest

from .cases import all_cases
from .company import adapter, play_all
from .player import CaseFailed

CASES = all_cases()
#: What it does, it does at once; what does not come then will not come.
PATIENCE_SECONDS = 10
PLAIN = [case for case in CASES if case.file == "01-plain"]
#: What a client that knows nothing of it runs into shows what went over the wire.
REASONS = {
    "A connection that is reset before the answer is made anew": "ConnectionResetError",
    "A connection that is closed without an answer is made anew": "RemoteDisconnected",
    "An answer that is reset in the middle comes again, whole and once": "Connection broken: ConnectionResetError",
    "An answer that is closed in the middle comes again, whole and once": "IncompleteRead",
    "JSON that ends early is asked for again": "Unterminated string",
    "An answer that is repeated shows nothing twice": "['one', 'one', 'two', 'three']",
    "503 is waited out for as long as it asks": "before it was asked to",
    "Polls that are never held are no reason to hurry": "hot loop",
    "A connection that is dead without a word is given up, and nothing is missed": "it did not come about",
}


@pytest.fixture(scope="module")
def failures(pytestconfig):
    """What was wrong, by the case's name. A normal run plays what is plain, and those of which the reason is known."""
    cases = CASES if pytestconfig.getoption("--long") else [*PLAIN, *(case for case in CASES if case.name in REASONS)]
    played = play_all(cases, adapter("naive"), PATIENCE_SECONDS)
    errors = {name: future.exception() for name, future in played.items()}
    others = [error for error in errors.values() if error is not None and not isinstance(error, CaseFailed)]
    assert others == []
    return {name: str(error) for name, error in errors.items() if error is not None}


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_it_does_what_is_plain(case, failures):
    assert failures.get(case.name) is None


@pytest.mark.long
def test_it_fails_at_least_half_of_the_cases(failures, record_property):
    table = [f"{failures.get(case.name, 'does it').splitlines()[0][:100]:100}  {case.name}" for case in CASES]
    record_property("table", "\n".join([*table, f"fails {len(failures)} of {len(CASES)}"]))
    assert len(failures) >= len(CASES) / 2


def test_each_of_its_failures_is_for_a_reason_that_is_no_accident(failures):
    assert not [name for name, why in failures.items() if "not delivered" in why.splitlines()[0]]


@pytest.mark.parametrize("name", REASONS)
def test_it_fails_for_what_the_case_is_about(name, failures):
    assert REASONS[name] in failures[name].splitlines()[0]
