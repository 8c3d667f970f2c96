"""Bide's Python client plays every case."""

import pytest

from .cases import all_cases
from .company import adapter, play_all


@pytest.fixture(scope="module")
def played(request):
    """Those that were asked for, all under way at the same time."""
    items = [item for item in request.session.items if item.path == request.path]
    return play_all([item.callspec.params["case"] for item in items], adapter("python_client"))


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_the_python_client_plays(case, played):
    played[case.name].result()
