"""Housekeeping on a Redis server: by one process at a time, and for what the others do as well."""

import pytest

from app.stores import redis_sweep

from .support import Ear, eventually, everything, names, policy, put, sweep


@pytest.fixture
def both(redis_url, joined, clock):
    kept = policy(seconds=60)
    stores = [joined(redis_url, kept, ear=Ear(), clock=clock) for _ in range(2)]
    clock.step(1)
    return stores


@pytest.fixture
def own(redis_url):
    return lambda name: f"{{{redis_url.partition('prefix=')[2]}}}:{name}"


def after_its_head(store, clock):
    clock.step(store.retention("a").head_seconds + 1)


def test_one_process_at_a_time(both, clock):
    one, other = both
    for n in range(3):
        put(one, f"c{n}", n)
    assert one.sweep()
    assert not other.sweep()
    after_its_head(one, clock)
    sweep(other)
    assert names(other) == ["c0", "c1", "c2"]
    sweep(one)
    assert names(one) == []


def test_a_round_over_many_channels_is_followed_by_a_rest_in_which_no_other_process_begins_one(
    both, server, clock, monkeypatch
):
    one, other = both
    for n in range(20):
        put(one, f"c{n}", n)
    sweep(one)
    monkeypatch.setattr(redis_sweep, "PACE", 1)
    sweep(one)
    after_its_head(one, clock)
    sweep(one)
    sweep(other)
    assert len(names(one)) == 20
    one._sweep._rests_until -= 20  # seconds, of which five are between two rounds in any case
    sweep(one)
    assert names(one) == []


def test_another_goes_on_when_one_has_died(both, server, own, clock):
    one, other = both
    put(one, "a", 1)
    assert one.sweep()
    with server.client as client:
        assert 0 < client.pttl(own("sweeper")) <= redis_sweep.TURN_MS
        client.delete(own("sweeper"))
    after_its_head(one, clock)
    sweep(other)
    assert names(other) == []


def test_a_head_with_a_subscriber_at_another_process_is_kept(both, clock):
    one, other = both
    last = put(one, "a", 1).last_id
    put(one, "b", 1)
    other.ear.watched.add("a")
    everything(other, "a")
    clock.step(one.retention("a").head_seconds - 100)
    assert one.sweep()  # it has the turn from now on
    sweep(other)
    clock.step(101)
    sweep(one)
    assert names(one) == ["a"]
    reading = everything(other, "a")
    assert (reading.known, reading.head) == (True, last)
    assert put(other, "a", 2)
    assert everything(other, "a").events[-1].prev == last


def test_the_word_for_quiet_channels_is_given_now_and_then_and_not_every_few_seconds(both, server, clock):
    one, _ = both
    put(one, "c0", 1)
    for n in range(100):  # and those that never had an event
        one.ear.watched.add(f"c{n}")
        everything(one, f"c{n}")
    watches = one._hearing.watches
    eventually(lambda: not any(watch.fences for watch in watches._watches.values()))
    clock.step(one.retention("c0").head_seconds)

    def scripts(seconds):
        before, spent = server.calls(), 0
        while spent < seconds:
            clock.step(5)
            sweep(one)
            spent += 5
        return (server.calls() - before)["evalsha"]

    assert scripts(5) >= 100
    assert scripts(60) < 100
    assert scripts(500) >= 300
    assert everything(one, "c0").known
    one.ear.watched.clear()
    clock.step(400)
    sweep(one)
    assert not everything(one, "c0").known


def test_what_was_forgotten_is_below_the_base(both, clock):
    one, other = both
    last = put(one, "a", 1).last_id
    after_its_head(one, clock)
    sweep(one)
    for store in both:
        assert not everything(store, "a").known
        assert everything(store, "a").floor >= last
    assert put(other, "a", 2).first_id > last


def test_an_index_that_was_evicted_is_written_again_by_all(both, server, own):
    one, other = both
    put(one, "a", 1)
    put(other, "b", 1)
    with server.client as client:
        client.delete(own("channels"))
    for store in both:
        store.sweep()
    assert names(one) == names(other) == ["a", "b"]


def test_what_was_evicted_after_the_index_came_back_is_told_as_lost(both, server, own, redis_url, clock):
    one, other = both
    first = put(one, "a", 1).last_id
    with server.client as client:
        client.delete(own("channels"))
        clock.step(1)
        put(one, "new", 1)
        clock.step(1)
        last = put(one, "a", 2).last_id
        clock.step(1)
        client.delete(*[own("x").replace("}:x", f":a}}:{which}") for which in "sh"])
    assert everything(other, "a", after=first).floor >= last


def test_the_base_rises_no_more_when_all_have_named_their_channels(both, server, own, clock):
    one, other = both
    with server.client as client:
        client.delete(own("channels"))
    put(one, "a", 1)
    clock.step(20)
    everything(other, "new")
    before = everything(other, "new").floor
    clock.step(1)
    put(one, "new", 1)
    assert everything(other, "new", after=before).events[0].prev == before


def test_a_name_of_a_channel_that_is_not_there_goes(both, server, own):
    one, _ = both
    put(one, "a", 1)
    with server.client as client:
        client.zadd(own("channels"), {"nothing": 0})
        sweep(one)
        assert client.zscore(own("channels"), "nothing") is None
    assert names(one) == ["a"]


def test_what_this_process_named_is_named_again_now_and_then(both, server, own, monkeypatch):
    one, _ = both
    put(one, "a", 1)
    sweep(one)
    with server.client as client:
        client.zrem(own("channels"), "a")
    sweep(one)
    assert names(one) == []
    one._sweep._renews_at = 0
    sweep(one)
    assert names(one) == ["a"]


def test_a_loss_is_told_once_and_not_again_by_each_read_and_round(both, server, own, clock):
    first = put(both[0], "a", 1).last_id
    put(both[1], "a", 2)
    with server.client as client:
        client.delete(*[own("x").replace("}:x", f":a}}:{which}") for which in "sh"])
    floors = []
    for store in [*both, *both]:
        clock.step(1)
        floors.append(everything(store, "a", after=first).floor)
    for store in [*both, *both]:
        store._sweep._renews_at = 0
        sweep(store)
        clock.step(1)
        floors.append(everything(store, "never", after=first).floor)
    assert floors[0] > first
    assert set(floors) == {floors[0]}


def test_a_loss_that_nobody_reads_is_told_by_those_who_wrote(both, server, own, clock):
    one, other = both
    put(one, "a", 1)
    with server.client as client:
        client.zrem(own("channels"), "a")
        last = put(one, "a", 2).last_id
        client.delete(*[own("x").replace("}:x", f":a}}:{which}") for which in "sh"])
    one._sweep._renews_at = 0
    sweep(one)
    assert everything(other, "a").floor >= last
