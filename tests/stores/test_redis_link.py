"""The way to a Redis server: connections that end, a server that is away or refuses, and whose answer is whose."""

import signal
from functools import partial

import gevent
import pytest
from redis.exceptions import MovedError

from app.errors import StoreUnavailable
from app.stores import redis_link, redis_way
from app.stores.base import Key
from app.stores.redis_link import CONNECTIONS, Link

from .support import Ear, eventually, everything, messages, put


def kill_connections(server, *kinds):
    with server.client as client:
        for kind in kinds or ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(redis_link, "ANSWER_SECONDS", 0.2)
    monkeypatch.setitem(redis_link._DEFAULTS, "socket_timeout", 0.2)


class TestConnections:
    def test_one_that_the_server_closed_while_nobody_used_it_is_not_used(self, server, redis_url, joined, caplog):
        store = joined(redis_url)
        for n in range(5):
            put(store, "a", n)
            kill_connections(server)
        assert messages(everything(store, "a")) == list(range(5))
        assert caplog.records == []

    def test_a_script_that_the_server_forgot_is_told_again(self, server, redis_url, joined):
        store = joined(redis_url)
        for n in range(3):
            put(store, "a", n)
            with server.client as client:
                client.script_flush()
            assert messages(everything(store, "a")) == list(range(n + 1))
            with server.client as client:
                client.script_flush()
            assert [info.events for info in store.channels("", "", 9)] == [n + 1]

    def test_more_greenlets_than_connections_are_all_answered(self, redis_url, joined):
        store = joined(redis_url)
        puts = [gevent.spawn(put, store, "ab"[n % 2], n) for n in range(10 * CONNECTIONS)]
        gevent.joinall(puts, timeout=20, raise_error=True)
        assert sorted(messages(everything(store, "a"))) == list(range(0, 10 * CONNECTIONS, 2))
        assert len(store._link._idle) <= CONNECTIONS

    def test_an_answer_to_a_greenlet_that_was_killed_is_nobodys(self, redis_url, joined):
        store = joined(redis_url)
        link = store._link
        for n in range(50):
            asking = gevent.spawn(link.call, b"ECHO", f"dead {n}")
            gevent.sleep(0)  # it has sent its question
            asking.kill()
            assert link.call(b"ECHO", f"alive {n}") == f"alive {n}".encode()
        assert link._turns.counter == CONNECTIONS

    def test_a_connection_whose_answer_is_still_to_come_is_closed(self, server, redis_url, joined):
        link = joined(redis_url)._link
        with server.client as client:
            waiting = gevent.spawn(link.call, b"BLPOP", b"none", 0)
            eventually(lambda: client.info("clients")["blocked_clients"] == 1)
            waiting.kill()
            assert link._idle == []  # redis-py would connect it again, maybe to another run of the server
            assert link.call(b"ECHO", b"next") == b"next"
            eventually(lambda: client.info("clients")["blocked_clients"] == 0)

    def test_an_answer_that_came_too_late_is_nobodys(self, own_server, joined, impatient):
        server = own_server()
        link = Link(server.url)
        link.call(b"PING")
        server.signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            link.call(b"ECHO", b"late")
        server.signal(signal.SIGCONT)
        eventually(partial(answers, link, b"PING"))
        assert link.call(b"ECHO", b"next") == b"next"
        link.close()

    def test_nobody_waits_without_end_behind_others(self, own_server, impatient):
        server = own_server()
        link = Link(server.url)
        link.call(b"PING")
        server.signal(signal.SIGSTOP)
        calls = [gevent.spawn(link.call, b"PING") for _ in range(20 * CONNECTIONS)]
        gevent.joinall(calls, timeout=4)
        server.signal(signal.SIGCONT)
        assert all(isinstance(call.exception, StoreUnavailable) for call in calls)
        eventually(partial(answers, link, b"PING"))
        assert link._turns.counter == CONNECTIONS
        link.close()

    def test_a_closed_link_keeps_no_connection(self, redis_url, joined):
        link = joined(redis_url)._link
        asking = gevent.spawn(link.call, b"PING")
        gevent.sleep(0)
        link.close()
        asking.join()
        assert link._idle == []
        with pytest.raises(StoreUnavailable):
            link.call(b"PING")


def answers(link, *words):
    try:
        return link.call(*words)
    except StoreUnavailable:
        return None


