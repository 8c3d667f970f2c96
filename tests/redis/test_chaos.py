"""Everything that can happen to two servers of two workers on one Redis server, once: `scripts/chaos` in short.

Each run has it on one of the two kinds of server; tests/redis/conftest.py.
"""

import time

import pytest

from tests.chaos.phases import Phase
from tests.chaos.table import Outcome
from tests.support.redis_servers import on


@pytest.mark.timeout(300)
@on("redis")
def test_whatever_happens_nothing_is_lost_doubled_or_disordered_and_what_redis_loses_is_told(
    binary, tmp_path, record_property
):
    outcome, begun = Outcome(), time.monotonic()
    for loses in (False, True):
        folder = tmp_path / ("losing" if loses else "keeping")
        folder.mkdir()
        phase = Phase(binary, folder, 1, loses=loses, brief=True, say=print)
        outcome.take(loses, phase.run(outcome.rows[loses]), phase.figures(), folder.name)
    record_property("table", outcome.table(f"everything once, {time.monotonic() - begun:.0f} s"))
    assert not outcome.faults(), "\n".join(outcome.faults())
