"""Counters that processes share on a Redis server, for limits."""

import subprocess
import sys
import time

import pytest

from app.errors import StoreUnavailable
from app.stores import open_store
from tests.support.servers import ROOT, environment


@pytest.mark.parametrize("server", ["redis", pytest.param("valkey", marks=pytest.mark.long)], indirect=True)
class TestOnAServer:
    def test_processes_add_to_the_same_numbers_and_stores_of_other_prefixes_to_others(self, new_url, joined):
        url = new_url()
        one, other = (joined(url).counters() for _ in range(2))
        assert [one.incr("a", 60, 2), other.incr("a", 60, 3), one.incr("b", 60, 1), one.incr("a", 60, 0)] == [
            2,
            5,
            1,
            5,
        ]
        assert joined(new_url()).counters().incr("a", 60, 1) == 1

    def test_each_number_is_gone_in_its_time(self, server, redis_url, joined):
        counters = joined(redis_url).counters()
        prefix = redis_url.partition("prefix=")[2]
        counters.incr("long", 600, 1)
        counters.incr("long", 600, 1)
        counters.incr("nothing", 600, 0)
        counters.incr("short", 1, 1)
        with server.client as client:
            for name in ("long", "nothing"):
                assert 590 < client.ttl(f"{{{prefix}}}:rates:{name}") <= 600
        deadline = time.monotonic() + 20
        while counters.incr("short", 1, 0) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert time.monotonic() < deadline

    def test_a_script_that_the_server_forgot_is_told_again(self, server, redis_url, joined):
        counters = joined(redis_url).counters()
        counters.incr("a", 60, 1)
        with server.client as client:
            client.script_flush()
        assert counters.incr("a", 60, 1) == 2

    def test_who_only_publishes_does_without_the_library(self, redis_url):
        code = f"import sys, app.stores as s; s.open_store({redis_url!r}); print('limits' in sys.modules)"
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment(PYTHONPATH=ROOT), capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == "False"


def test_a_server_that_is_away_is_told_as_one(own_server, joined):
    redis = own_server()
    counters = joined(redis.url).counters()
    assert counters.incr("a", 60, 1) == 1
    redis.kill()
    with pytest.raises(StoreUnavailable):
        counters.incr("a", 60, 1)
    redis.start()
    assert counters.incr("a", 60, 1) == 1


def test_stores_of_one_machine_have_none(tmp_path):
    for url in ("memory://", f"sqlite:///{tmp_path}/bide.db"):
        store = open_store(url)
        assert store.counters() is None
        store.close()
