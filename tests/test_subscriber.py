"""The reading end: what one poll answers, on every store that needs nothing installed.

Gaps are in test_subscriber_gaps.py, several channels in test_subscriber_several.py, and what happens between two
steps of a poll in test_subscriber_races.py.
"""

import time

import gevent
import pytest

from app import subscriber as module
from app.errors import InvalidRequest, StoreUnavailable, TooManyPolls
from app.waiter import Waiter
from tests.support.app import (
    BEGIN,
    Clock,
    answer,
    assert_nothing_left,
    ids,
    parked,
    parked_poll,
    poll,
    server,
    staged,
    store_url,
    watching,
)

#: Of a channel without a head: what a poll that got nothing is told to send next.
MINUTE_AGO = int((BEGIN - 60) * 1e6)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def bide(request, tmp_path, clock):
    with server(store_url(request.param, tmp_path), clock) as parts:
        clock.now += 10  # what the tests do comes after the store was made
        yield parts
        assert_nothing_left(parts)


def test_a_poll_from_0_gets_the_oldest_event(bide):
    first = bide.publisher.publish("news", 1)
    bide.publisher.publish("news", 2)
    page = poll(bide)
    assert ids(page) == [first]
    assert page.cursors == {"news": first}
    assert page.gaps == {}


def test_with_a_limit_a_poll_gets_as_many(bide):
    sent = bide.publisher.publish_batch("news", [1, 2, 3])
    page = poll(bide, limit=2)
    assert ids(page) == sent[:2]
    assert page.cursors == {"news": sent[1]}
    assert ids(poll(bide, sent[1], limit=2)) == sent[2:]


def test_a_client_that_sends_back_each_cursor_sees_every_event_once(bide):
    sent = bide.publisher.publish_batch("news", range(10))
    seen, cursor = [], 0
    for limit in (None, 3, None, 1, 4, 5):
        page = poll(bide, cursor, limit=limit)
        seen += ids(page)
        cursor = page.cursors["news"]
    assert seen == sent


def test_a_page_ends_before_it_is_too_large(bide, monkeypatch):
    sent = bide.publisher.publish_batch("news", ["x" * 100] * 5)
    monkeypatch.setattr(module, "PAGE_BYTES", 450)
    assert ids(poll(bide, limit=100)) == sent[:2]
    with watching(bide.notifier, ["news"]):
        bide.publisher.publish_batch("news", ["y" * 100] * 5)
        assert len(poll(bide, sent[-1], timeout=10, limit=100).events) == 2
    monkeypatch.setattr(module, "PAGE_BYTES", 10)
    assert ids(poll(bide, limit=100)) == sent[:1]


def test_where_there_is_nothing_the_cursor_lies_a_minute_back(bide, clock):
    clock.now = BEGIN + 3600
    assert poll(bide).cursors == {"news": MINUTE_AGO + 3600_000_000}
    assert poll(bide, "latest").cursors == {"news": MINUTE_AGO + 3600_000_000}
    assert bide.store.info("news") is None


def test_where_there_is_nothing_a_later_cursor_is_left_as_it_is(bide, clock):
    clock.now = BEGIN + 3600
    cursor = int(clock.now * 1e6) - 5
    page = poll(bide, cursor)
    assert page.cursors == {"news": cursor}
    assert page.gaps == {}


def test_when_time_is_up_the_cursor_at_the_head_is_unchanged(bide, clock):
    head = bide.publisher.publish("news", 1)
    clock.now += 5
    for timeout in (0, 0.01):
        page = poll(bide, head, timeout=timeout)
        assert page.cursors == {"news": head}
        assert not page.events


def test_latest_is_what_comes_after_the_request(bide):
    head = bide.publisher.publish("news", 1)
    page = poll(bide, "latest")
    assert not page.events
    assert page.cursors == {"news": head}
    waiting = parked_poll(bide, "latest")
    next_id = bide.publisher.publish("news", 2)
    assert ids(answer(waiting)) == [next_id]


