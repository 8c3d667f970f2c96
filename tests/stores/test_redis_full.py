"""A Redis server whose memory is full and that evicts nothing: what it refuses, and what goes on all the same."""

import contextlib

import pytest

from app.errors import StoreUnavailable
from app.stores.base import Key

from .support import Ear, everything, messages, policy, put


def test_a_worker_that_starts_anew_on_a_full_server_serves(own_server, joined):
    server = own_server(maxmemory_policy="noeviction")
    put(joined(server.url, policy()), "a", 1)
    with server.client as client:
        client.config_set("maxmemory", 1)
        store = joined(server.url, policy(), ear=Ear())
        store.check()
        assert messages(everything(store, "a")) == [1]


def test_what_retention_has_ended_makes_room_in_a_full_server(own_server, joined, clock):
    server = own_server(maxmemory_policy="noeviction")
    brief = ("c*", 1000, 60)
    store = joined(server.url, policy(rules=[brief]), ear=Ear(watched=["a0", "never"]), clock=clock)
    # Heads whose time is up, with a subscriber and without, come first in a round: nothing of them can be written.
    everything(store, "never")
    for n in range(120):
        put(store, f"a{n}", 1)
    everything(store, "a0")
    clock.step(store.retention("a0").head_seconds + 1)
    for n in range(50):
        put(store, f"c{n}", *["x" * 5000] * 20)
    with server.client as client:
        full = client.info("memory")["used_memory"] - 1_000_000
        client.config_set("maxmemory", 1)
        clock.step(100)
        for _ in range(10):
            with contextlib.suppress(StoreUnavailable):
                while store.sweep():
                    pass
        client.config_set("maxmemory", full)
        put(store, "c0", "yes")
    assert messages(everything(store, "c0")) == ["yes"]


def test_a_full_server_stores_nothing_and_works_again_when_there_is_room(own_server, joined, caplog):
    server = own_server(maxmemory_policy="noeviction")
    store = joined(server.url, policy(events=100_000))
    store.ear = Ear()
    store.listen(store.ear)
    last = put(store, "a", 1).last_id
    with server.client as client:
        client.config_set("maxmemory", 1)
        for n in range(20):
            with pytest.raises(StoreUnavailable) as raised:
                put(store, "ab"[n % 2], "no", "no", key=Key("s", f"k{n}", b"1"))
            assert raised.value.retry_after
            assert messages(everything(store, "a")) == [1]
        client.config_set("maxmemory", 0)
    assert everything(store, "a").head == last
    assert not everything(store, "b").known
    assert not put(store, "a", 2, key=Key("s", "k0", b"1")).replayed
    assert messages(everything(store, "a")) == store.ear.messages() == [1, 2]
    (record,) = caplog.records
    assert "'maxmemory'" in record.message
