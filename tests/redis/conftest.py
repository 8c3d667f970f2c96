"""Real servers of Redis' protocol, one for each test.

Every run has what EVERY_RUN names, each on one of the two servers: test_chaos.py, which does everything that can happen
once, and what that does not show. All the others, each of one kind of fault, and longer forms have --long.
"""

import pytest

from tests.support.redis_servers import RedisServer, binaries

EVERY_RUN = {
    "test_two_servers_are_one_over_tls",
    "test_a_server_that_nobody_vouches_for_is_not_used",
    "test_without_faults_each_has_each_event_once_and_no_stream_is_read_again",
    "test_whatever_happens_nothing_is_lost_doubled_or_disordered_and_what_redis_loses_is_told",
    "test_a_server_without_memory_refuses_until_it_has_some",
    "test_a_token_that_is_revoked_on_one_machine_while_its_poll_is_parked_on_the_other",
    "test_while_the_server_is_away_polls_are_held_and_publishes_refused",
    "test_two_workers_share_a_limit_and_divide_it_while_the_server_is_away",
}


@pytest.hookimpl(tryfirst=True)  # before the long forms are left out
def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/redis/" in item.path.as_posix() and item.originalname not in EVERY_RUN:
            item.add_marker(pytest.mark.long)


@pytest.fixture(params=["redis", "valkey"])
def binary(request):
    found = binaries()[request.param]
    assert found, f"scripts/test installs {request.param}"
    return found


@pytest.fixture
def redis_server(binary, tmp_path):
    with RedisServer(binary, tmp_path / "redis") as server:
        yield server
