"""What a process knows of revocations: read, heard, missed, lost by the store; and how often polls are looked at."""

import itertools
import time
from types import SimpleNamespace

import gevent
import pytest

from app import revocations as module
from app.errors import StoreUnavailable, TooManyRevocations
from app.revocations import Revocations
from app.stores.base import REVOKED_SECONDS, Revocation
from tests.support.app import wait_until

NOW = 1_700_000_000


def sub(value="ann", issued=0, until=1000):
    return Revocation("sub", value, NOW + issued, NOW + until)


def token(subject="ann", jti=None, issued_at=None):
    return SimpleNamespace(subject=subject, jti=jti, issued_at=issued_at)


class Kept:
    """A store's list. `meanwhile` is done once while it is read; `away` is for how many calls the store is."""

    def __init__(self, *listed):
        self.listed = list(listed)
        self.meanwhile = []
        self.away = 0
        self.reads = 0
        self.told = []
        self.most = 10_000

    def revocations(self):
        self.reads += 1
        self._reach()
        listed = list(self.listed)
        if self.meanwhile:
            self.meanwhile.pop()()
        return listed

    def revoke(self, revocation):
        self._reach()
        if len(self.listed) >= self.most:
            raise TooManyRevocations("no room")
        self.told.append(revocation)
        self.listed.append(revocation)

    def _reach(self):
        if self.away:
            self.away -= 1
            raise StoreUnavailable("The store cannot be used at the moment: try again", retry_after=1)


@pytest.fixture(autouse=True)
def _soon_and_now(monkeypatch):
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: NOW, monotonic=time.monotonic))


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def looks():
    """When polls were looked at."""
    return []


@pytest.fixture
def known():
    known = Revocations()
    yield known
    known.stop()


@pytest.fixture
def begin(known, kept, looks):
    return lambda: known.begin(kept, lambda: looks.append(time.monotonic()))


def heard(known, *revocations):
    for revocation in revocations:
        known.heard(revocation._asdict())


# What is covered


def test_a_subject_s_tokens_up_to_the_moment_and_those_that_do_not_say_when(known):
    heard(known, sub(issued=10))
    for issued_at, covered in ((None, True), (0, True), (NOW + 10, True), (NOW + 10.5, False), (NOW + 11, False)):
        assert known.covers(token(issued_at=issued_at)) == covered
    assert not known.covers(token("bob"))


def test_a_jti_whenever_it_was_issued(known):
    heard(known, Revocation("jti", "7", 0, NOW + 10))
    assert known.covers(token(jti="7", issued_at=NOW + 100))
    assert not known.covers(token("7"))
    assert not known.covers(token(jti="8"))


def test_no_longer_than_its_tokens_can_be_good_for(known):
    heard(known, sub("ann", until=-REVOKED_SECONDS), sub("bob", until=5 - REVOKED_SECONDS))
    assert not known.covers(token("ann"))
    assert known.covers(token("bob"))


def test_the_version_grows_with_what_is_new_and_with_nothing_else(known):
    versions = [known.version]
    for each in (sub(), sub(), sub(issued=-1, until=5), sub(issued=1), sub(until=2000), sub("bob")):
        heard(known, each)
        versions.append(known.version)
    assert [later - earlier for earlier, later in itertools.pairwise(versions)] == [1, 0, 0, 1, 1, 1]


# The list


def test_what_was_revoked_before_is_known_from_the_beginning(known, kept, begin):
    kept.listed.append(sub())
    begin()
    assert known.covers(token())


def test_until_it_could_be_read_nothing_is_said(known, kept, begin):
    kept.away = 3
    kept.listed.append(sub())
    begin()
    for ask in (known.check, lambda: known.covers(token()), lambda: known.covers(token("bob"))):
        with pytest.raises(StoreUnavailable):
            ask()
    wait_until(lambda: kept.away == 0, "read")
    wait_until(lambda: known._is_read, "known")
    assert known.covers(token())
    assert not known.covers(token("bob"))


