"""Workers come and go, of two servers on one Redis server, under load: nobody loses an event, or has one twice."""

import os
import random
import signal

import pytest

from tests.support.proxies import Proxy
from tests.support.redis_servers import on
from tests.support.scaled_out import ScaledOut
from tests.support.servers import await_that, is_running

pytestmark = pytest.mark.timeout(300)

BEHIND = {"BIDE_INSECURE": 1}


@on("redis")
def test_workers_that_are_killed_cost_nobody_an_event(redis_server, tmp_path):
    chance = random.Random(3)
    with ScaledOut(tmp_path, redis_server.url) as load:
        for round in range(4):
            server = load.servers[round % 2]
            pid = chance.choice(server.worker_pids())
            load.await_publishes()
            os.kill(pid, signal.SIGKILL)
            await_that(lambda pid=pid: not is_running(pid))
            load.go_on(20)
            server.await_ready()
        load.judge(load.settle())


@on("valkey")
def test_workers_that_are_reloaded_added_and_removed_behind_nginx_are_not_noticed(redis_server, tmp_path):
    load = ScaledOut(tmp_path, redis_server.url, **BEHIND)
    upstream = "; server ".join("{}:{}".format(*server.address) for server in load.servers)
    with Proxy(tmp_path / "proxy", upstream) as proxy:
        load.doors.servers = [proxy]
        with load:
            first, second = load.servers
            for happens in (first.hup, second.one_more, second.one_less, second.hup):
                load.await_publishes()
                happens()
                load.go_on(20)
            load.judge(load.settle())
        # Nothing was refused, by Bide or by nginx, and nothing was to be asked again.
        assert not sum(job.refusals + job.cuts for job in load.ledger.jobs)
        assert {status for follower in load.followers for status in follower.statuses} == {200}
