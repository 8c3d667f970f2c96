"""Rows go in small bites, so that nobody waits for a hundred thousand of them; what is over is hidden at once."""

import contextlib
import itertools
import sqlite3

import pytest

from app.errors import TooManyKeys
from app.stores import sqlite_append, sqlite_sweep, sqlite_trim
from app.stores.base import Key

from .support import Ear, Opener, everything, messages, policy, put, sweep


@pytest.fixture
def slow(monkeypatch):
    """A disk so slow that the time of every bite is over after its first rows."""
    ticks = itertools.count()
    monkeypatch.setattr(sqlite_trim.time, "monotonic", lambda: float(next(ticks)))


def rows(path, table="events"):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def steps(store, path):
    """How many rows each step of one round of the sweep removed, as far as it removed any."""
    removed, before = [], rows(path)
    while store.sweep():
        removed.append(before - rows(path))
        before = rows(path)
    return [count for count in removed if count]


def test_a_delete_hides_its_events_and_leaves_their_rows_to_the_sweep(opened, path):
    store = opened()
    put(store, "a", *range(100))
    store.delete("a")
    assert everything(store, "a").events == []
    assert rows(path) == 100
    sweep(store)
    assert rows(path) == 0
    assert store.info("a").events == 0


@pytest.mark.usefixtures("slow")
def test_the_sweep_removes_what_was_deleted_bite_by_bite(opened, path):
    store = opened()
    put(store, "a", *range(100))
    store.delete("a")
    put(store, "a", "kept")
    assert steps(store, path) == [16, 16, 16, 16, 16, 16, 4]
    assert messages(everything(store, "a")) == ["kept"]
    assert store.info("a").events == 1


@pytest.mark.usefixtures("slow")
def test_the_sweep_removes_what_has_expired_bite_by_bite(opened, path, clock):
    store = opened(policy(seconds=100))
    put(store, "a", *range(40))
    clock.step(101)
    put(store, "a", "kept")
    assert steps(store, path) == [16, 16, 8]
    assert messages(everything(store, "a")) == ["kept"]
    assert store.info("a").events == 1


@pytest.mark.usefixtures("slow")
def test_an_append_to_a_full_channel_removes_as_many_as_it_adds_and_one_bite_more(opened, path, monkeypatch):
    monkeypatch.setattr(sqlite_append, "TRIM_ROWS", 64)
    store = opened(policy(events=100))
    put(store, "a", *range(100))
    for n in range(64):
        put(store, "a", 100 + n)
    assert rows(path) == 164 - 1 - 16
    put(store, "a", 164)
    assert messages(everything(store, "a")) == list(range(65, 165))


@pytest.mark.usefixtures("slow")
def test_a_channel_that_is_published_to_in_batches_does_not_grow(opened, path):
    """An append removed what its time allowed, which was less than it added."""
    store = opened(policy(events=100))
    for number in range(30):
        put(store, "a", *range(number * 100, number * 100 + 100))
    assert rows(path) == 100
    assert messages(everything(store, "a")) == list(range(2900, 3000))


def test_an_append_does_not_count_what_was_deleted(opened, path, monkeypatch):
    """It would trim the rows that are hidden already, and let the channel grow over its retention."""
    monkeypatch.setattr(sqlite_append, "TRIM_ROWS", 2)
    store = opened(policy(events=3))
    put(store, "a", 1, 2, 3)
    store.delete("a")
    for n in range(4, 9):
        put(store, "a", n)
    assert messages(everything(store, "a")) == [6, 7, 8]
    assert store.info("a").events == 3
    assert rows(path) <= 3 + 3 + 1


def test_a_channel_is_not_forgotten_before_its_deleted_rows_are_gone(opened, path, clock, monkeypatch):
    """Its number would be given to another channel, which would have them."""
    store = opened(policy(seconds=100))
    store.listen(Ear())
    put(store, "a", 1, 2, 3)
    store.delete("a")
    clock.step(86_400)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_sweep, "drop_events", lambda *_: 0)  # as if no time were left for them
        sweep(store)
        assert store.info("a") is not None
    sweep(store)
    assert store.info("a") is None
    put(store, "b", 4)
    assert messages(everything(store, "b")) == [4]