def test_what_is_announced_while_the_list_is_read_is_not_lost(known, kept, begin):
    kept.meanwhile.append(lambda: heard(known, sub("bob")))
    kept.listed.append(sub())
    begin()
    assert known.covers(token("bob"))
    assert known.covers(token())


def test_what_is_moved_forward_while_the_list_is_read_is_not_moved_back(known, kept, begin):
    kept.listed.append(sub())
    kept.meanwhile.append(lambda: heard(known, sub(issued=100)))
    begin()
    assert known.covers(token(issued_at=NOW + 100))


def test_what_was_missed_is_read_when_it_can_be(known, kept, looks, begin):
    begin()
    kept.listed.append(sub())
    kept.away = 3
    known.missed()
    assert not known.covers(token())  # by what is known
    wait_until(lambda: known.covers(token()), "read")
    wait_until(lambda: looks, "looked at")


def test_what_is_missed_while_the_list_is_read_makes_it_be_read_once_more(known, kept, begin):
    begin()

    def happens():
        known.missed()
        kept.listed.append(sub())

    kept.meanwhile.append(happens)
    known.missed()
    wait_until(lambda: known.covers(token()), "read")
    assert kept.reads == 3


def test_an_unexpected_error_ends_nothing(known, kept, caplog, begin):
    begin()
    kept.meanwhile.append(lambda: 1 / 0)
    kept.listed.append(sub())
    known.missed()
    wait_until(lambda: known.covers(token()), "read")
    assert "trying again" in caplog.text


def test_before_it_begins_and_after_its_end_nothing_is_read(known, kept, begin):
    known.missed()
    begin()
    known.stop()
    known.missed()
    gevent.sleep(0.01)
    assert kept.reads == 1


# A store that lost it


def test_what_a_store_has_lost_is_told_it_again(known, kept, begin):
    kept.listed += [sub(str(number)) for number in range(250)] + [sub("ended", until=-1)]
    begin()
    lost, kept.listed = kept.listed, [sub("new")]
    known.missed()
    wait_until(lambda: len(kept.told) == 250, "told")
    gevent.sleep(0.01)
    assert sorted(kept.told) == sorted(lost[:-1])
    assert known.covers(token("new"))


def test_a_store_that_has_no_room_for_it_or_does_not_list_it_is_not_told_for_ever(known, kept, begin):
    kept.listed += [sub("a"), sub("b")]
    begin()
    kept.listed, kept.most = [], 0
    known.missed()
    gevent.sleep(0.01)
    assert kept.told == []
    kept.most, kept.revocations = 9, list
    known.missed()
    gevent.sleep(0.01)
    assert len(kept.told) == 2
    assert known.covers(token("a"))


def test_a_store_that_refuses_what_it_has_lost_is_told_when_it_takes_it(known, kept, begin):
    kept.listed.append(sub())
    begin()
    kept.listed.clear()
    kept.meanwhile.append(lambda: setattr(kept, "away", 3))
    known.missed()
    wait_until(lambda: kept.told == [sub()], "told")


# How much it does


def test_those_that_ended_are_forgotten_where_they_are_many(known, monkeypatch):
    monkeypatch.setattr(module, "FEW", 10)
    known._forget_at = 10
    for number in range(100):
        heard(known, sub(str(number), until=-REVOKED_SECONDS - 1))
    heard(known, *(sub(f"live {number}") for number in range(30)))
    assert len(known._subjects) < 60
    assert all(known.covers(token(f"live {number}")) for number in range(30))


def test_polls_are_looked_at_at_once_and_for_many_revocations_a_few_times(known, looks, begin):
    begin()
    begun = time.monotonic()
    heard(known, sub("0"))
    wait_until(lambda: len(looks) == 1, "looked at")
    heard(known, *(sub(str(number)) for number in range(1, 1000)))
    wait_until(lambda: len(looks) == 2, "looked at again")
    assert looks[1] - begun >= module.LOOK_SECONDS / 2
    gevent.sleep(2 * module.LOOK_SECONDS)
    assert len(looks) == 2