def test_a_parked_poll_is_answered_by_a_publish(bide):
    for cursor in (0, "latest", int(BEGIN * 1e6)):
        waiting = parked_poll(bide, cursor, f"news.{cursor}")
        id = bide.publisher.publish(f"news.{cursor}", 1)
        page = answer(waiting)
        assert (ids(page), page.gaps) == ([id], {})


def test_every_parked_poll_gets_the_event(bide):
    polls = [gevent.spawn(poll, bide, timeout=50) for _ in range(20)]
    parked(bide, 20)
    id = bide.publisher.publish("news", 1)
    for waiting in polls:
        assert ids(answer(waiting)) == [id]


def test_a_hold_ends_when_its_time_is_up_and_at_most_a_twentieth_before(bide, monkeypatch):
    monkeypatch.setattr(module.random, "random", lambda: 1.0)
    begun = time.monotonic()
    poll(bide, timeout=0.04)
    assert time.monotonic() - begun >= 0.038


def test_a_pace_is_kept_to_the_moment_and_lasts_no_longer_than_a_hold_that_is_longer(bide, monkeypatch):
    """Who is answered before his window is over has nothing left, and would be refused."""
    monkeypatch.setattr(module.random, "random", lambda: 1.0)
    begun = time.monotonic()
    for timeout, pace, seconds in [(0, 10, 10), (10, 10, 10), (100, 10, 95)]:
        opened = bide.subscriber.open({"news": 0}, Waiter(), timeout=timeout, pace=pace)
        assert seconds <= opened.deadline - begun < seconds + 4
        opened.close()


def test_a_woken_poll_and_one_that_comes_back_at_once_leave_the_store_alone(bide):
    waiting = parked_poll(bide)
    reads = staged(bide).reads
    cursor = bide.publisher.publish("news", 1)
    answer(waiting)
    bide.publisher.publish("news", 2)
    assert len(poll(bide, cursor, timeout=50).events) == 1
    assert staged(bide).reads == reads


def test_a_read_that_must_see_every_write_reads_the_store(bide):
    cursor = bide.publisher.publish("news", 1)
    with watching(bide.notifier, ["news"]):
        poll(bide, cursor)
        reads = staged(bide).reads
        poll(bide, cursor, timeout=0)
        poll(bide, "latest", timeout=0)
        assert staged(bide).reads == reads + 2


def test_a_delete_answers_a_parked_poll(bide):
    head = bide.publisher.publish("news", 1)
    waiting = parked_poll(bide, head)
    bide.delete("news")
    page = answer(waiting)
    assert (ids(page), page.cursors, page.gaps) == ([], {"news": head}, {})


def test_a_cursor_from_the_future_is_refused(bide, clock):
    for channel in ("news", "unknown"):
        bide.publisher.publish("news", 1)
        for timeout in (0, 10):
            with pytest.raises(InvalidRequest, match="above every id") as caught:
                poll(bide, int((clock.now + 60) * 1e6) + 1, channel, timeout=timeout)
            assert caught.value.param == "last_event_id"


def test_a_worker_holds_as_many_polls_as_it_may(bide):
    bide.subscriber.max_polls = 1
    waiting = parked_poll(bide)
    with pytest.raises(TooManyPolls) as caught:
        poll(bide)
    assert 1 <= caught.value.retry_after <= 5
    bide.publisher.publish("news", 1)
    answer(waiting)
    assert poll(bide).events


def test_a_poll_that_cannot_read_leaves_nothing_behind(bide):
    staged(bide).away = True
    with pytest.raises(StoreUnavailable):
        poll(bide, timeout=10)
    assert_nothing_left(bide)
    assert bide.notifier.counts()["waiters"] == 0


def test_a_poll_that_is_killed_leaves_nothing_behind(bide):
    waiting = parked_poll(bide)
    waiting.kill()
    assert_nothing_left(bide)


def test_a_client_is_a_subscriber_while_it_polls_and_a_moment_after(bide):
    waiting = parked_poll(bide, client_id="ann")
    assert bide.presence.subscribers("news")[0].client_id == "ann"
    bide.publisher.publish("news", 1)
    answer(waiting)
    assert len(bide.presence.clients("news")) == 1
