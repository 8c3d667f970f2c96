"""Tails: what they can prove whole they serve, what they cannot they throw away, and none grows without a bound."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app import notifier as module
from app.config import Policy, Retention, RetentionRule
from app.notifier import Notifier
from tests.support.app import Clock, chain, event, law, watching


def make(policy=None, clock=None):
    clock = clock or Clock(0.001)
    return Notifier(
        (policy or Policy()).retention,
        lambda: int(clock.now * 1e6),
        lambda channels: (),
        lambda question: None,
        print,
        print,
    )


@pytest.fixture
def notifier():
    """One whose channel `news` is watched for the time of the test."""
    notifier = make()
    with watching(notifier, ["news"]):
        yield notifier


def ids(notifier, after, limit=1000, channel="news"):
    """What the tail serves after an id, None where it cannot."""
    tail = notifier.tail(channel, after)
    return None if tail is None else [event.id for event in tail.after(after, limit)]


def weight(*events):
    return sum(len(event.json) for event in events)


def test_a_channel_that_nobody_watches_has_no_tail(notifier):
    notifier.announce([event(1, channel="other")])
    notifier.adopt("other", 1)
    assert notifier.tail("other", 0) is None
    assert notifier.tail("other", 1) is None


def test_a_watched_channel_has_no_tail_before_something_proved_one(notifier):
    assert notifier.tail("news", 0) is None


def test_a_tail_begins_with_what_the_first_event_links_to(notifier):
    notifier.announce(chain([5, 6], prev=3))
    assert ids(notifier, 3) == [5, 6]
    assert ids(notifier, 5) == [6]
    assert ids(notifier, 6) == []


def test_a_tail_knows_nothing_below_its_start_and_nothing_above_its_head(notifier):
    notifier.announce(chain([5, 6], prev=3))
    assert notifier.tail("news", 2) is None
    assert notifier.tail("news", 7) is None


def test_a_cursor_between_two_ids_is_served_too(notifier):
    notifier.announce(chain([5, 9], prev=3))
    assert ids(notifier, 4) == [5, 9]
    assert ids(notifier, 7) == [9]


def test_a_tail_gives_no_more_than_it_is_asked_for(notifier):
    notifier.announce(chain([1, 2, 3, 4]))
    assert ids(notifier, 1, limit=2) == [2, 3]


def test_a_read_begins_a_tail_at_the_head_it_saw(notifier):
    notifier.adopt("news", 7)
    assert ids(notifier, 7) == []
    notifier.announce([event(8, 7)])
    assert ids(notifier, 7) == [8]


def test_a_read_does_not_replace_what_was_proven(notifier):
    notifier.announce(chain([5, 6]))
    notifier.adopt("news", 9)
    assert ids(notifier, 5) == [6]


def test_an_event_that_does_not_follow_begins_a_new_tail(notifier):
    notifier.announce(chain([1, 2]))
    notifier.announce([event(9, 7)])
    assert ids(notifier, 1) is None
    assert ids(notifier, 2) is None
    assert ids(notifier, 7) == [9]
    assert notifier.counts()["tails_bytes"] == weight(event(9, 7))


def test_an_event_that_comes_twice_is_kept_once(notifier):
    events = chain([1, 2, 3])
    notifier.announce(events)
    notifier.announce(events[:1])
    notifier.announce(events[2:])
    assert ids(notifier, 0) == [1, 2, 3]
    assert notifier.counts()["tails_bytes"] == weight(*events)


def test_an_event_that_was_read_before_it_is_announced_is_not_kept(notifier):
    notifier.adopt("news", 2)
    notifier.announce(chain([1, 2, 3]))
    assert ids(notifier, 2) == [3]
    assert ids(notifier, 0) is None


@law
@given(st.lists(st.integers(1, 12), max_size=40))
def test_whatever_comes_missing_or_twice_a_tail_serves_no_hole(order):
    """Announced in any order, with holes and repetitions: what is served after a cursor is all there is after it."""
    events = {event.id: event for event in chain(range(1, 13))}
    notifier = make()
    with watching(notifier, ["news"]):
        newest = 0
        for id in order:
            notifier.announce([events[id]])
            newest = max(newest, id)
            for after in range(newest + 1):
                served = ids(notifier, after)
                assert served is None or served == list(range(after + 1, newest + 1))


def test_a_tail_is_bounded_in_events(notifier, monkeypatch):
    monkeypatch.setattr(module, "TAIL_EVENTS", 3)
    events = chain(range(1, 11))
    notifier.announce(events)
    assert ids(notifier, 7) == [8, 9, 10]
    assert ids(notifier, 6) is None
    assert notifier.counts()["tails_bytes"] == weight(*events[-3:])


def test_a_tail_shows_no_more_than_retention_counts():
    rule = RetentionRule("news", Retention(2, 1000))
    notifier = make(Policy((rule,)))
    with watching(notifier, ["news", "jobs"]):
        notifier.announce([*chain([1, 2, 3, 4]), *chain([1, 2, 3, 4], channel="jobs")])
        assert ids(notifier, 2) == [3, 4]
        assert ids(notifier, 1) is None
        assert ids(notifier, 0, channel="jobs") == [1, 2, 3, 4]


def test_a_tail_shows_nothing_older_than_retention():
    clock = Clock(100)
    notifier = make(Policy(default=Retention(1000, 10)), clock)
    with watching(notifier, ["news"]):
        notifier.announce([event(1, 0, at_us=100_000_000), event(2, 1, at_us=105_000_000)])
        clock.now = 110
        assert ids(notifier, 0) == [1, 2]
        clock.now = 110.001
        assert ids(notifier, 0) is None
        assert ids(notifier, 1) == [2]
        clock.now = 200
        assert ids(notifier, 1) is None
        assert ids(notifier, 2) == []
        assert notifier.counts()["tails_bytes"] == 0


def test_a_clock_that_stepped_back_tears_no_hole_into_a_tail():
    clock = Clock(100)
    notifier = make(Policy(default=Retention(1000, 10)), clock)
    with watching(notifier, ["news"]):
        notifier.announce([event(1, 0, at_us=99_000_000), event(2, 1, at_us=50_000_000), event(3, 2, at_us=99_000_000)])
        assert ids(notifier, 0) == [1, 2, 3]


def test_a_tail_is_bounded_in_bytes(notifier, monkeypatch):
    events = chain([1, 2, 3, 4])
    monkeypatch.setattr(module, "TAIL_BYTES", weight(*events[:2]))
    notifier.announce(events)
    assert ids(notifier, 2) == [3, 4]
    assert ids(notifier, 1) is None


def test_the_newest_event_is_kept_however_large_it_is(notifier, monkeypatch):
    monkeypatch.setattr(module, "TAIL_BYTES", 10)
    notifier.announce(chain([1, 2]))
    assert ids(notifier, 1) == [2]


def test_above_the_bound_of_all_tails_those_that_nobody_waits_on_go_first(notifier, monkeypatch):
    with watching(notifier, ["idle"]):
        notifier.announce([event(1, channel="idle")])
    monkeypatch.setattr(module, "TAILS_BYTES", weight(event(1, channel="idle")))
    notifier.announce([event(1)])
    assert notifier.tail("idle", 0) is None
    assert ids(notifier, 0) == [1]
    assert notifier.counts()["tails_bytes"] == weight(event(1))


def test_where_all_are_waited_on_the_one_that_grows_is_emptied(notifier, monkeypatch):
    with watching(notifier, ["other"]):
        notifier.announce([event(1, channel="other")])
        monkeypatch.setattr(module, "TAILS_BYTES", weight(event(1, channel="other")))
        notifier.announce(chain([1, 2]))
        assert ids(notifier, 0, channel="other") == [1]
        assert ids(notifier, 1) is None
        assert ids(notifier, 2) == []
        assert notifier.counts()["tails_bytes"] == weight(event(1, channel="other"))


def test_a_delete_takes_everything_up_to_its_id(notifier):
    notifier.announce(chain([1, 2, 3]))
    notifier.control("deleted", {"channel": "news", "to": 2})
    assert ids(notifier, 1) is None
    assert ids(notifier, 2) == [3]
    assert notifier.counts()["tails_bytes"] == weight(event(3, 2))


def test_a_delete_of_everything_leaves_the_place_from_which_to_go_on(notifier):
    notifier.announce(chain([1, 2]))
    notifier.control("deleted", {"channel": "news", "to": 2})
    assert ids(notifier, 2) == []
    notifier.announce([event(3, 2)])
    assert ids(notifier, 2) == [3]


def test_a_delete_that_runs_ahead_of_the_announcements_is_kept_to(notifier):
    notifier.announce(chain([1, 2]))
    notifier.control("deleted", {"channel": "news", "to": 4})
    notifier.announce(chain([3, 4, 5], prev=2))
    assert ids(notifier, 2) is None
    assert ids(notifier, 4) == [5]


def test_a_delete_of_an_older_time_takes_nothing_newer(notifier):
    notifier.announce(chain([5, 6], prev=4))
    notifier.control("deleted", {"channel": "news", "to": 3})
    assert ids(notifier, 4) == [5, 6]


def test_what_was_lost_is_read_again(notifier):
    notifier.announce(chain([1, 2]))
    notifier.lost()
    assert notifier.tail("news", 1) is None
    assert notifier.tail("news", 2) is None
    assert notifier.counts()["tails_bytes"] == 0
    notifier.adopt("news", 5)
    assert ids(notifier, 5) == []


def test_a_tail_goes_on_when_nobody_waits(notifier):
    """A client that polls again finds what came between its two polls."""
    with watching(notifier, ["jobs"]):
        notifier.announce([event(1, channel="jobs")])
    notifier.announce([event(2, 1, channel="jobs")])
    assert ids(notifier, 1, channel="jobs") == [2]
