"""Processes that share a Redis server: what one did is true for the other, and nothing is left there for ever."""

import time

import pytest

from app.errors import KeyReused, TooManyChannels
from app.publisher import Publisher
from app.stores.base import Key, Revocation

from .support import Ear, everything, messages, names, policy, put, said, sweep


def left_for_ever(server, prefix):
    """Keys without an expiry, and keys that are not below the prefix."""
    with server.client as client:
        found = [name.decode() for name in client.keys("*")]
        return [name for name in found if client.pttl(name) < 0 or not name.startswith("{" + prefix)]


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_the_clock_is_the_servers_also_where_a_machine_is_set_by_an_hour(
    server, redis_url, joined, monkeypatch, seconds
):
    """Or a poll that met nothing would be handed a cursor that lies behind the next event."""
    store = joined(redis_url)
    now, now_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + seconds * 10**9)
    with server.client as client:
        there, micros = client.time()
    assert abs(store.now_us() - (there * 1_000_000 + micros)) < 30e6


class TestExpiry:
    def test_every_key_has_one_and_is_below_the_prefix(self, own_server, joined):
        server = own_server()
        store = joined(f"{server.url}?prefix=p", policy(), ear=Ear(watched=["a"]))
        everything(store, "never")
        assert left_for_ever(server, "p") == []
        put(store, "a", 1, key=Key("s", "k", b"1"))
        put(store, "b", 1)
        assert left_for_ever(server, "p") == []
        store.delete("b")
        store.delete("unknown")
        store.revoke(Revocation("sub", "ann", 0, int(time.time()) + 5))
        store.ask({})
        sweep(store)
        assert left_for_ever(server, "p") == []
        with server.client as client:
            assert len(client.keys("*")) == 11

    def test_events_do_not_go_while_they_are_retained_nor_heads_before_their_time(self, server, redis_url, joined):
        kept = policy(seconds=1_000_000)
        store = joined(redis_url, kept)
        put(store, "a", 1)
        prefix = redis_url.partition("prefix=")[2]
        with server.client as client:
            for which in "sh":
                assert client.ttl(f"{{{prefix}:a}}:{which}") > kept.default.head_seconds >= 1_000_000
            for name in ("base", "channels", "policy"):
                assert client.ttl(f"{{{prefix}}}:{name}") > kept.default.head_seconds

    def test_the_policy_lives_as_long_as_a_server_does(self, server, redis_url, joined):
        store = joined(redis_url, policy(events=3))
        name = f"{{{redis_url.partition('prefix=')[2]}}}:policy"
        with server.client as client:
            client.pexpire(name, 100_000)
            store.sweep()
            assert client.pttl(name) > 100_000
            client.delete(name)
        store.sweep()
        assert joined(redis_url).policy.default.events == 3


class TestTogether:
    def test_events_are_everybodys(self, redis_url, joined):
        one, other = joined(redis_url), joined(redis_url)
        for n in range(20):
            put((one, other)[n % 2], "a", n, type="t")
        assert messages(everything(one, "a")) == list(range(20))
        assert said(everything(one, "a").events) == said(everything(other, "a").events)
        assert [event.prev for event in everything(one, "a").events][1:] == [
            event.id for event in everything(other, "a").events
        ][:-1]

    def test_a_process_without_a_policy_takes_the_servers(self, redis_url, joined):
        joined(redis_url, policy(events=2, rules=[("x*", 5, 60)]))
        other = joined(redis_url)
        assert other.retention("a").events == 2
        assert other.retention("xy").events == 5
        put(other, "a", 1, 2, 3)
        assert messages(everything(other, "a")) == [2, 3]

    def test_another_policy_is_taken_within_a_while(self, redis_url, joined):
        one = joined(redis_url, policy(events=5))
        joined(redis_url, policy(events=2))
        one.sweep()
        assert one.policy.default.events == 2

    def test_a_publisher_takes_the_policy_and_keeps_the_bounds(self, redis_url, joined):
        store = joined(redis_url, policy(events=2, max_channels=2))
        publisher = Publisher(joined(redis_url))
        for n in range(4):
            publisher.publish("a", n)
        publisher.publish("b", 1)
        with pytest.raises(TooManyChannels):
            publisher.publish("c", 1)
        assert messages(everything(store, "a")) == [2, 3]

    def test_channels_are_bounded_for_all_together(self, redis_url, joined):
        one, other = joined(redis_url, policy(max_channels=3)), joined(redis_url)
        put(one, "a", 1)
        put(other, "b", 1)
        put(one, "c", 1)
        for store in (one, other):
            for name in ("d", "e"):
                with pytest.raises(TooManyChannels):
                    put(store, name, 1)
            put(store, "b", 2)
            assert names(store) == ["a", "b", "c"]

    def test_idempotency_keys_are_everybodys(self, redis_url, joined):
        one, other = joined(redis_url), joined(redis_url)
        first = put(one, "a", 1, 2, key=Key("s", "k", b"1"))
        assert put(other, "a", 1, 2, key=Key("s", "k", b"1")) == (*first[:2], True)
        with pytest.raises(KeyReused):
            put(other, "a", 3, key=Key("s", "k", b"3"))
        assert not put(other, "a", 1, 2, key=Key("t", "k", b"1")).replayed
        assert not put(other, "b", 1, 2, key=Key("s", "k", b"1")).replayed

    def test_an_append_whose_channel_cannot_be_named_is_stored_and_named_next(self, server, redis_url, joined):
        store = joined(redis_url)
        prefix = redis_url.partition("prefix=")[2]
        put(store, "a", 1)
        with server.client as client:
            name = f"{{{prefix}}}:channels"
            client.rename(name, f"{name}:away")
            client.set(name, "of another type")
            store._named.clear()
            put(store, "a", 2)
            client.rename(f"{name}:away", name)
            client.zrem(name, "a")
        assert names(store) == []
        put(store, "a", 3)
        assert names(store) == ["a"]
        assert messages(everything(store, "a")) == [1, 2, 3]

    def test_an_append_is_one_round_trip(self, redis_url, joined):
        store = joined(redis_url, ear=Ear())
        put(store, "a", 1)
        store._look()
        calls = store._link.calls
        for n in range(20):
            put(store, "a", n)
        # And the word that it sends itself now and then.
        assert 20 <= store._link.calls - calls <= 22
