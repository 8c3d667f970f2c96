"""The races of a poll, each made to happen: what comes between two of its steps is neither lost nor given twice.

The steps are register, clear, read, wait, unregister (app/subscriber.py). A store that stops within its read lets
the test put something between two of them; no test here waits for luck. A store that is lost and regained meanwhile
is in test_subscriber_outages.py, two generations of workers during a reload in test_several_workers.py.
"""

import gevent
import pytest

from app import notifier
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
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def bide(request, tmp_path, clock):
    with server(store_url(request.param, tmp_path), clock) as parts:
        clock.now += 10
        yield parts
        assert_nothing_left(parts)


def publish(bide, message=1):
    return bide.publisher.publish("news", message)


def waiting(bide, cursor):
    return gevent.spawn(poll, bide, cursor, timeout=50)


@pytest.fixture(params=["unknown", "at the head", "idle tail"])
def cursor(request, bide):
    """A cursor after which nothing came yet: of a channel without a head, of one with a head, and of one that was
    watched a moment ago, whose tail spares the store."""
    if request.param == "unknown":
        return 0
    head = publish(bide, 0)
    if request.param == "idle tail":
        poll(bide, head)
        assert bide.notifier.tail("news", head)
    return head


# Append between register and read


def test_an_append_between_register_and_read_is_read(bide, cursor, monkeypatch):
    register = bide.notifier.register
    sent = []

    def stopped(names, waiter):
        register(names, waiter)
        sent.append(publish(bide))

    monkeypatch.setattr(bide.notifier, "register", stopped)
    assert ids(answer(waiting(bide, cursor))) == sent


def test_an_append_inside_the_read_before_it_looks_is_read_once(bide, monkeypatch):
    head = publish(bide, 0)
    sent = []
    staged(bide).before_read.append(lambda: sent.append(publish(bide)))
    page = answer(waiting(bide, head))
    assert ids(page) == sent
    assert not poll(bide, page.cursors["news"], timeout=0.01).events


# Append between read and wait


def test_an_append_between_read_and_wait_wakes_the_wait(bide, request):
    for channel, cursor in (("unknown", 0), ("news", publish(bide, 0))):
        sent = []
        staged(bide).after_read.append(lambda name=channel, sent=sent: sent.append(bide.publisher.publish(name, 1)))
        assert ids(answer(gevent.spawn(poll, bide, cursor, channel, timeout=50))) == sent


def test_an_append_between_the_read_of_a_woken_poll_and_its_next_wait_wakes_it_again(bide):
    parked_at = waiting(bide, 0)
    parked(bide)
    sent = []
    staged(bide).after_read.append(lambda: sent.append(publish(bide)))
    bide.notifier.lost()
    assert ids(answer(parked_at)) == sent


def test_an_append_to_one_channel_while_another_is_read_is_not_lost(bide):
    sent = []
    staged(bide).after_read += [lambda: None, lambda: sent.append(bide.publisher.publish("a", 1))]
    page = answer(gevent.spawn(bide.subscriber.poll, {"a": 0, "b": 0}, timeout=50, several=True))
    assert ids(page) == sent


def test_a_delete_between_read_and_wait_answers_the_poll(bide):
    head = publish(bide)
    staged(bide).after_read.append(lambda: bide.delete("news"))
    page = answer(waiting(bide, head))
    assert (ids(page), page.cursors) == ([], {"news": head})


def test_a_drain_between_read_and_wait_answers_the_poll(bide):
    staged(bide).after_read.append(lambda: (gevent.spawn(bide.notifier.drain, 0), gevent.sleep(0)))
    assert not ids(answer(waiting(bide, 0)))


# The last waiter leaves while an append announces


def test_the_last_waiter_leaves_while_an_append_announces(bide):
    head = publish(bide, 0)
    leaves = []

    class HangUp:
        def __init__(self, callback):
            leaves.append(callback)

        def __enter__(self):
            pass

        def __exit__(self, *_):
            leaves.append("unregistered")

    poll_of_one = parked_poll(bide, head, hang_up=HangUp)
    sent = publish(bide)
    leaves[0]()  # announced to it, but it did not run yet: it is not there to get the answer
    answer(poll_of_one)
    assert leaves[1] == "unregistered"
    assert_nothing_left(bide)
    assert ids(poll(bide, head, timeout=50)) == [sent]


def test_the_last_waiter_leaves_while_an_append_is_stored(bide, monkeypatch):
    """Nobody is announced to, and nobody is missed: who comes back reads the store."""
    monkeypatch.setattr(notifier, "IDLE_SECONDS", 0)
    head = publish(bide, 0)
    leaving = parked_poll(bide, head)

    def leave():
        leaving.kill()
        bide.notifier.expire()
        assert not bide.notifier.hears("news")

    staged(bide).before_append.append(leave)
    sent = publish(bide)
    assert ids(poll(bide, head, timeout=50)) == [sent]


def test_a_waiter_that_leaves_takes_no_answer_from_the_others(bide):
    head = publish(bide, 0)
    leaving, staying = waiting(bide, head), waiting(bide, head)
    parked(bide, 2)
    staged(bide).before_append.append(leaving.kill)
    sent = publish(bide)
    assert ids(answer(staying)) == [sent]


# A cursor handed out by a timeout, then an append at once


@pytest.mark.parametrize("step_back", [0, 0.001, 59.9])
@pytest.mark.parametrize("known", [False, True])
def test_a_cursor_handed_out_by_a_timeout_then_an_append_at_once(bide, clock, known, step_back):
    clock.now += 100
    cursor = publish(bide, 0) if known else 0
    for asked in (cursor, "latest"):
        handed_out = poll(bide, asked).cursors["news"]
        clock.now -= step_back
        sent = publish(bide)
        assert sent > handed_out
        page = poll(bide, handed_out)
        assert (ids(page), page.gaps) == ([sent], {})
        cursor = sent
        clock.now += step_back


def test_a_timeout_and_an_append_in_one_turn_lose_nothing(bide):
    """Announced after the poll's last look: the cursor is the one from before it."""
    head = publish(bide, 0)
    staged(bide).after_read.append(lambda: publish(bide))
    page = poll(bide, head)
    assert (ids(page), page.cursors) == ([], {"news": head})
    assert len(poll(bide, head).events) == 1
