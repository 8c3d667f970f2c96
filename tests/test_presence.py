"""Who is a subscriber: while a poll is open, for a moment after it, and no longer."""

import contextlib
from types import SimpleNamespace

import pytest

from app import presence as module
from app.presence import Presence
from tests.support.app import Clock, present


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock, time=clock))
    return clock


@pytest.fixture
def presence(clock):
    return Presence(5)


def names(presence, channel="news"):
    return [subscriber.client_id for subscriber in presence.subscribers(channel)]


def come_and_go(presence, client_id, *channels):
    with present(presence, channels or ["news"], client_id, "poll"):
        pass


def nothing_left(presence):
    return presence.counts() == {"present": 0, "lingering": 0}


def test_a_client_with_a_poll_open_is_a_subscriber(presence):
    with present(presence, ["news", "jobs"], "ann", "poll"):
        assert names(presence) == ["ann"]
        assert len(presence.clients("jobs")) == 1
        assert len(presence.clients("other")) == 0


def test_a_client_that_left_lingers_and_is_then_forgotten(presence, clock):
    come_and_go(presence, "ann")
    clock.now += 4.9
    assert names(presence) == ["ann"]
    clock.now += 0.1
    assert names(presence) == []
    assert nothing_left(presence)


def test_a_client_that_comes_back_in_time_never_left(presence, clock):
    come_and_go(presence, "ann")
    clock.now += 4
    with present(presence, ["news"], "ann", "poll"):
        clock.now += 100
        (subscriber,) = presence.subscribers("news")
        assert subscriber.since == 1000.0
    clock.now += 4.9
    assert names(presence) == ["ann"]
    clock.now += 0.1
    presence.expire()
    assert nothing_left(presence)


def test_a_client_that_comes_back_too_late_is_a_new_one(presence, clock):
    come_and_go(presence, "ann")
    clock.now += 60
    presence.expire()
    with present(presence, ["news"], "ann", "poll"):
        assert presence.subscribers("news")[0].since == 1060.0


def test_a_client_with_two_polls_stays_until_the_last_one_ends(presence, clock):
    with present(presence, ["news"], "ann", "poll"):
        come_and_go(presence, "ann")
        clock.now += 60
        assert len(presence.clients("news")) == 1
    clock.now += 5
    assert len(presence.clients("news")) == 0
    assert nothing_left(presence)


def test_a_client_that_leaves_twice_in_one_moment_is_forgotten_once(presence, clock):
    come_and_go(presence, "ann")
    come_and_go(presence, "ann")
    clock.now += 5
    presence.expire()
    assert nothing_left(presence)


def test_a_client_leaves_whatever_happened_to_its_poll(presence, clock):
    with pytest.raises(RuntimeError), present(presence, ["news"], "ann", "poll"):
        raise RuntimeError
    clock.now += 5
    presence.expire()
    assert nothing_left(presence)


def test_who_came_first_is_named_first(presence):
    with contextlib.ExitStack() as stack:
        for name in ("cem", "ann", "bob"):
            stack.enter_context(present(presence, ["news"], name, "poll"))
        assert names(presence) == ["cem", "ann", "bob"]


def test_a_subscriber_is_told_with_its_latest_transport(presence):
    with present(presence, ["news"], "ann", "poll"), present(presence, ["news"], "ann", "sse"):
        assert presence.subscribers("news")[0]._asdict() == {"client_id": "ann", "transport": "sse", "since": 1000.0}


def test_without_a_time_to_linger_a_client_is_gone_at_once(clock):
    presence = Presence(0)
    come_and_go(presence, "ann")
    assert nothing_left(presence)


def test_channels_with_a_subscriber_are_told_apart(presence):
    with present(presence, ["b", "a"], "ann", "poll"):
        assert list(presence.subscribed(["a", "x", "b"])) == ["a", "b"]


def test_channels_are_listed_by_code_point_from_a_prefix_and_a_place_on(presence):
    with present(presence, ["b", "a:2", "a:1", "B", "a", "a~"], "ann", "poll"):
        assert list(presence.channels("", "")) == ["B", "a", "a:1", "a:2", "a~", "b"]
        assert list(presence.channels("a", "")) == ["a", "a:1", "a:2", "a~"]
        assert list(presence.channels("a", "a:1")) == ["a:2", "a~"]
        assert list(presence.channels("a", "b")) == []
        assert list(presence.channels("c", "")) == []


def test_who_left_is_not_listed(presence, clock):
    come_and_go(presence, "ann")
    clock.now += 5
    assert list(presence.channels("", "")) == []
    assert list(presence.subscribed(["news"])) == []


def test_those_who_linger_are_bounded(presence, monkeypatch):
    monkeypatch.setattr(module, "LINGERING", 3)
    for number in range(10):
        come_and_go(presence, f"c{number}")
    assert names(presence) == ["c7", "c8", "c9"]
    assert presence.counts() == {"present": 3, "lingering": 3}


def test_the_bound_forgets_nobody_who_is_here(presence, monkeypatch):
    monkeypatch.setattr(module, "LINGERING", 1)
    with present(presence, ["news"], "ann", "poll"):
        come_and_go(presence, "ann")
        come_and_go(presence, "bob")
        come_and_go(presence, "cem")
        assert names(presence) == ["ann", "cem"]
