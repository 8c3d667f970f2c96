"""Several workers on one file, here as several servers in one process: each hears what the others did.

A server's listener runs only while the event loop does, so a test decides when it hears: what a read has to see at
once is asked before the loop had a turn.
"""

import contextlib
import sqlite3

import gevent
import pytest

from app.errors import StoreUnavailable
from tests.support.app import (
    SOON_SECONDS,
    Clock,
    answer,
    assert_nothing_left,
    ids,
    parked,
    parked_poll,
    poll,
    present,
    server,
    staged,
    store_url,
    sweep_all,
    wait_until,
    watching,
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def url(tmp_path):
    return store_url("sqlite", tmp_path)


@pytest.fixture
def here(url, clock):
    with server(url, clock) as parts:
        clock.now += 10
        yield parts
        assert_nothing_left(parts)


@pytest.fixture
def there(here, url, clock):
    with server(url, clock) as parts:
        yield parts
        assert_nothing_left(parts)


@pytest.fixture
def behind(there, monkeypatch):
    """One that could not catch up: the file was busy at that moment."""
    monkeypatch.setattr(there.store.store, "catch_up", lambda: None)


def publish(parts, message=1, channel="news"):
    return parts.publisher.publish(channel, message)


def names(parts):
    return [info.channel for info, _ in parts.list_channels("", "", 10).channels]


# Reading one's writes


def test_the_first_poll_of_a_channel_sees_what_was_acknowledged_elsewhere(here, there):
    sent = publish(here)
    assert ids(poll(there, 0, timeout=50)) == [sent]


@pytest.mark.usefixtures("behind")
def test_a_poll_that_does_not_wait_sees_it_although_its_tail_does_not(here, there):
    cursor = publish(here)
    with watching(there.notifier, ["news"]):
        poll(there, cursor)
        sent = publish(here)
        assert there.notifier.tail("news", cursor).head == cursor
        assert ids(poll(there, cursor, timeout=0)) == [sent]
        assert ids(poll(there, cursor, timeout=0, limit=10)) == [sent]


@pytest.mark.usefixtures("behind")
def test_latest_sees_it_although_its_tail_does_not(here, there):
    cursor = publish(here)
    with watching(there.notifier, ["news"]):
        poll(there, cursor)
        sent = publish(here)
        assert poll(there, "latest").cursors == {"news": sent}


@pytest.mark.usefixtures("behind")
def test_a_poll_of_several_channels_that_does_not_wait_sees_it_too(here, there):
    first = publish(here)
    with watching(there.notifier, ["news"]):
        poll(there, first)
        there.notifier.announce(there.store.read("news", first - 1, 1, 1000).events)
        second = publish(here)
        page = there.subscriber.poll({"news": 0, "jobs": 0}, timeout=0, limit=10, several=True)
        assert ids(page) == [first, second]


def test_the_list_of_channels_shows_it(here, there):
    sent = publish(here)
    assert names(there) == ["news"]
    assert there.store.info("news").last_event_id == sent
    assert [event.id for event in there.history("news", None, None, 10).events] == [sent]


def test_a_delete_is_seen_by_the_next_read_elsewhere(here, there):
    cursor = publish(here)
    sent = publish(here)
    there.delete("news")
    page = poll(here, cursor)
    assert (ids(page), page.cursors, page.gaps) == ([], {"news": sent}, {"news": None})


# Hearing of one another


def test_a_parked_poll_is_answered_by_its_own_workers_publish_at_once(here):
    """By the append itself: no look at the file is needed for it."""
    waiting = parked_poll(here)
    here.store.store._listening.stop()
    sent = publish(here)
    assert ids(answer(waiting)) == [sent]


def test_a_parked_poll_is_answered_by_a_publish_elsewhere(here, there):
    waiting = parked_poll(there)
    sent = publish(here)
    assert ids(answer(waiting)) == [sent]


def test_a_parked_poll_is_answered_although_every_wakeup_is_lost(here, there, monkeypatch):
    monkeypatch.setattr(here.store.store._commits, "_sent", lambda: None)
    waiting = parked_poll(there)
    sent = publish(here)
    assert ids(answer(waiting)) == [sent]


def test_what_comes_from_both_sides_comes_in_order_and_once(here, there):
    cursor, seen, sent = publish(here, 0), [], []
    for n in range(5):
        waiting = parked_poll(there, cursor, limit=100)
        sent += [publish(here, n), publish(there, n), publish(here, n)]
        while len(seen) < len(sent):
            page = answer(waiting)
            seen += ids(page)
            cursor = page.cursors["news"]
            if len(seen) < len(sent):
                waiting = gevent.spawn(poll, there, cursor, timeout=50, limit=100)
        assert seen == sent
    assert staged(there).reads == 1


def test_a_delete_elsewhere_answers_a_parked_poll(here, there):
    cursor = publish(here)
    waiting = parked_poll(there, cursor)
    here.delete("news")
    page = answer(waiting)
    assert (ids(page), page.cursors) == ([], {"news": cursor})


def test_a_poll_that_comes_after_a_delete_elsewhere_is_not_answered_by_it(here, there):
    """The delete's control was heard once the poll had parked, and ended it."""
    cursor = publish(here)
    here.delete("news")
    waiting = parked_poll(there, cursor)
    gevent.sleep(0.3)  # three of the listener's looks
    assert not waiting.ready()
    sent = publish(here)
    assert ids(answer(waiting)) == [sent]


def test_the_number_of_a_deleted_row_is_not_given_again_under_a_siblings_eyes(here, there, monkeypatch):
    """What was announced is told from what is new by its number alone."""
    lost = []
    for parts in (here, there):
        monkeypatch.setattr(parts.notifier, "lost", lambda: lost.append(1))
    with watching(there.notifier, ["news"]):
        for _ in range(2):
            sent = publish(here)
            wait_until(lambda sent=sent: there.notifier.tail("news", sent), "heard")
            here.delete("news")
            wait_until(lambda sent=sent: not there.notifier.tail("news", sent).events, "deleted")
    assert lost == []


def test_rows_that_are_gone_before_they_were_heard_are_read_again(here, there):
    """A worker that was stopped for a while."""
    waiting = parked_poll(there)
    publish(here, 1)
    here.delete("news")
    sent = publish(here, 2)
    page = answer(waiting)
    if not page.events:  # the delete answered it
        page = poll(there, page.cursors["news"])
    assert ids(page) == [sent]


def test_a_look_that_failed_is_looked_again(here, there, monkeypatch):
    monkeypatch.setattr(here.store.store._commits, "_sent", lambda: None)
    listener = there.store.store._listening
    step, failed = listener._step, []

    def failing():
        if failed:
            return step()
        failed.append(1)
        raise StoreUnavailable("The store is locked by another process: try again")

    waiting = gevent.spawn(poll, there, timeout=0.6)
    parked(there)
    monkeypatch.setattr(listener, "_step", failing)
    sent = publish(here)
    page = answer(waiting)
    assert failed
    assert ids(page) == [sent]


def test_one_key_at_two_workers_at_once_is_one_event(here, there, url):
    """Both wait for the lock that a third process holds, then one stores and the other finds what it stored."""
    publish(here, 0)
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    calls = [gevent.spawn(parts.publisher.append, "news", [b"1"], None, "key") for parts in (here, there, here, there)]
    gevent.sleep(0.005)
    assert not any(call.ready() for call in calls)
    other.execute("COMMIT")
    other.close()
    appended = [call.get(timeout=SOON_SECONDS) for call in calls]
    assert sorted(each.replayed for each in appended) == [False, True, True, True]
    assert len({each.last_id for each in appended}) == 1
    assert len(poll(here, 0, limit=10).events) == 2


def test_a_publish_that_was_committed_is_acknowledged_whatever_becomes_of_its_announcement(here, there, monkeypatch):
    def failing():
        raise StoreUnavailable("The store cannot be used at the moment: try again")

    publish(there)
    monkeypatch.setattr(here.store.store._listening, "_step", failing)
    with contextlib.suppress(StoreUnavailable):
        publish(here)
        return
    assert len(poll(there, 0, limit=10).events) == 1, "told as not stored, and it is"


def test_a_subscriber_elsewhere_keeps_a_head(here, there, clock):
    """The one who sweeps first says so to the others."""
    cursor = publish(here)
    with present(there.presence, ["news"], "ann", "poll"):
        for _ in range(40):
            clock.now += 86400 / 20
            sweep_all(there)
            sweep_all(here)
    page = poll(there, cursor)
    assert page.gaps == {}
    assert page.cursors == {"news": cursor}


# Two generations of workers during a reload


def test_two_generations_of_workers_during_a_reload(url, clock):
    """The old one answers its polls and goes; what the new one stores meanwhile waits for them."""
    with server(url, clock) as new:
        with server(url, clock) as old:
            sent = [publish(old), publish(new)]
            early = parked_poll(old, sent[1])
            sent.append(publish(new))
            assert ids(answer(early)) == sent[2:]
            late = parked_poll(old, sent[2])
            old.notifier.drain(0)
            page = answer(late)
            assert (ids(page), page.cursors) == ([], {"news": sent[2]})
        sent.append(publish(new))
        page = poll(new, page.cursors["news"], limit=10)
        assert (ids(page), page.gaps) == (sent[3:], {})


def test_a_publish_on_the_new_worker_while_the_old_one_drains_is_not_lost(url, clock):
    with server(url, clock) as new, server(url, clock) as old:
        head = publish(new)
        leaving = parked_poll(old, head)
        staged(new).before_append.append(lambda: old.notifier.drain(0))
        sent = publish(new)
        page = answer(leaving)
        assert ids(page) + ids(poll(new, page.cursors["news"])) == [sent]
