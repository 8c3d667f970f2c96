"""Gaps: a client whose cursor lies below what is kept is told, once, and nobody else is."""

import pytest

from app.config import Policy, Retention, RetentionRule
from tests.support.app import (
    Clock,
    answer,
    assert_nothing_left,
    ids,
    parked_poll,
    poll,
    server,
    store_url,
    sweep_all,
    watching,
)

POLICY = Policy((RetentionRule("small", Retention(3, 86400)), RetentionRule("short", Retention(1000, 10))))

#: Longer than a head of the channel `short` is kept.
HEAD_SECONDS = 3700


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def bide(request, tmp_path, clock):
    with server(store_url(request.param, tmp_path), clock, POLICY) as parts:
        clock.now += 10  # what the tests do comes after the store was made
        yield parts
        assert_nothing_left(parts)


def test_a_cursor_below_what_is_kept_is_told_of_the_gap_once(bide):
    first = bide.publisher.publish("small", 0)
    sent = bide.publisher.publish_batch("small", [1, 2, 3])
    bide.publisher.publish("small", 4)
    page = poll(bide, first, "small")
    assert ids(page) == [sent[1]]
    assert page.gaps == {"small": sent[1]}
    assert poll(bide, page.cursors["small"], "small").gaps == {}


def test_a_cursor_at_the_floor_is_told_of_no_gap(bide):
    first = bide.publisher.publish("small", 0)
    sent = bide.publisher.publish_batch("small", [1, 2, 3])
    page = poll(bide, first, "small")
    assert (ids(page), page.gaps) == (sent[:1], {})


def test_cursor_0_is_never_told_of_a_gap(bide):
    for _ in range(5):
        bide.publisher.publish("small", 0)
    page = poll(bide, 0, "small")
    assert len(page.events) == 1
    assert page.gaps == {}


def test_a_cursor_from_before_the_store_is_told_of_a_gap(bide):
    page = poll(bide, 5)
    assert page.gaps == {"news": None}
    assert poll(bide, page.cursors["news"]).gaps == {}


def test_a_gap_alone_ends_no_poll(bide, clock):
    cursor = bide.publisher.publish("short", 1)
    head = bide.publisher.publish("short", 2)
    clock.now += 11
    waiting = parked_poll(bide, cursor, "short")
    next_id = bide.publisher.publish("short", 3)
    page = answer(waiting)
    assert head < next_id
    assert ids(page) == [next_id]
    assert "short" in page.gaps


def test_what_is_too_old_is_not_shown_neither_by_the_store_nor_by_a_tail(bide, clock):
    first = bide.publisher.publish("short", 1)
    with watching(bide.notifier, ["short"]):
        second = bide.publisher.publish("short", 2)
        assert ids(poll(bide, first, "short", timeout=10)) == [second]
        clock.now += 10.5
        for timeout in (0, 0.01):
            page = poll(bide, first, "short", timeout=timeout)
            assert not page.events
            assert page.gaps == {"short": None}
            assert page.cursors == {"short": second}
    assert not poll(bide, 0, "short").events


def test_a_delete_leaves_the_head_and_gaps_the_cursors_below_it(bide, clock):
    cursor = bide.publisher.publish("news", 1)
    head = bide.publisher.publish("news", 2)
    bide.delete("news")
    page = poll(bide, cursor)
    assert (ids(page), page.cursors, page.gaps) == ([], {"news": head}, {"news": None})
    assert poll(bide, head).gaps == {}
    clock.now -= 30
    assert bide.publisher.publish("news", 3) == head + 1


def test_a_forgotten_head_is_a_gap_to_who_was_below_it(bide, clock):
    cursor = bide.publisher.publish("short", 1)
    clock.now += HEAD_SECONDS
    sweep_all(bide)
    assert bide.store.info("short") is None
    assert poll(bide, cursor - 1, "short").gaps == {"short": None}
    clock.now -= HEAD_SECONDS
    assert bide.publisher.publish("short", 2) > cursor


def test_a_head_that_is_forgotten_elsewhere_is_no_gap_to_a_poll_from_0(bide, clock):
    bide.publisher.publish("short", 1)
    clock.now += HEAD_SECONDS
    waiting = parked_poll(bide, 0)
    sweep_all(bide)
    id = bide.publisher.publish("news", 1)
    page = answer(waiting)
    assert ids(page) == [id]
    assert page.gaps == {}


def test_a_cursor_that_the_store_lost_goes_on_from_the_head_and_is_told(bide, clock):
    head = bide.publisher.publish("news", 1)
    page = poll(bide, head + 5)
    assert (ids(page), page.cursors) == ([], {"news": head})
    assert page.gaps == {"news": head}


def test_a_gap_told_with_an_event_names_the_oldest_there_is(bide, clock):
    cursor = bide.publisher.publish("short", 1)
    bide.publisher.publish("short", 2)
    clock.now += 11
    waiting = parked_poll(bide, cursor, "short")
    id = bide.publisher.publish("short", 3)
    assert answer(waiting).gaps == {"short": id}


def test_a_gap_in_a_page_of_one_is_followed_by_the_rest_without_another(bide):
    first = bide.publisher.publish("small", 0)
    for n in range(4):
        last = bide.publisher.publish("small", n)
    told, seen, cursor = 0, [], first
    while cursor != last:
        page = poll(bide, cursor, "small")
        told += bool(page.gaps)
        seen += ids(page)
        cursor = page.cursors["small"]
    assert told == 1
    assert len(seen) == 3
