"""The network between the servers and Redis fails in its ways, under load: nothing acknowledged is lost, doubled or
disordered, and ten seconds after it works again no worker is deaf."""

import contextlib
import random
import time

import pytest

from tests.support.redis_servers import on
from tests.support.scaled_out import ScaledOut
from tests.support.servers import await_that
from tests.support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.timeout(300)

LONG = pytest.param(20, marks=pytest.mark.long)


@contextlib.contextmanager
def loaded(server, folder, **env):
    """A proxy, and a load through it."""
    with TcpProxy(server.port) as proxy, ScaledOut(folder, proxy.url, **env) as load:
        load.go_on()
        load.await_publishes()
        yield proxy, load


@pytest.mark.parametrize("seconds", [1.5, LONG])
@on("redis")
def test_a_slow_network_costs_nobody_an_event(redis_server, tmp_path, seconds):
    with TcpProxy(redis_server.port) as proxy:
        proxy.delay = 0.05  # from the first reads and subscriptions on, which cross what is published
        with ScaledOut(tmp_path, proxy.url) as load:
            time.sleep(seconds)
            load.go_on()
            proxy.heal()  # who is far behind by now reads one event at a time
            load.judge(load.settle())
            assert proxy.delayed > 50
            forced = load.forced()
            assert (forced["rereads"], forced["reconnects"]) == (0, 0)


@pytest.mark.parametrize("times", [20, pytest.param(250, marks=pytest.mark.long)])
@on("valkey")
def test_connections_that_are_cut_cost_nobody_an_event(redis_server, tmp_path, times):
    chance = random.Random(6)
    with loaded(redis_server, tmp_path) as (proxy, load):
        for _ in range(times):
            load.await_publishes()
            proxy.cut(0.4)
            time.sleep(chance.uniform(0, 0.15))
        load.go_on()
        load.judge(load.settle())
        assert proxy.cuts > times
        assert load.forced()["reconnects"] >= times // 2


@pytest.mark.parametrize("seconds", [1.5, LONG])
@on("redis")
def test_answers_that_are_torn_cost_nobody_an_event(redis_server, tmp_path, seconds):
    with loaded(redis_server, tmp_path) as (proxy, load):
        proxy.truncates = 0.05
        time.sleep(seconds)
        proxy.heal()
        load.go_on()
        load.judge(load.settle())
        assert proxy.truncated > 5
        assert load.forced()["reconnects"] > 0


@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.long)])
@pytest.mark.parametrize("way", ["up", "down"])
@on("valkey")
def test_connections_that_are_open_one_way_only_leave_nobody_deaf(redis_server, tmp_path, way, times):
    with loaded(redis_server, tmp_path, TEST_DEAF_SECONDS=1.5) as (proxy, load):
        for _ in range(times):
            enough = proxy.swallowed + 10
            load.await_publishes()
            proxy.swallows = {way}
            await_that(lambda enough=enough: proxy.swallowed > enough)
            proxy.heal()  # for new connections: the old ones stay as they are
            load.go_on(within=10)
        load.judge(load.settle())
        # Upwards nothing passes on the connections that listen, whose words of their own get lost before. A worker that
        # is between two connections when the next fault comes has none to lose.
        assert load.forced()["reconnects"] >= (2 + 2 * times if way == "down" else 0)
        assert sum(job.refusals for job in load.ledger.jobs)
