"""`?synchronous=full`: the same contract, with every commit on the disk before it is acknowledged."""

import contextlib
import sqlite3
import threading
import time

import gevent
import pytest

from app.errors import KeyReused, StoreUnavailable
from app.stores import sqlite_durable
from app.stores.base import Key

from .contract import StoreContract
from .support import Ear, Opener, eventually, everything, messages, names, policy, put


@pytest.fixture
def durable(path, clock):
    opener = Opener(path, clock, "?synchronous=full")
    yield opener
    opener.close()


class TestDurableStore(StoreContract):
    @pytest.fixture
    def make(self, durable):
        return lambda kept=None: durable(kept or policy())


def test_writes_wait_for_the_disk_and_reads_do_not_write(durable):
    store = durable()
    # 2 is FULL: a commit returns when the log is on the disk (sqlite.org, PRAGMA synchronous).
    assert store._commits._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._file.scalar("PRAGMA synchronous") == 1


def test_other_greenlets_go_on_while_a_thread_waits_for_the_disk(durable, monkeypatch):
    store = durable()
    put(store, "a", 0)
    goes_on, threads = threading.Event(), []
    write_all = sqlite_durable.write_all

    def slow(*arguments):
        threads.append(threading.current_thread())
        goes_on.wait(5)
        write_all(*arguments)

    monkeypatch.setattr(sqlite_durable, "write_all", slow)
    appends = [gevent.spawn(put, store, "a", n) for n in (1, 2)]
    gevent.sleep(0.02)
    appends += [gevent.spawn(put, store, "a", n) for n in (3, 4, 5)]
    gevent.sleep(0.02)
    assert not any(append.ready() for append in appends)
    assert messages(everything(store, "a")) == [0]
    goes_on.set()
    gevent.joinall(appends, timeout=5)
    assert messages(everything(store, "a")) == [0, 1, 2, 3, 4, 5]
    # The three that came meanwhile shared one wait.
    assert len(threads) == 2


def test_listeners_and_siblings_hear_each_event_once_and_in_order(durable, opened):
    one, other = durable(), opened()
    one.listen(mine := Ear())
    other.listen(theirs := Ear())
    gevent.joinall([gevent.spawn(put, one, "a", n) for n in range(50)], timeout=5)
    put(other, "a", 50)
    put(one, "a", 51)
    eventually(lambda: len(theirs.events) >= 52)
    assert mine.messages() == theirs.messages() == list(range(52))
    assert mine.losses == theirs.losses == 0


def test_a_refusal_leaves_the_rest_of_its_group_alone(durable):
    store = durable()
    put(store, "a", 0, key=Key("s", "k", b"0"))
    refused = gevent.spawn(lambda: put(store, "a", 1, key=Key("s", "k", b"1")))
    taken = gevent.spawn(put, store, "a", 2)
    gevent.joinall([refused, taken], timeout=5)
    assert isinstance(refused.exception, KeyReused)
    assert messages(everything(store, "a")) == [0, 2]


def test_a_file_that_is_locked_too_long_is_told_and_nothing_is_stored(path, clock, monkeypatch):
    monkeypatch.setattr(sqlite_durable, "BUSY_SECONDS", 0.05)
    opener = Opener(path, clock, "?synchronous=full")
    store = opener()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            put(store, "a", 1)
    assert names(store) == []
    put(store, "a", 2)
    opener.close()


def test_a_close_amid_a_write_ends_it_whole(durable, opened):
    store = durable()
    append = gevent.spawn(put, store, "a", 1)
    gevent.sleep(0)
    store.close()
    append.join(5)
    assert append.ready()
    assert len(everything(opened(), "a").events) == append.successful()


def test_who_waits_behind_a_write_when_the_store_is_closed_is_told(durable, opened):
    """A delete that had not begun was said to be done."""
    store = durable()
    put(store, "a", 1)
    first = gevent.spawn(put, store, "a", 2)
    gevent.sleep(0)
    others = [gevent.spawn(store.delete, "a"), gevent.spawn(put, store, "a", 3)]
    gevent.sleep(0)
    store.close()
    gevent.joinall([first, *others], timeout=5)
    assert all(isinstance(each.exception, StoreUnavailable) for each in others)
    assert messages(everything(opened(), "a"))[:1] == [1]


def test_a_pool_that_is_full_of_others_work_is_no_hindrance(durable):
    store = durable()
    goes_on = threading.Event()
    pool = gevent.get_hub().threadpool
    busy = [pool.spawn(goes_on.wait, 5) for _ in range(pool.maxsize)]
    gevent.spawn(put, store, "a", 1).get(timeout=2)
    goes_on.set()
    gevent.joinall(busy)


def test_under_a_foreign_lock_all_wait_together_and_not_one_after_the_other(path, clock, monkeypatch):
    monkeypatch.setattr(sqlite_durable, "BUSY_SECONDS", 0.3)
    opener = Opener(path, clock, "?synchronous=full")
    store = opener()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        appends = [gevent.spawn(put, store, "a", n) for n in range(20)]
        gevent.joinall(appends, timeout=10)
        assert time.monotonic() - begun < 20 * 0.3 / 2
    assert all(isinstance(append.exception, StoreUnavailable) for append in appends)
    opener.close()


def test_the_log_of_a_publisher_without_a_server_stays_small(durable, path):
    store = durable(policy(events=10))
    for _ in range(300):
        put(store, "a", *(["x" * 4000] * 10))
    assert path.with_name(f"{path.name}-wal").stat().st_size < 16 * 1024 * 1024


def test_a_thread_that_fails_unforeseen_is_not_taken_for_a_commit(durable, monkeypatch):
    store = durable()

    def failing(group):
        raise ValueError

    with monkeypatch.context() as patched:
        patched.setattr(store._commits, "_in_thread", failing)
        append = gevent.spawn(put, store, "a", 1)
        append.join(5)
    assert isinstance(append.exception, ValueError)
    put(store, "a", 2)
    assert messages(everything(store, "a")) == [2]
