"""The store is away: parked polls stay parked, and nobody is told that there is nothing where nobody looked."""

import gevent
import pytest

from app import poll as module
from app.errors import StoreUnavailable
from tests.support.app import (
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
    wait_until,
)


@pytest.fixture(params=["memory", "sqlite"])
def bide(request, tmp_path):
    clock = Clock()
    with server(store_url(request.param, tmp_path), clock) as parts:
        clock.now += 10
        yield parts
        assert_nothing_left(parts)


@pytest.fixture
def quick_retry(monkeypatch):
    """A poll whose channel could not be read tries again after a moment."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)


def publish(bide, message=1):
    return bide.publisher.publish("news", message)


def waiting(bide, cursor):
    return gevent.spawn(poll, bide, cursor, timeout=50)


def missed(bide, monkeypatch):
    """Store an event whose announcement does not arrive."""
    with monkeypatch.context() as deaf:
        deaf.setattr(bide.notifier, "announce", lambda events: None)
        return publish(bide)


def test_the_store_lost_and_regained_between_read_and_wait(bide, monkeypatch):
    adopt = bide.notifier.adopt
    sent = []

    def stopped(name, head):
        adopt(name, head)
        if not sent:
            sent.append(missed(bide, monkeypatch))
            bide.notifier.lost()

    monkeypatch.setattr(bide.notifier, "adopt", stopped)
    assert ids(answer(waiting(bide, 0))) == sent


def test_the_store_lost_and_regained_while_its_answer_is_on_the_way(bide, monkeypatch):
    """No store of one machine switches greenlets there; one behind a network does."""
    sent = []

    def outage():
        sent.append(missed(bide, monkeypatch))
        bide.notifier.lost()

    staged(bide).after_read.append(outage)
    page = answer(gevent.spawn(poll, bide, 0, timeout=0.1))
    assert ids(page) == sent


def test_a_poll_stays_parked_while_the_store_is_away_and_is_served_when_it_is_back(bide, monkeypatch, quick_retry):
    head = publish(bide, 0)
    poll_of_one = parked_poll(bide, head)
    sent = missed(bide, monkeypatch)
    reads = staged(bide).reads
    staged(bide).away = True
    bide.notifier.lost()
    wait_until(lambda: staged(bide).reads >= reads + 3, "three tries")
    assert bide.subscriber.polls == 1
    staged(bide).away = False
    page = answer(poll_of_one)
    assert (ids(page), page.gaps) == ([sent], {})


def test_a_poll_whose_time_is_up_while_the_store_is_away_keeps_its_cursor(bide, monkeypatch, quick_retry):
    head = publish(bide, 0)
    for cursor in (head, "latest"):
        poll_of_one = gevent.spawn(poll, bide, cursor, timeout=0.04)
        parked(bide)
        staged(bide).away = True
        sent = missed_anyway(bide, monkeypatch)
        bide.notifier.lost()
        page = answer(poll_of_one)
        assert (ids(page), page.cursors) == ([], {"news": head})
        staged(bide).away = False
        assert ids(poll(bide, head)) == [sent]
        head = sent


def missed_anyway(bide, monkeypatch):
    """As `missed`, by a process that still reaches the store."""
    staged(bide).away = False
    sent = missed(bide, monkeypatch)
    staged(bide).away = True
    return sent


def test_one_channel_that_cannot_be_read_keeps_its_poll_parked_for_the_others(bide, monkeypatch, quick_retry):
    cursors = {"news": publish(bide, 0), "jobs": 0}
    poll_of_two = gevent.spawn(bide.subscriber.poll, cursors, timeout=50, several=True)
    parked(bide)
    staged(bide).away = True
    bide.notifier.lost()
    reads = staged(bide).reads
    wait_until(lambda: staged(bide).reads > reads, "a try")
    staged(bide).away = False
    sent = publish(bide)
    assert ids(answer(poll_of_two)) == [sent]


def test_a_new_poll_that_cannot_be_proven_whole_is_refused(bide):
    head = publish(bide, 0)
    staged(bide).away = True
    for cursor in (0, head, "latest"):
        with pytest.raises(StoreUnavailable):
            poll(bide, cursor, timeout=50)
    staged(bide).away = False


def test_a_new_poll_that_a_tail_proves_whole_waits_without_the_store(bide):
    head = publish(bide, 0)
    poll(bide, head)
    staged(bide).away = True
    poll_of_one = parked_poll(bide, head)
    staged(bide).away = False
    sent = publish(bide)
    assert ids(answer(poll_of_one)) == [sent]
