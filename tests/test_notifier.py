"""Waiters: registered, woken, ended, and gone without a trace. The tails are in test_notifier_tails.py."""

import contextlib
import time
from types import SimpleNamespace

import gevent
import pytest

from app import notifier as module
from app.config import Policy
from app.notifier import Notifier
from app.waiter import Waiter
from tests.support.app import Clock, chain, event, watching

EMPTY = {"waiters": 0, "tails": 0, "tails_bytes": 0}


@pytest.fixture
def notifier():
    return Notifier(Policy().retention, lambda: 1000, lambda channels: (), lambda question: None, print, print)


@pytest.fixture(autouse=True)
def _nothing_is_accepted(monkeypatch):
    monkeypatch.setattr(module, "ACCEPTING_SECONDS", 0)


@pytest.fixture
def monotonic(monkeypatch):
    """The clock by which idle channels are let go."""
    clock = Clock(1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock))
    return clock


def woken(waiter):
    """Whether a wait would end at once."""
    with gevent.Timeout(0.005, False):
        waiter.wait()
        return True
    return False


def test_a_waiter_is_woken_by_an_event_of_its_channel(notifier):
    with watching(notifier, ["news", "jobs"]) as waiter:
        assert not woken(waiter)
        notifier.announce([event(1, channel="jobs")])
        assert woken(waiter)
        assert waiter.ready == {"jobs"}
        assert waiter.ending is None


def test_a_waiter_is_not_woken_by_other_channels(notifier):
    with watching(notifier, ["news"]) as waiter:
        notifier.announce([event(1, channel="new"), event(2, channel="News")])
        assert not woken(waiter)


def test_a_cleared_waiter_waits_again_and_hears_what_comes_next(notifier):
    with watching(notifier, ["news"]) as waiter:
        notifier.announce([event(1)])
        waiter.clear()
        assert not woken(waiter)
        assert waiter.ready == frozenset()
        notifier.announce([event(2, 1)])
        assert woken(waiter)


def test_several_channels_that_were_announced_are_all_ready(notifier):
    with watching(notifier, ["a", "b", "c"]) as waiter:
        notifier.announce([event(1, channel="a"), event(2, channel="b"), event(3, channel="a")])
        assert waiter.ready == {"a", "b"}


def test_every_waiter_of_a_channel_is_woken(notifier):
    with watching(notifier, ["news"]) as one, watching(notifier, ["news"]) as other:
        notifier.announce([event(1)])
        assert woken(one)
        assert woken(other)


def test_a_channel_is_heard_as_long_as_somebody_waits_or_may_come_back(notifier, monotonic):
    assert not notifier.hears("news")
    with watching(notifier, ["news"]):
        assert notifier.hears("news")
    assert notifier.hears("news")
    monotonic.now += module.IDLE_SECONDS
    notifier.expire()
    assert not notifier.hears("news")


def test_nothing_is_left_behind(notifier, monotonic):
    with contextlib.suppress(RuntimeError), watching(notifier, ["news", "jobs"]):
        notifier.announce(chain([1, 2, 3]))
        raise RuntimeError
    assert notifier.counts()["waiters"] == 0
    monotonic.now += module.IDLE_SECONDS
    notifier.expire()
    assert notifier.counts() == EMPTY


def test_a_waiter_that_is_gone_is_not_woken(notifier):
    with watching(notifier, ["news"]) as waiter:
        pass
    notifier.announce([event(1)])
    notifier.control("deleted", {"channel": "news", "to": 1})
    notifier.lost()
    notifier.drain(0)
    assert waiter.ready == frozenset()
    assert waiter.ending is None


def test_an_idle_channel_is_kept_for_a_client_that_comes_back(notifier, monotonic):
    with watching(notifier, ["news"]):
        notifier.announce([event(1)])
    monotonic.now += module.IDLE_SECONDS - 0.1
    notifier.expire()
    assert notifier.tail("news", 0).head == 1


def test_a_channel_that_was_come_back_to_is_not_idle(notifier, monotonic):
    with watching(notifier, ["news"]):
        pass
    with watching(notifier, ["news"]):
        monotonic.now += module.IDLE_SECONDS * 2
        notifier.expire()
        assert notifier.hears("news")
    notifier.expire()
    assert notifier.hears("news")


def test_a_channel_with_one_of_two_waiters_gone_is_not_idle(notifier, monotonic):
    with watching(notifier, ["news"]):
        with watching(notifier, ["news"]):
            pass
        monotonic.now += module.IDLE_SECONDS
        notifier.expire()
        assert notifier.hears("news")


def test_idle_channels_are_bounded(notifier, monotonic, monkeypatch):
    monkeypatch.setattr(module, "IDLE_CHANNELS", 3)
    for number in range(10):
        with watching(notifier, [f"c{number}"]):
            notifier.announce([event(1, channel=f"c{number}")])
    assert [number for number in range(10) if notifier.hears(f"c{number}")] == [7, 8, 9]
    assert notifier.counts()["tails"] == 3
    assert notifier.counts()["tails_bytes"] == 3 * len(event(1, channel="c0").json)


