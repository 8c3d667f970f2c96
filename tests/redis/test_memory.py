"""A Redis server that has no memory left, or removes what it holds to have some."""

import contextlib
import json

import pytest

from tests.support.clients import Line, get, publication
from tests.support.crowd import DURABLE
from tests.support.redis_servers import RedisServer, on
from tests.support.scaled_out import ScaledOut
from tests.support.servers import Server

pytestmark = pytest.mark.timeout(300)

#: Of a channel's keys: its stream, and its hash.
PARTS = {"stream": "s", "hash": "h"}


@pytest.mark.parametrize("times", [1, pytest.param(8, marks=pytest.mark.long)])
@pytest.mark.parametrize("part", PARTS)
@on("redis")
def test_what_was_evicted_under_load_is_told(redis_server, tmp_path, part, times):
    with ScaledOut(tmp_path, redis_server.url) as load, contextlib.closing(redis_server.client) as client:
        for channel in ("a", "b") * times:
            load.go_on()
            load.await_publishes()
            assert client.delete(f"{{bide:{channel}}}:{PARTS[part]}")
        load.go_on()
        # Without the hash the stream tells where it ends; that nothing is missing is not proven.
        load.judge(load.settle(), loses=part == "stream", gaps=times)
        if part == "hash":
            assert load.told()
            return
        # Workers' tails still have what was evicted, as far as they reach; who comes with an older cursor is told.
        first = dict(sorted(load.acknowledged(), reverse=True))
        with Line(load.servers[0]) as line:
            for channel in DURABLE:
                page = line.ask(get(f"/channels/{channel}/events?after={first[channel]}")).json()
                assert page["gap"] == (channel in ("a", "b"))


@pytest.mark.parametrize("more", [[], ["{bide}:channels"], ["{bide}:base"], ["{bide}:channels", "{bide}:base"]])
@pytest.mark.parametrize("asked", [True, False])
@on("valkey")
def test_the_whole_of_a_channel_that_was_evicted_is_told(redis_server, tmp_path, asked, more):
    with Server(tmp_path, inspected=True, env={"BIDE_STORE": redis_server.url}) as server:
        first = server.publish("a", 1)
        second = server.publish("a", 2)
        with contextlib.closing(redis_server.client) as client:
            client.delete(*(f"{{bide:a}}:{part}" for part in "shkx"), *more)
        # Neither who had the first of them, nor who had all, is left to believe that nothing came.
        if asked:
            assert server.poll("a", last_event_id=first)["gap"]
            assert server.poll("a", last_event_id=second)["gap"]
        third = server.publish("a", 3)
        assert third > second
        for cursor in first, second:
            answer = server.poll("a", last_event_id=cursor, limit=10)
            assert answer["gap"]
            assert [event["id"] for event in answer["events"]] == [third]
        assert [each["channel"] for each in json.loads(server.get("/channels")[2])["channels"]] == ["a"]


@on("redis")
def test_a_server_without_memory_refuses_until_it_has_some(redis_server, tmp_path):
    with (
        Server(tmp_path, inspected=True, env={"BIDE_STORE": redis_server.url}) as server,
        contextlib.closing(redis_server.client) as client,
        Line(server) as line,
    ):
        first = server.publish("a", 1)
        client.config_set("maxmemory", 1)
        for number in range(30):
            answer = line.ask(publication("a", [2], f"Idempotency-Key: {number % 3}"))
            refused = line.ask(publication("new", [2]))
            for each in answer, refused:
                assert each.status == 503, each.body
                assert int(each.headers[b"retry-after"]) > 0
            assert [event["id"] for event in server.poll("a", last_event_id=0, limit=10)["events"]] == [first]
        client.config_set("maxmemory", 0)
        ids = {line.ask(publication("a", [2], "Idempotency-Key: 0")).json()["event_id"] for _ in range(3)}
        assert [event["id"] for event in server.poll("a", last_event_id=0, limit=10)["events"]] == [first, *ids]
        lines = [line for line in server.output().splitlines() if "Redis" in line]
        assert ["refuses" in line for line in lines] == [True], lines


@on("valkey")
def test_what_a_server_evicts_for_want_of_memory_is_told(binary, tmp_path):
    """Channels older than those in use are evicted, with the keys of all; who comes back to one is told of a gap."""
    store = RedisServer(binary, tmp_path / "redis", maxmemory="12mb", maxmemory_policy="allkeys-lru")
    with (
        store,
        Server(tmp_path / "server", inspected=True, env={"BIDE_STORE": store.url}) as server,
        contextlib.closing(store.client) as client,
        Line(server) as line,
    ):
        cursors = {}
        number = 0
        while client.info("stats")["evicted_keys"] < 100:
            channel = f"c{number}"
            cursors[channel] = [line.ask(publication(channel, ["x" * 20_000])).json()["event_id"] for _ in range(2)]
            number += 1
            assert number < 3000
        gaps = whole = 0
        for channel, (first, second) in cursors.items():
            answer = server.poll(channel, last_event_id=first, limit=10)
            if [event["id"] for event in answer["events"]] == [second]:
                whole += 1
            else:
                assert (answer["gap"], answer["events"]) == (True, []), channel
                gaps += 1
        assert min(gaps, whole) > 5, (gaps, whole)
