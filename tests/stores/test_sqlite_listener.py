"""Catching up: a poll is told at once of what others did before it came."""

import sqlite3

import gevent
import pytest

from .support import Ear, eventually, put


@pytest.fixture
def pair(opened):
    stores = [opened(), opened()]
    for store in stores:
        store.ear = Ear()
        store.listen(store.ear)
    gevent.sleep(0)
    return stores


def test_who_catches_up_is_told_at_once_and_looks_no_more_while_nothing_is_new(pair, monkeypatch):
    one, other = pair
    put(one, "a", 1)
    other.catch_up()
    assert other.ear.messages() == [1]
    looks = []
    monkeypatch.setattr(other._listening, "_step", lambda: looks.append(True) or False)
    other.catch_up()
    assert looks == []


def test_who_cannot_catch_up_is_told_by_the_next_look(pair, monkeypatch):
    one, other = pair

    def busy(*_):
        raise sqlite3.OperationalError("database is locked")

    put(one, "a", 1)
    with monkeypatch.context() as patched:
        patched.setattr(other._file, "scalar", busy)
        other.catch_up()
    assert other.ear.messages() == []
    eventually(lambda: other.ear.messages() == [1])
