"""What happens to a Redis server, or to the connections with it, under load: nothing acknowledged is lost, doubled or
disordered, and what the server itself has lost is told as a gap.

Each fault hits while publishes are on their way. The form that is run each time is short, on one of the two servers.
"""

import contextlib
import json
import math
import os
import random
import signal
import time

import pytest

from tests.support.redis_servers import RedisServer, on
from tests.support.scaled_out import ScaledOut
from tests.support.servers import await_that

pytestmark = pytest.mark.timeout(300)

#: Workers take so much silence for a dead connection, where a test would have to wait for five seconds.
SOON = {"TEST_DEAF_SECONDS": 1.5}


@on("redis")
def test_without_faults_each_has_each_event_once_and_no_stream_is_read_again(redis_server, tmp_path):
    # No housekeeping meanwhile: its calls of scripts are not to be told from others.
    with ScaledOut(tmp_path, redis_server.url, TEST_SWEEP_SECONDS=600) as load:
        load.go_on(50)
        with load.pause():
            before, jobs, delivered, begun_at = redis_server.calls(), load.done(), load.delivered(), time.monotonic()
        load.go_on(150)
        with load.pause():
            calls, jobs = redis_server.calls() - before, load.done() - jobs
            delivered, seconds = load.delivered() - delivered, time.monotonic() - begun_at
        load.judge(load.settle())
        forced = load.forced()
        assert (forced["rereads"], forced["reconnects"]) == (0, 0)
        # One call for each publish. Only who was far behind reads a stream; nothing is asked for who is parked.
        assert calls["hget"] == jobs
        assert (calls["evalsha"] - jobs) * 100 < delivered
        assert calls["publish"] <= jobs + 4 * (seconds + 2), "beside the publishes each worker's word to itself"
        assert calls["subscribe"] == calls["unsubscribe"] == 0


@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=pytest.mark.long)])
@on("valkey")
def test_connections_that_are_killed_at_random_cost_nobody_an_event(redis_server, tmp_path, kills):
    chance = random.Random(5)
    with ScaledOut(tmp_path, redis_server.url) as load, contextlib.closing(redis_server.client) as client:
        killed = 0
        for _ in range(kills):
            kind = chance.choice(["pubsub", "pubsub", "normal"])
            load.await_publishes()
            killed += client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            time.sleep(chance.uniform(0, 0.1))
        load.go_on()
        # What comes last comes while nobody is subscribed: nothing follows by which it could be missed.
        load.await_publishes()
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
        load.judge(load.settle())
        assert killed > kills
        assert load.forced()["reconnects"] >= kills // 2


@pytest.mark.parametrize(("fsync", "times"), [("always", 2), pytest.param("always", 10, marks=pytest.mark.long)])
@on("redis")
def test_a_server_that_is_killed_and_started_again_loses_nothing(binary, tmp_path, fsync, times):
    killed_and_started_again(binary, tmp_path, fsync, times)


@pytest.mark.parametrize(("fsync", "times"), [("everysec", 2), pytest.param("everysec", 10, marks=pytest.mark.long)])
@on("valkey")
def test_what_a_server_that_is_killed_had_not_written_is_told(binary, tmp_path, fsync, times):
    killed_and_started_again(binary, tmp_path, fsync, times)


def killed_and_started_again(binary, folder, fsync, times):
    server = RedisServer(binary, folder / "redis", appendonly="yes", appendfsync=fsync)
    with server, ScaledOut(folder, server.url) as load:
        for _ in range(times):
            load.go_on()
            load.await_publishes()
            server.kill()
            if fsync == "everysec":
                # What a machine that goes down with it has not written; a process alone loses nothing.
                server.lose(5000)
            server.start()
        load.go_on()
        load.judge(load.settle(), loses=fsync == "everysec", gaps=times)
        assert load.told()
        assert load.forced()["reconnects"] >= 4 * times


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.long)])
@on("redis")
def test_what_is_flushed_is_told(redis_server, tmp_path, times):
    with ScaledOut(tmp_path, redis_server.url) as load, contextlib.closing(redis_server.client) as client:
        for _ in range(times):
            load.go_on()
            load.await_publishes()
            client.flushall()
        load.go_on()
        # A poll that ends between a flush and the next event tells of it, and one that has that event once more.
        load.judge(load.settle(), loses=True, gaps=math.inf)
        assert load.told()
        assert load.forced()["rereads"]


@pytest.mark.parametrize("times", [10, pytest.param(50, marks=pytest.mark.long)])
@on("valkey")
def test_scripts_that_are_flushed_cost_nobody_an_event(redis_server, tmp_path, times):
    with ScaledOut(tmp_path, redis_server.url) as load, contextlib.closing(redis_server.client) as client:
        loaded = redis_server.calls()["script|load"]
        for _ in range(times):
            load.go_on(20)
            load.await_publishes()
            client.script_flush()
        load.go_on()
        load.judge(load.settle())
        assert redis_server.calls()["script|load"] >= loaded + times
        assert not sum(job.refusals for job in load.ledger.jobs)
        assert load.forced()["rereads"] == 0


@pytest.mark.parametrize("seconds", [3, pytest.param(15, marks=pytest.mark.long)])
@on("redis")
def test_a_server_that_stands_still_for_a_while_costs_nobody_an_event(redis_server, tmp_path, seconds):
    with ScaledOut(tmp_path, redis_server.url, **SOON) as load:
        load.go_on()
        load.await_publishes()
        redis_server.signal(signal.SIGSTOP)
        time.sleep(seconds)
        redis_server.signal(signal.SIGCONT)
        load.go_on()
        load.judge(load.settle())
        assert load.forced()["reconnects"] >= 4


@pytest.mark.parametrize("seconds", [3, pytest.param(8, marks=pytest.mark.long)])
@on("valkey")
def test_a_server_that_is_busy_for_a_while_costs_nobody_an_event(redis_server, tmp_path, seconds):
    with (
        ScaledOut(tmp_path, redis_server.url, **SOON) as load,
        contextlib.closing(redis_server.client) as client,
    ):
        load.go_on()
        load.await_publishes()
        client.execute_command("DEBUG", "SLEEP", seconds)
        load.go_on()
        load.judge(load.settle())
        assert load.forced()["reconnects"] >= 4


@pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.long)])
@on("redis")
def test_a_flood_that_overruns_the_output_buffers_costs_nobody_an_event(binary, tmp_path, times):
    server = RedisServer(binary, tmp_path / "redis", client_output_buffer_limit="pubsub 64kb 32kb 1")
    # Heard by every worker, and of no meaning to it. Each piece is below the limit, or who reads is cut as well.
    topic = "{bide}:controls:0"
    noise = json.dumps({"by": "", "kind": "noise", "data": {"pad": "x" * 30_000}})
    with server, ScaledOut(tmp_path, server.url) as load, contextlib.closing(server.client) as client:
        for _ in range(times):
            load.go_on(20)
            await_that(lambda: client.pubsub_numsub(topic)[0][1] == 4)
            pid = load.servers[0].worker_pids()[0]
            load.await_publishes()
            os.kill(pid, signal.SIGSTOP)
            # The system's buffers take some of it first.
            await_that(lambda: client.publish(topic, noise) < 4, step=0)
            os.kill(pid, signal.SIGCONT)
        load.go_on()
        load.judge(load.settle())
        assert load.forced()["reconnects"] >= times
