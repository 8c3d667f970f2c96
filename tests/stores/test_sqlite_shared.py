"""One file under two stores: numbers, bounds, keys and heads belong to the file, not to a process."""

import sqlite3

import gevent
import pytest

from app.errors import KeyReused, StoreUnavailable, TooManyChannels, TooManyKeys
from app.stores import sqlite_listener
from app.stores.base import Key

from .support import Clock, Ear, everything, messages, names, policy, put, sweep


def test_what_one_stored_the_other_reads_at_once(opened):
    one, other = opened(), opened()
    for n in range(5):
        put((one, other)[n % 2], "a", n)
        assert everything(one, "a")[:4] == everything(other, "a")[:4]
        assert messages(everything(one, "a")) == messages(everything(other, "a")) == list(range(n + 1))
    one.delete("a")
    assert everything(other, "a").events == []
    assert one.info("a") == other.info("a")


def test_ids_grow_over_clocks_an_hour_apart(opened, clock):
    ahead = Clock(clock() + 3600)
    one, other = opened(policy()), opened(clock=ahead)
    given = []
    for n in range(10):
        clock.step(1)
        ahead.step(1)
        given.append(put((one, other)[n % 2], "a", n).last_id)
    assert given == sorted(set(given))
    assert given[1] == ahead.us - 8_000_000
    events = everything(one, "a").events
    assert [event.prev for event in events[1:]] == given[:-1]
    assert messages(everything(other, "a")) == list(range(10))


def test_an_append_is_trimmed_by_the_servers_policy(opened):
    opened(policy(events=2))
    publisher = opened()
    put(publisher, "a", 1, 2)
    put(publisher, "a", 3)
    assert messages(everything(publisher, "a")) == [2, 3]


def test_a_publisher_that_runs_on_follows_the_policy_of_a_server_that_starts(opened):
    """It went on with the one that it had read first, and deleted what the server keeps by now."""
    opened(policy(events=2)).close()
    publisher = opened()
    put(publisher, "a", 1, 2)
    server = opened(policy(events=1000))
    put(server, "a", *range(3, 200))
    for n in range(200, 300):
        put(publisher, "a", n)
    assert publisher.policy == server.policy
    assert messages(everything(server, "a"))[-297:] == list(range(3, 300))


def test_of_two_servers_the_policy_of_the_later_holds_for_both(opened):
    early = opened(policy(events=2))
    late = opened(policy(events=5))
    put(late, "a", 1, 2, 3, 4, 5)
    early.sweep()
    assert messages(everything(early, "a")) == messages(everything(late, "a")) == [1, 2, 3, 4, 5]


def test_a_retry_with_another_process_is_recognised(opened):
    one, other = opened(), opened()
    appended = put(one, "a", 1, key=Key("s", "k", b"1"))
    assert put(other, "a", 1, key=Key("s", "k", b"1")) == (*appended[:2], True)
    with pytest.raises(KeyReused):
        put(other, "a", 2, key=Key("s", "k", b"2"))


def test_bounds_count_over_all_processes(opened):
    one, other = opened(policy(max_channels=2, max_idempotency_keys=2)), opened()
    put(one, "a", 1, key=Key("s", "1", b"1"))
    put(other, "a", 2, key=Key("s", "2", b"2"))
    for store in (one, other):
        with pytest.raises(TooManyKeys):
            put(store, "a", 3, key=Key("s", "3", b"3"))
    put(other, "b", 1)
    for store in (one, other):
        with pytest.raises(TooManyChannels):
            put(store, "c", 1)


def test_a_head_that_one_forgot_is_everybodys_base(opened, clock):
    one, other = opened(policy(seconds=60)), opened()
    clock.step(1)
    head = put(one, "a", 1).last_id
    clock.step(4000)
    sweep(other)
    assert everything(one, "a") == (False, head, head, None, [])
    clock.step(-4001)
    assert put(one, "a", 2).first_id == head + 1


def test_two_may_sweep_one_file(opened, clock):
    one, other = opened(policy(seconds=60, max_channels=600)), opened()
    for n in range(600):
        put(one, f"c{n}", 1)
    clock.step(4000)
    going = True
    while going:
        going = one.sweep() | other.sweep()
    sweep(one)
    assert names(one) == names(other) == []
    for n in range(600):  # all the room is there again, and no more
        put(one, f"d{n}", 1)
    with pytest.raises(TooManyChannels):
        put(other, "e", 1)


def test_a_subscriber_at_another_process_keeps_a_head(opened, clock):
    one, other = opened(policy(seconds=60)), opened()
    ear = Ear(watched={"a"})
    other.listen(ear)
    head = put(one, "a", 1).last_id
    clock.step(3500)
    sweep(other)
    for _ in range(10):
        clock.step(200)
        sweep(one)
        assert everything(one, "a").head == head
        sweep(other)
    assert names(one) == ["a"]
    ear.watched.clear()
    clock.step(400)
    sweep(one)
    assert names(one) == []


@pytest.mark.parametrize("meanwhile", ["appended", "appended and deleted", "subscribed"])
def test_a_head_that_was_needed_again_while_it_was_looked_at_is_kept(opened, clock, monkeypatch, meanwhile):
    one, other = opened(policy(seconds=60)), opened()
    put(one, "a", 1)
    clock.step(3601)
    sweep_all_but_the_head(one)
    other.listen(Ear(watched={"a"} if meanwhile == "subscribed" else ()))
    writing = one._file.writing
    needed = []

    class AfterAnother:
        """The transaction in which the head would be forgotten; another process comes first."""

        def __enter__(self):
            if not needed:
                needed.append(meanwhile)
                if meanwhile == "subscribed":
                    sweep(other)
                else:
                    put(other, "a", 2)
                if meanwhile == "appended and deleted":
                    other.delete("a")
            return writing.__enter__()

        def __exit__(self, *raised):
            return writing.__exit__(*raised)

    monkeypatch.setattr(one._file, "writing", AfterAnother())
    sweep(one)
    assert needed
    assert names(one) == ["a"]
    assert messages(everything(one, "a")) == ([2] if meanwhile == "appended" else [])


def sweep_all_but_the_head(store):
    """One round drops the events, the next would drop the head."""
    while store.sweep():
        pass
    assert store.info("a").events == 0


def test_an_append_that_raised_stored_nothing_whatever_failed(opened, monkeypatch):
    one, other = opened(), opened()
    ear = Ear()
    one.listen(ear)
    put(other, "a", "unheard")
    execute = one._file.execute

    def failing(statement, *values):
        if statement.startswith("SELECT seq, channel"):
            raise sqlite3.OperationalError("disk I/O error")
        return execute(statement, *values)

    monkeypatch.setattr(one._file, "execute", failing)
    try:
        put(one, "a", "new")
        stored = True
    except StoreUnavailable:
        stored = False
    monkeypatch.undo()
    assert ("new" in messages(everything(other, "a"))) == stored


def test_a_listener_that_went_deaf_is_found_out(opened, monkeypatch):
    monkeypatch.setattr(sqlite_listener, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sqlite_listener, "DEAF_SECONDS", 0.05)
    store = opened()
    store.listen(Ear())
    gevent.sleep(0.04)
    store.check()
    store._listening._greenlet.kill()
    gevent.sleep(0.05)
    with pytest.raises(StoreUnavailable):
        store.check()
