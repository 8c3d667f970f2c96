"""Writes that come together are committed together, and none of them pays for another's failure."""

import contextlib
import sqlite3

import gevent
import pytest

from app.errors import KeyReused, StoreUnavailable
from app.stores import sqlite_commits
from app.stores.base import Key

from .support import Ear, eventually, everything, messages, names, put


@pytest.fixture
def statements(monkeypatch):
    """Writes down what a store's file executes."""

    def statements(store):
        execute, seen = store._file.execute, []

        def noting(statement, *values):
            seen.append(statement.split()[0])
            return execute(statement, *values)

        monkeypatch.setattr(store._file, "execute", noting)
        return seen

    return statements


def together(*calls):
    """Make the calls in one turn of the event loop; the greenlets, ended."""
    greenlets = [gevent.spawn(*call) for call in calls]
    gevent.joinall(greenlets, timeout=5)
    assert all(greenlet.ready() for greenlet in greenlets)
    return greenlets


def test_what_comes_together_is_one_transaction(opened, statements):
    store = opened()
    store.listen(ear := Ear())
    seen = statements(store)
    appends = together(*((put, store, "ab"[n % 2], n) for n in range(20)))
    assert (seen.count("BEGIN"), seen.count("COMMIT"), seen.count("INSERT")) == (1, 1, 22)
    for name in "ab":
        ids = [append.value.last_id for append in appends["ab".index(name) :: 2]]
        assert [event.id for event in everything(store, name).events] == ids == sorted(set(ids)) == ear.ids(name)


def test_what_comes_alone_is_written_at_once(opened, statements):
    store = opened()
    seen = statements(store)
    put(store, "a", 1)
    put(store, "a", 2)
    assert seen.count("COMMIT") == 2


def test_a_group_ends_where_it_has_rows_enough(opened, statements, monkeypatch):
    monkeypatch.setattr(sqlite_commits, "GROUP_ROWS", 10)
    store = opened()
    seen = statements(store)
    together(*((put, store, "a", *range(4 * n, 4 * n + 4)) for n in range(6)))
    assert seen.count("COMMIT") == 2
    assert messages(everything(store, "a")) == list(range(24))


def test_a_refusal_leaves_the_rest_of_its_group_alone(opened):
    store = opened()
    put(store, "a", 0, key=Key("s", "k", b"0"))
    first, refused, last = together(
        (put, store, "a", 1),
        (lambda: put(store, "a", 2, key=Key("s", "k", b"2")),),
        (put, store, "b", 3),
    )
    assert isinstance(refused.exception, KeyReused)
    assert first.successful()
    assert last.successful()
    assert messages(everything(store, "a")) == [0, 1]
    assert messages(everything(store, "b")) == [3]


def test_a_group_that_cannot_be_committed_stores_nothing_of_anybody(opened, monkeypatch):
    store = opened()
    store.listen(ear := Ear())
    execute = store._file.execute

    def failing(statement, *values):
        if statement == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return execute(statement, *values)

    with monkeypatch.context() as broken:
        broken.setattr(store._file, "execute", failing)
        failed = together((put, store, "a", 1), (put, store, "b", 2))
    assert all(isinstance(each.exception, StoreUnavailable) for each in failed)
    # Each its own: what one request adds to its error is not told to another.
    assert failed[0].exception is not failed[1].exception
    assert names(store) == ear.events == []
    put(store, "a", 3)
    assert ear.messages() == [3]


def test_a_defect_that_one_meets_is_suffered_by_it_alone(opened):
    store = opened()
    first, broken, last = together(
        (put, store, "a", 1),
        (store.append, "a", [object()]),
        (put, store, "a", 2),
    )
    assert not broken.successful()
    assert first.successful()
    assert last.successful()
    assert messages(everything(store, "a")) == [1, 2]


def test_one_that_is_killed_before_its_turn_is_not_written(opened):
    store = opened()
    killed = gevent.spawn(put, store, "a", 1)
    other = gevent.spawn(put, store, "a", 2)
    killed.kill(block=False)
    gevent.joinall([killed, other], timeout=5)
    alone = gevent.spawn(put, store, "a", 3)
    gevent.spawn(alone.kill)
    alone.join(5)
    assert messages(everything(store, "a"))[0] == 2


def test_a_store_that_is_used_by_another_thread_says_whose_it_is(opened):
    store = opened()
    with pytest.raises(RuntimeError, match="thread"):
        gevent.get_hub().threadpool.apply(put, (store, "a", 1))
    assert names(store) == []


def test_who_waits_when_the_store_is_closed_is_told(opened):
    store = opened()
    append = gevent.spawn(put, store, "a", 1)
    closing = gevent.spawn(store.close)
    gevent.joinall([append, closing], timeout=5)
    assert isinstance(append.exception, StoreUnavailable)


@pytest.mark.parametrize("failing", [("COMMIT", "ROLLBACK"), ("BEGIN IMMEDIATE", "ROLLBACK")])
def test_a_rollback_that_fails_leaves_nobody_waiting_and_the_next_write_is_well(opened, monkeypatch, failing):
    store = opened()
    execute = store._file.execute

    def broken(statement, *values):
        if statement in failing:
            raise sqlite3.OperationalError("disk I/O error")
        return execute(statement, *values)

    with monkeypatch.context() as patched:
        patched.setattr(store._file, "execute", broken)
        failed = together((put, store, "a", 1), (put, store, "a", 2))
    assert all(isinstance(each.exception, StoreUnavailable) for each in failed)
    put(store, "a", 3)
    assert messages(everything(store, "a")) == [3]


def test_what_is_raised_in_the_loop_by_a_signal_leaves_nobody_waiting(opened, monkeypatch):
    store = opened()
    take = store._commits._take

    class Signal(BaseException):
        pass

    def interrupted():
        raise Signal

    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *_: None)
    monkeypatch.setattr(store._commits, "_take", interrupted)
    (failed,) = together((put, store, "a", 1))
    assert isinstance(failed.exception, Signal)
    monkeypatch.setattr(store._commits, "_take", take)
    put(store, "a", 2)
    assert messages(everything(store, "a")) == [2]


def test_a_listener_that_fails_at_one_event_is_told_of_it_again_and_the_others_hear_theirs(opened, monkeypatch):
    store = opened()
    store.listen(ear := Ear())
    announce, failed = ear.announce, []

    def failing(events):
        if not failed:
            failed.append(events)
            raise ValueError
        announce(events)

    monkeypatch.setattr(ear, "announce", failing)
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *_: None)
    assert all(append.successful() for append in together((put, store, "a", 1), (put, store, "a", 2)))
    eventually(lambda: len(ear.events) == 2, seconds=1)
    assert ear.messages() == [1, 2]


def test_a_wait_for_a_lock_begins_with_who_waits(opened, path, monkeypatch):
    """It went on from one whose greenlet had been killed, and the next was refused at once."""
    monkeypatch.setattr(sqlite_commits, "BUSY_SECONDS", 0.2)
    store = opened()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        killed = gevent.spawn(put, store, "a", 1)
        gevent.sleep(0.02)
        killed.kill()
        gevent.sleep(0.25)
        append = gevent.spawn(put, store, "a", 2)
        gevent.sleep(0.05)
        assert not append.ready()
        other.execute("ROLLBACK")
        append.get(timeout=1)
