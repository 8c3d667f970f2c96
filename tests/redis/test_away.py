"""A Redis server that is away, or not heard, for some seconds: nobody is deaf, nobody is sent away, nobody is busy."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.clients import Herd, Line, publication, subscription
from tests.support.redis_servers import RedisServer, on
from tests.support.servers import Server, await_that
from tests.support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.timeout(200)

POLLS = 30


def said(server):
    """What the server's workers wrote of the store."""
    return [line.partition("the Redis store ")[2] for line in server.output().splitlines() if "Redis store" in line]


def is_ready(server):
    return server.get("/readyz")[0] == 200


def cpu_seconds(pid):
    """What a process has used of the processors so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(("deaf", "red"), [(1.5, 4), pytest.param(5, 15, marks=pytest.mark.long)])
@on("redis")
def test_a_worker_that_hears_nothing_serves_polls_and_is_red_only_where_it_lasts(redis_server, tmp_path, deaf, red):
    times = {"TEST_DEAF_SECONDS": deaf, "TEST_RED_SECONDS": red}
    with (
        TcpProxy(redis_server.port) as proxy,
        Server(tmp_path / "silent", inspected=True, env={"BIDE_STORE": proxy.url} | times) as silent,
        Server(tmp_path / "other", inspected=True, env={"BIDE_STORE": redis_server.url} | times) as other,
        Line(silent) as line,
    ):
        id = other.publish("a", 0)
        begun = time.monotonic()
        for number in range(5):
            line.send(subscription("a", id))
            await_that(lambda: silent.counts()["waiters"] == 1)
            if number == 0:
                proxy.only_pubsub, proxy.swallows = True, {"down"}
                begun = time.monotonic()
            id = other.publish("a", number)
            assert line.answer(within=10).json()["id"] == id
            if time.monotonic() - begun < red - 1:
                assert is_ready(silent)
        assert proxy.swallowed
        await_that(lambda: not is_ready(silent))
        assert time.monotonic() - begun > red - 1.5
        assert is_ready(other)
        proxy.heal()
        await_that(lambda: is_ready(silent) and len(said(silent)) > 1)
        lines = [line for line in silent.output().splitlines() if "Redis" in line]
        assert ["not heard" in line for line in lines] == [True, False], lines
        assert "heard again" in lines[1]
        assert not said(other)


@pytest.mark.parametrize("how", ["killed", pytest.param("stopped", marks=pytest.mark.long)])
@pytest.mark.parametrize("seconds", [3, pytest.param(10, marks=pytest.mark.long)])
@on("valkey")
def test_while_the_server_is_away_polls_are_held_and_publishes_refused(binary, tmp_path, how, seconds):
    store = RedisServer(binary, tmp_path / "redis", appendonly="yes", appendfsync="always")
    env = {"BIDE_STORE": store.url}
    with (
        store,
        Server(tmp_path / "one", workers=2, inspected=True, env=env) as one,
        Server(tmp_path / "two", workers=2, inspected=True, env=env) as two,
        Herd(one) as first,
        Herd(two) as second,
    ):
        servers, herds = (one, two), (first, second)
        cursor = one.publish("a", 0)
        for herd in herds:
            herd.add(subscription("a", cursor), POLLS)
        await_that(lambda: json.loads(one.get("/channels")[2])["channels"][0]["subscribers"] == 2 * POLLS)
        pids = [pid for server in servers for pid in server.worker_pids()]
        used = {pid: cpu_seconds(pid) for pid in pids}
        request = publication("a", [1], "Idempotency-Key: once")
        store.kill() if how == "killed" else store.signal(signal.SIGSTOP)
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            for server in servers:
                with Line(server) as line:
                    answer = line.ask(request)
                assert answer.status == 503, answer.body
                assert int(answer.headers[b"retry-after"]) > 0
                assert is_ready(server)
            time.sleep(0.1)
        passed = time.monotonic() - begun
        busy = {pid: (cpu_seconds(pid) - used[pid]) / passed for pid in pids}
        assert max(busy.values()) < 0.25, busy
        store.start() if how == "killed" else store.signal(signal.SIGCONT)
        with Line(one) as line:
            await_that(lambda: line.ask(request).status == 200, step=0.1)
            again = line.ask(request)
        assert b"idempotency-replayed" in again.headers
        id = again.json()["event_id"]
        for herd in herds:
            herd.read(lambda herd=herd: len(herd.answers) == POLLS, within=10)
            assert {answer.json()["id"] for answer in herd.answers} == {id}
        for server in servers:
            await_that(lambda server=server: len(said(server)) >= 4)
            assert sorted(what[:7] for what in said(server)) == ["is away"] * 2 + ["is back"] * 2