def test_the_bound_of_idle_channels_takes_none_that_is_watched(notifier, monotonic, monkeypatch):
    monkeypatch.setattr(module, "IDLE_CHANNELS", 0)
    with watching(notifier, ["a"]):
        with watching(notifier, ["b"]):
            pass
        assert notifier.hears("a")
        assert not notifier.hears("b")


def test_a_deleted_channel_ends_its_waiters_and_no_others(notifier):
    with watching(notifier, ["news"]) as deleted, watching(notifier, ["jobs"]) as other:
        notifier.control("deleted", {"channel": "news", "to": 0})
        assert deleted.ending == "deleted"
        assert woken(deleted)
        assert other.ending is None
        assert not woken(other)


@pytest.mark.parametrize(
    ("kind", "data"),
    [("asked", {}), ("revoked", {"channel": "news", "to": 1}), ("deleted", {"channel": "other", "to": 1})],
)
def test_controls_for_others_are_passed_over(notifier, kind, data):
    with watching(notifier, ["news"]) as waiter:
        notifier.control(kind, data)
        assert not woken(waiter)


def test_what_was_lost_wakes_every_waiter_on_all_its_channels(notifier):
    with watching(notifier, ["a", "b"]) as waiter, watching(notifier, ["c"]) as other:
        notifier.lost()
        assert waiter.ready == {"a", "b"}
        assert other.ready == {"c"}
        assert waiter.ending is None


def test_draining_answers_every_waiter(notifier):
    with watching(notifier, ["a"]) as one, watching(notifier, ["b"]) as other:
        notifier.drain(0)
        assert (one.ending, other.ending) == ("draining", "draining")
        assert woken(one)


def test_a_poll_that_comes_while_draining_is_held_until_nothing_is_accepted_any_more(notifier, monkeypatch):
    """Answered at once its client would be back at once, as long as gunicorn still accepts: a storm and no drain."""
    monkeypatch.setattr(module, "ACCEPTING_SECONDS", 0.05)
    with watching(notifier, ["news"]) as early:
        drain = gevent.spawn(notifier.drain, 0)
        early.wait()
        with watching(notifier, ["news"]) as late:
            assert not woken(late)
            drain.join()
            assert late.ending == "draining"


def test_a_poll_that_comes_after_the_drain_is_answered_at_once(notifier):
    notifier.drain(0)
    assert notifier.draining
    with watching(notifier, ["news"]) as waiter:
        assert waiter.ending == "draining"
        assert woken(waiter)


def test_draining_spreads_the_answers_over_its_time(notifier):
    ended = []

    def poll():
        with watching(notifier, ["news"]) as waiter:
            waiter.wait()
            ended.append(time.monotonic())

    polls = [gevent.spawn(poll) for _ in range(8)]
    gevent.sleep(0)
    begun = time.monotonic()
    notifier.drain(0.08)
    gevent.joinall(polls, timeout=1)
    assert len(ended) == 8
    for number, at in enumerate(ended):
        assert at - begun >= 0.01 * number


def test_draining_leaves_an_ending_that_came_before_it(notifier):
    with watching(notifier, ["a"]), watching(notifier, ["b"]) as gone:
        gone.end("hung up")
        notifier.drain(0)
        assert gone.ending == "hung up"


def test_a_waiter_that_leaves_while_draining_is_no_hindrance(notifier):
    with watching(notifier, ["a"]) as first:
        second = Waiter()
        notifier.register(["b"], second)
        drain = gevent.spawn(notifier.drain, 0.02)
        gevent.sleep(0)
        assert first.ending == "draining"
        notifier.unregister(["b"], second)
        drain.get(timeout=1)
    assert notifier.counts()["waiters"] == 0


def test_polls_whose_tokens_were_revoked_are_ended_and_no_others(notifier):
    with contextlib.ExitStack() as stack:
        waiters = [stack.enter_context(watching(notifier, ["news"])) for _ in range(3)]
        waiters[1].permit = SimpleNamespace(is_revoked=False)
        waiters[2].permit = SimpleNamespace(is_revoked=True)
        notifier.end_revoked()
        assert [waiter.ending for waiter in waiters] == [None, None, "revoked"]
        assert [woken(waiter) for waiter in waiters] == [False, False, True]


def test_thousands_of_polls_are_asked_for_their_tokens_while_others_go_on(notifier, monkeypatch):
    monkeypatch.setattr(module, "LOOKED_AT", 10)
    waiters = [Waiter() for _ in range(100)]
    for waiter in waiters:
        waiter.permit = SimpleNamespace(is_revoked=True)
        notifier.register(["news"], waiter)
    look = gevent.spawn(notifier.end_revoked)
    gevent.sleep(0)
    assert sum(waiter.ending == "revoked" for waiter in waiters) == 10
    gone = waiters[50]
    notifier.unregister(["news"], gone)
    look.get(timeout=1)
    assert sum(waiter.ending == "revoked" for waiter in waiters) == 99
    assert gone.ending is None


def test_what_is_none_of_its_business_is_passed_on():
    told = []
    notifier = Notifier(None, None, None, None, told.append, lambda: told.append("missed"))
    notifier.control("revoked", {"claim": "sub"})
    notifier.missed_controls()
    notifier.lost()
    notifier.control("of a later version", {})
    assert told == [{"claim": "sub"}, "missed", "missed"]
