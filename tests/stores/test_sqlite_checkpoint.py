"""The log is begun anew once it is long, however busy its writers are: else it would grow as long as they are."""

import contextlib
import sqlite3
import threading

import pytest

from app.stores import sqlite_checkpoint

from .support import Ear, put

LONG_PAGES = 50


@pytest.fixture
def store(opened, monkeypatch):
    """A store whose log is long, and is moved by the test alone."""
    monkeypatch.setattr(sqlite_checkpoint, "RESTART_PAGES", LONG_PAGES)
    monkeypatch.setattr(sqlite_checkpoint, "TURN_SECONDS", 0.2)
    store = opened()
    store.listen(Ear())
    for _ in range(LONG_PAGES):
        put(store, "a", "x" * 5000)
    return store


@pytest.fixture
def other(store, path):
    """Another writer of the file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        yield other


def move(store):
    """Move the log once; whether it is to be moved again soon."""
    assert store._checkpoint._move() is None
    return store._checkpoint._behind


def pages_after_a_write(store, other):
    """How long the log is once somebody has written."""
    put(store, "a", "one more")
    return other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]


def test_a_log_that_nobody_writes_to_is_begun_anew(store, other):
    assert move(store) is False
    assert pages_after_a_write(store, other) < 20


def test_a_log_is_moved_in_a_hurry_as_long_as_somebody_writes(store, monkeypatch):
    """It is as long as it was until somebody writes again: an idle server looked at it five times a second."""
    monkeypatch.setattr(sqlite_checkpoint, "HURRY_PAGES", LONG_PAGES)
    monkeypatch.setattr(sqlite_checkpoint, "RESTART_PAGES", 100 * LONG_PAGES)
    assert move(store) is True
    assert move(store) is False
    for _ in range(2 * LONG_PAGES):
        put(store, "a", "x" * 5000)
    assert move(store) is True


def test_a_log_waits_for_its_turn_among_the_writers(store, other):
    other.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(0.02, other.execute, ["COMMIT"])
    ends.start()
    assert move(store) is False
    ends.join()
    assert pages_after_a_write(store, other) < 20


def test_a_log_that_does_not_get_its_turn_is_moved_again_soon(store, other):
    other.execute("BEGIN IMMEDIATE")
    assert move(store) is True
    other.execute("COMMIT")
    assert move(store) is False
    assert pages_after_a_write(store, other) < 20


def test_a_reader_that_keeps_the_log_is_waited_for_no_longer_than_a_turn(store, other):
    """A backup, for one; who writes meanwhile is held off by no more than that."""
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM events").fetchone()
    assert move(store) is True
    put(store, "a", "goes on")
    other.execute("COMMIT")
    assert move(store) is False
