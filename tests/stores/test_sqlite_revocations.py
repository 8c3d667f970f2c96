"""Revocations in a file that several processes have open."""

import sqlite3

import gevent
import pytest

from app.errors import StoreUnavailable, TooManyRevocations
from app.stores import sqlite_listener, sqlite_revocations
from app.stores.base import REVOKED_SECONDS, Revocation

from .support import Ear, eventually, policy, sweep


@pytest.fixture
def sub(clock):
    begin = int(clock())
    return lambda value="ann", until=1000: Revocation("sub", value, begin, begin + until)


@pytest.fixture
def listening(opened):
    """Opens the file and listens; what is heard is at `.ear`."""

    def listening(kept=None):
        store = opened(kept)
        store.ear = Ear()
        store.listen(store.ear)
        return store

    return listening


def test_they_are_in_the_file(opened, sub):
    store = opened(policy())
    store.revoke(sub())
    store.close()
    assert opened().revocations() == [sub()]


def test_what_one_process_revokes_the_other_knows_and_counts(opened, sub):
    one, other = opened(policy(max_revocations=2)), opened()
    one.revoke(sub("a"))
    other.revoke(sub("b"))
    assert one.revocations() == other.revocations() == [sub("a"), sub("b")]
    with pytest.raises(TooManyRevocations):
        other.revoke(sub("c"))


def test_it_is_heard_by_a_wake_up(listening, sub, monkeypatch):
    monkeypatch.setattr(sqlite_listener, "LOOK_SECONDS", 600)
    one, other = listening(policy()), listening()
    gevent.sleep(0)  # both wait now
    one.revoke(sub())
    eventually(lambda: other.ear.controls)
    assert other.ear.controls == one.ear.controls == [("revoked", sub()._asdict())]


def test_it_is_heard_without_one(listening, sub, monkeypatch):
    one, other = listening(policy()), listening()
    monkeypatch.setattr(one._wakeups, "send", lambda: None)
    one.revoke(sub())
    eventually(lambda: other.ear.controls, seconds=1)
    assert other.ear.losses == 0


def test_a_process_that_was_stopped_until_the_announcement_was_gone_is_told_of_the_loss(listening, sub, opened, clock):
    one, other = opened(policy()), listening()
    one.revoke(sub())
    clock.step(600)
    sweep(one)
    eventually(lambda: other.ear.losses)
    assert other.ear.controls == []
    assert other.revocations() == [sub()]


@pytest.mark.parametrize("statement", ["INSERT OR REPLACE INTO revocations", "INSERT INTO controls", "COMMIT"])
def test_one_that_cannot_be_written_whole_is_not_written_nor_announced(listening, sub, monkeypatch, statement):
    store = listening(policy())
    store.revoke(sub("a"))
    execute = store._file._connection.execute

    def broken(text, *values):
        if text.startswith(statement):
            raise sqlite3.OperationalError("disk full")
        return execute(text, *values)

    with monkeypatch.context() as full:
        full.setattr(store._file, "execute", broken)
        with pytest.raises(StoreUnavailable):
            store.revoke(sub("b"))
    assert store.revocations() == [sub("a")]
    store.revoke(sub("c"))
    assert [data["value"] for _, data in store.ear.controls] == ["a", "c"]


def test_those_that_ended_leave_the_file_in_steps(opened, sub, clock, monkeypatch):
    monkeypatch.setattr(sqlite_revocations, "ROWS", 10)
    store = opened(policy())
    for number in range(25):
        store.revoke(sub(str(number), until=1))
    store.revoke(sub("last"))
    clock.step(1 + REVOKED_SECONDS)
    left = []
    for _ in range(4):
        sweep_once(store)
        left.append(store._file.scalar("SELECT count(*) FROM revocations"))
    assert left == [16, 6, 1, 1]


def sweep_once(store):
    while store.sweep():
        pass
