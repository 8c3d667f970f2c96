"""Fairness as laws: whatever waits on however many channels, these hold for the page that is made of it."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import given

from app.events import Event
from app.merge import STEP, Ready, merge
from tests.support.app import chain, law

PLENTY = 10**9


@dataclass
class Channel:
    """What waits on one channel, and the ids after which more of it was asked for."""

    events: list[Event]
    asked: list[int] = field(default_factory=list)

    def ready(self, first: int = 1) -> Ready:
        return Ready(self.events[:first], self.more)

    def more(self, after: int, limit: int, max_bytes: int) -> list[Event]:
        self.asked.append(after)
        assert limit == STEP
        assert max_bytes > 0
        return [event for event in self.events if event.id > after][:limit]


@st.composite
def channels(draw):
    """Up to six channels with up to forty events each, of any size; the clock may step back within a channel."""
    found = []
    for number in range(draw(st.integers(1, 6))):
        times = draw(st.lists(st.integers(1, 50), min_size=1, max_size=40))
        sizes = draw(st.lists(st.integers(1, 40), min_size=len(times), max_size=len(times)))
        events = [
            Event(f"c{number}", id, id - 1, at_us, None, b"1" * size)
            for id, (at_us, size) in enumerate(zip(times, sizes, strict=True), 1)
        ]
        found.append(Channel(events))
    return found


def page_of(found, limit=PLENTY, max_bytes=PLENTY, first=1):
    return merge([channel.ready(first) for channel in found], limit, max_bytes)


def by_channel(page, channel):
    return [event for event in page if event.channel == channel.events[0].channel]


def weight(page):
    return sum(len(event.json) + 1 for event in page)


@law
@given(channels(), st.integers(1, 60), st.integers(1, 5000))
def test_a_page_keeps_its_bounds_and_has_at_least_one_event(found, limit, max_bytes):
    page = page_of(found, limit, max_bytes)
    assert 1 <= len(page) <= limit
    assert weight(page) <= max_bytes or len(page) == 1


@law
@given(channels(), st.integers(1, 60), st.integers(1, 5000))
def test_each_channel_gives_its_oldest_in_order_without_a_hole(found, limit, max_bytes):
    page = page_of(found, limit, max_bytes)
    for channel in found:
        taken = by_channel(page, channel)
        assert taken == channel.events[: len(taken)]


@law
@given(channels(), st.integers(1, 60), st.integers(1, 5000))
def test_no_channel_gives_a_second_before_all_gave_one(found, limit, max_bytes):
    page = page_of(found, limit, max_bytes)
    given_ = [len(by_channel(page, channel)) for channel in found]
    assert max(given_) <= 1 or min(given_) >= 1


@law
@given(channels(), st.integers(0, 40))
def test_a_limit_for_all_channels_starves_none(found, more):
    page = page_of(found, limit=len(found) + more)
    assert all(by_channel(page, channel) for channel in found)


@law
@given(channels(), st.integers(1, 6))
def test_where_not_all_find_room_the_oldest_waiting_go_first(found, limit):
    page = page_of(found, limit)
    heads = sorted((channel.events[0] for channel in found), key=lambda event: (event.at_us, event.id))
    expected = [(event.at_us, event.id) for event in heads[:limit]]
    assert [(event.at_us, event.id) for event in page][: len(expected)] == expected or len(page) > len(found)


@law
@given(channels())
def test_a_page_with_room_for_all_has_all(found):
    assert len(page_of(found)) == sum(len(channel.events) for channel in found)


@law
@given(channels(), st.integers(1, 60))
def test_room_is_filled_as_long_as_anything_waits(found, limit):
    assert len(page_of(found, limit)) == min(limit, sum(len(channel.events) for channel in found))


@law
@given(channels(), st.integers(1, 60), st.integers(1, 5000))
def test_among_channels_time_decides_where_the_clocks_went_forward(found, limit, max_bytes):
    for channel in found:
        times = sorted(event.at_us for event in channel.events)
        channel.events = [
            Event(event.channel, event.id, event.prev, at_us, None, b"1")
            for event, at_us in zip(channel.events, times, strict=True)
        ]
    times = [event.at_us for event in page_of(found, limit, max_bytes)]
    assert times == sorted(times)


@law
@given(channels(), st.integers(1, 60))
def test_how_many_events_came_with_the_first_look_changes_nothing(found, limit):
    assert page_of(found, limit, first=1) == page_of(found, limit, first=40)


def test_a_busy_channel_does_not_crowd_out_a_quiet_one():
    busy = Channel(chain(range(1, 1001), channel="busy"))
    quiet = Channel(chain([5000], channel="quiet"))
    page = page_of([busy, quiet], limit=10)
    assert len(by_channel(page, busy)) == 9
    assert len(by_channel(page, quiet)) == 1


def test_a_page_of_one_gives_the_oldest_of_all():
    found = [Channel(chain([7], channel="a")), Channel(chain([3], channel="b")), Channel(chain([5], channel="c"))]
    assert [event.id for event in page_of(found, limit=1)] == [3]


def test_a_full_page_asks_no_channel_for_more():
    found = [Channel(chain([1, 2], channel="a")), Channel(chain([3, 4], channel="b"))]
    page_of(found, limit=2)
    assert [channel.asked for channel in found] == [[], []]


def test_a_channel_is_asked_in_steps_and_not_for_each_event():
    channel = Channel(chain(range(1, 101)))
    assert len(page_of([channel, Channel(chain([200], channel="b"))], limit=50)) == 50
    assert len(channel.asked) <= 50 // STEP + 1


def test_the_first_event_is_given_however_large_it_is():
    large = chain([1], channel="a", message=b"1" * 1000)
    small = chain([2], channel="b")
    assert page_of([Channel(large), Channel(small)], max_bytes=100) == large