def test_a_number_that_was_given_again_is_not_trimmed_by_the_old_channels_rule(opened, clock, monkeypatch):
    """Another process swept the channel away between this one's look and its transaction."""
    one, other = opened(policy(rules=[("few", 1, 100)])), opened()
    put(one, "few", 1)
    clock.step(4000)
    transaction = one._file.writing.__class__
    begin, between = transaction.__enter__, []

    def begin_late(self):
        if self is one._file.writing and not between:
            between.append(True)
            sweep(other)
            sweep(other)
            put(other, "many", *range(50))
        return begin(self)

    monkeypatch.setattr(transaction, "__enter__", begin_late)
    one.sweep()
    monkeypatch.undo()
    assert between
    assert one.info("few") is None
    assert messages(everything(one, "many")) == list(range(50))
    assert one.info("many").events == 50


def test_expired_keys_go_some_at_a_time_and_make_room_all_the_same(opened, path, clock, monkeypatch):
    monkeypatch.setattr(sqlite_sweep, "KEYS", 3)
    monkeypatch.setattr(sqlite_trim.drop_keys, "__defaults__", (3,))
    store = opened(policy(max_idempotency_keys=10, idempotency_seconds=50))
    for n in range(10):
        put(store, "a", n, key=Key("s", str(n), b"1"))
    with pytest.raises(TooManyKeys):
        put(store, "a", "refused", key=Key("s", "one more", b"1"))
    clock.step(51)
    put(store, "a", 10, key=Key("s", "new", b"1"))
    assert rows(path, "idempotency") == 8
    sweep(store)
    assert rows(path, "idempotency") == 1


@pytest.mark.usefixtures("slow")
def test_a_channel_with_a_lot_to_remove_keeps_no_other_waiting(opened, path):
    store = opened()
    for name, count in (("a", 200), ("b", 20), ("c", 5)):
        put(store, name, *range(count))
        store.delete(name)
    for _ in range(4):
        store.sweep()
    left = dict(counts(path))
    assert left["a"] > 100
    assert left.get("b", 0) < 20
    assert left.get("c", 0) < 5
    sweep(store)
    assert counts(path) == []


@pytest.mark.usefixtures("slow")
def test_keys_that_live_cost_the_sweep_no_step(opened, path, clock):
    """Each channel that had one was looked at anew, and with many of them the round never ended."""
    store = opened(policy(idempotency_seconds=600))
    for n in range(50):
        put(store, f"a{n:02}", 1, key=Key("s", "k", b"1"))
    put(store, "b", 1)
    store.delete("b")
    assert steps(store, path) == [1]
    clock.step(601)
    sweep(store)
    assert rows(path, "idempotency") == 0


def test_a_count_that_an_older_version_spoilt_does_not_end_the_sweep(opened, path, clock):
    """It counts what is hidden as well, and so comes to a count without an event."""
    store = opened(policy(seconds=100))
    put(store, "a", 1)
    store.delete("a")
    sweep(store)
    with contextlib.closing(sqlite3.connect(path)) as older:
        older.execute("UPDATE channels SET events = -7")
        older.commit()
    clock.step(200)
    put(store, "b", 1)
    clock.step(200)
    sweep(store)
    assert rows(path) == 0


def counts(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT channel, count(*) FROM events JOIN channels USING (number) GROUP BY channel"
        ).fetchall()


def test_what_is_removed_is_not_overwritten_with_zeros(opened):
    """Debian's SQLite does by default, which takes ten times as long as to remove it. 2 is FAST."""
    assert opened()._file.scalar("PRAGMA secure_delete") == 2


def test_nor_is_it_where_appends_wait_for_the_disk(path, clock):
    store = Opener(path, clock, "?synchronous=full")()
    assert store._commits._connection.execute("PRAGMA secure_delete").fetchone() == (2,)
    store.close()