class TestAway:
    def test_it_is_told_once_when_it_goes_and_once_when_it_is_back(self, own_server, joined, caplog, monkeypatch):
        monkeypatch.setattr("app.stores.redis_listener.RED_SECONDS", 0)  # at once
        server = own_server(appendonly="yes", appendfsync="always")
        store = joined(server.url, ear=Ear())
        put(store, "a", 1)
        server.kill()
        calls = (
            lambda: put(store, "a", 2),
            lambda: put(store, "b", 2, key=Key("s", "k", b"1")),
            lambda: everything(store, "a"),
            lambda: store.delete("a"),
            lambda: store.channels("", "", 9),
            lambda: store.announce_control("k", {}),
            store.sweep,
            store.check,
        )
        for call in calls * 3:
            with pytest.raises(StoreUnavailable) as raised:
                call()
            assert raised.value.retry_after
            assert str(server.port) not in raised.value.detail
        assert [record.message.split(":")[0] for record in caplog.records] == ["the Redis store is away"]
        server.start()
        eventually(partial(answers, store._link, b"PING"))
        put(store, "a", 3)
        eventually(lambda: store._hearing.hears)
        assert messages(everything(store, "a", after=0)) == [1]
        assert [record.message for record in caplog.records][1:] == ["the Redis store is back"]

    def test_a_server_that_has_no_room_for_all_connections_does_not_flood_the_log(self, own_server, joined, caplog):
        store = joined(own_server(maxclients=6).url)
        turns = []  # one for each burst in which some were refused and others done

        def burst():
            puts = [gevent.spawn(put, store, "a", 1) for _ in range(2 * CONNECTIONS)]
            gevent.joinall(puts)
            if len({each.successful() for each in puts}) == 2:
                turns.append(puts)
            return len(turns) == 10

        eventually(burst)
        assert put(store, "a", "last")
        said = [record.message.split(":")[0] for record in caplog.records]
        assert said == ["the Redis store is away", "the Redis store is back"]

    def test_one_that_goes_again_at_once_is_told_again(self, own_server, joined, caplog):
        server = own_server()
        store = joined(server.url)
        for times in (1, 2):
            server.kill()
            eventually(lambda times=times: refused(store) and caplog.text.count("is away") == times)
            server.start()
            eventually(lambda: not refused(store))
            assert caplog.text.count("is back") == times

    def test_a_connection_that_is_cut_amid_a_call_is_not_a_server_that_is_away(self, server, redis_url, joined, caplog):
        store = joined(redis_url)
        waiting = gevent.spawn(store._link.call, b"BLPOP", b"none", 0)
        with server.client as client:
            eventually(lambda: client.info("clients")["blocked_clients"])
        kill_connections(server)
        waiting.join(timeout=5)
        assert isinstance(waiting.exception, StoreUnavailable)
        put(store, "a", 1)
        assert caplog.records == []

    def test_a_server_that_is_away_at_the_start_is_told(self, own_server, joined):
        server = own_server()
        server.kill()
        with pytest.raises(StoreUnavailable) as raised:
            joined(server.url)
        assert raised.value.retry_after
        server.start()
        joined(server.url)

    def test_a_server_that_is_too_old_is_told(self, server, redis_url, joined, monkeypatch, caplog):
        monkeypatch.setattr(redis_way, "OLDEST", 1000)
        with pytest.raises(StoreUnavailable):
            joined(redis_url)
        (record,) = caplog.records
        assert "1000 or later" in record.message

    def test_a_server_that_is_a_replica_now_is_asked_again_under_its_name(self, own_server, joined):
        server = own_server()
        store = joined(server.url)
        puts = [gevent.spawn(put, store, "a", n) for n in range(CONNECTIONS)]
        gevent.joinall(puts, raise_error=True)
        with server.client as client:
            client.replicaof("127.0.0.1", 1)
            with pytest.raises(StoreUnavailable):
                put(store, "a", "lost")
            client.replicaof("no", "one")
        assert store._link._idle == []
        kept = put(store, "a", "kept").last_id
        assert messages(store.read_before("a", kept + 1, 1, 2**30)) == ["kept"]

    def test_a_server_that_loads_its_data_is_away(self, own_server, joined, caplog):
        server = own_server(loading_process_events_interval_bytes=1024)
        store = joined(server.url)
        with server.client as client:
            client.execute_command("DEBUG", "POPULATE", 10_000)
            client.config_set("key-load-delay", 100)
            loading = gevent.get_hub().threadpool.spawn(client.execute_command, "DEBUG", "RELOAD")
            eventually(lambda: refused(store))
            loading.get()
        put(store, "a", 1)
        assert [record.message.split(":")[0] for record in caplog.records] == [
            "the Redis store is away",
            "the Redis store is back",
        ]


def test_a_node_of_a_cluster_that_has_few_of_the_channels_is_told_of_once(caplog):
    """It names another node for each of the other slots."""
    link = Link("redis://127.0.0.1:1/0")
    for slot in (7, 99, 1000, 16383):
        raised = link.unavailable(MovedError(f"{slot} 10.0.0.{slot % 256}:6379"))
        assert isinstance(raised, StoreUnavailable)
    (record,) = caplog.records
    assert "7 10.0.0.7:6379" in record.message


def refused(store):
    try:
        everything(store, "a")
    except StoreUnavailable:
        return True
    return False
