"""Several channels in one poll: one page, a cursor each, and none of them starved."""

import gevent
import pytest

from app import subscriber as module
from app.config import Policy, Retention, RetentionRule
from app.errors import InvalidRequest
from tests.support.app import Clock, answer, assert_nothing_left, ids, parked, server, staged, store_url

POLICY = Policy((RetentionRule("small", Retention(2, 86400)),))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def bide(request, tmp_path, clock):
    with server(store_url(request.param, tmp_path), clock, POLICY) as parts:
        clock.now += 10
        yield parts
        assert_nothing_left(parts)


def publish(bide, clock, channel, *messages):
    """Each a millisecond after the one before."""
    sent = []
    for message in messages or (1,):
        clock.now += 0.001
        sent.append(bide.publisher.publish(channel, message))
    return sent


def together(bide, *publications):
    """Publish within one turn of the event loop, before a poll that is woken runs; ids in order."""
    calls = [gevent.spawn(bide.publisher.publish, *publication) for publication in publications]
    return [call.get(timeout=1) for call in calls]


def poll(bide, cursors, timeout=0.0, limit=None):
    return bide.subscriber.poll(cursors, timeout=timeout, limit=limit, several=True)


def parked_poll(bide, cursors, limit=None):
    greenlet = gevent.spawn(poll, bide, cursors, 50, limit)
    parked(bide)
    return greenlet


def test_the_oldest_waiting_event_goes_first(bide, clock):
    (late,) = publish(bide, clock, "b")
    publish(bide, clock, "a")
    page = poll(bide, {"a": 0, "b": 0, "c": 0})
    assert ids(page) == [late]
    assert page.cursors["b"] == late


def test_the_cursors_of_channels_that_gave_nothing_lose_nothing(bide, clock):
    sent = {name: publish(bide, clock, name, 1, 2) for name in ("a", "b", "c")}
    cursors, seen = dict.fromkeys("abc", 0), {name: [] for name in "abc"}
    for _ in range(6):
        page = poll(bide, cursors)
        (event,) = page.events
        seen[event.channel].append(event.id)
        cursors = page.cursors
    assert seen == sent
    assert not poll(bide, cursors).events


def test_the_cursors_keep_the_order_asked(bide, clock):
    publish(bide, clock, "a")
    assert list(poll(bide, {"b": 0, "a": 0}).cursors) == ["b", "a"]


def test_with_room_for_each_each_channel_gives_one(bide, clock):
    publish(bide, clock, "busy", *range(50))
    (quiet,) = publish(bide, clock, "quiet")
    page = poll(bide, {"busy": 0, "quiet": 0, "none": 0}, limit=3)
    assert quiet in ids(page)
    assert len(page.events) == 3


def test_a_batch_is_filled_with_what_waits_in_the_order_it_came(bide, clock):
    sent = []
    for _ in range(20):
        sent += publish(bide, clock, "a") + publish(bide, clock, "b")
    page = poll(bide, {"a": 0, "b": 0}, limit=30)
    assert ids(page) == sent[:30]
    page = poll(bide, page.cursors, limit=30)
    assert ids(page) == sent[30:]


def test_a_batch_ends_before_it_is_too_large(bide, clock, monkeypatch):
    for name in ("a", "b"):
        publish(bide, clock, name, *["x" * 100] * 5)
    monkeypatch.setattr(module, "PAGE_BYTES", 600)
    page = poll(bide, {"a": 0, "b": 0}, limit=100)
    assert 2 <= len(page.events) <= 4
    assert sum(len(event.json) + 1 for event in page.events) <= 600


def test_a_parked_poll_is_answered_by_any_of_its_channels(bide, clock):
    for name in ("a", "b"):
        waiting = parked_poll(bide, {"a": "latest", "b": "latest"})
        sent = publish(bide, clock, name)
        assert ids(answer(waiting)) == sent


def test_what_came_on_several_channels_before_the_poll_ran_comes_in_one_batch(bide, clock):
    waiting = parked_poll(bide, {"a": 0, "b": 0, "c": 0}, limit=10)
    sent = together(bide, ("a", 1), ("a", 2), ("c", 3))
    assert ids(answer(waiting)) == sorted(sent)


def test_a_woken_poll_reads_no_store(bide, clock):
    waiting = parked_poll(bide, dict.fromkeys("abcdef", 0), limit=100)
    reads = staged(bide).reads
    together(bide, *(("a", number) for number in range(40)))
    assert len(answer(waiting).events) == 40
    assert staged(bide).reads == reads


def test_gaps_are_told_for_each_channel(bide, clock):
    below = publish(bide, clock, "small", 1, 2, 3, 4)
    (other,) = publish(bide, clock, "other")
    page = poll(bide, {"small": below[0], "other": other - 1, "none": 5}, limit=10)
    assert page.gaps == {"small": below[2], "none": None}
    assert ids(page) == [*below[2:], other]


def test_a_gap_is_told_even_where_another_channel_answers(bide, clock):
    below = publish(bide, clock, "small", 1, 2, 3, 4)
    bide.delete("small")
    (other,) = publish(bide, clock, "other")
    page = poll(bide, {"small": below[0], "other": 0})
    assert ids(page) == [other]
    assert page.gaps == {"small": None}
    assert page.cursors["small"] == below[-1]


def test_one_cursor_from_the_future_refuses_the_poll(bide, clock):
    publish(bide, clock, "a")
    with pytest.raises(InvalidRequest, match="that b gave"):
        poll(bide, {"a": 0, "b": int((clock.now + 61) * 1e6)})


def test_a_delete_of_one_channel_answers_the_poll(bide, clock):
    (head,) = publish(bide, clock, "a")
    waiting = parked_poll(bide, {"a": head, "b": 0})
    bide.delete("a")
    page = answer(waiting)
    assert not page.events
    assert page.cursors["a"] == head


def test_a_poll_of_a_hundred_channels_leaves_nothing_behind(bide, clock):
    names = [f"c{number}" for number in range(100)]
    waiting = parked_poll(bide, dict.fromkeys(names, 0))
    assert bide.counts()["present"] == 100
    assert bide.counts()["waiters"] == 1
    publish(bide, clock, "c99")
    answer(waiting)
    assert_nothing_left(bide)
