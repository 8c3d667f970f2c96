"""A flag for one greenlet: what raises it between the read and the wait is not lost."""

import gevent
import pytest

from app.waiter import Waiter


@pytest.fixture
def waiter():
    return Waiter()


def waiting(waiter):
    greenlet = gevent.spawn(waiter.wait)
    gevent.sleep(0)
    return greenlet


def test_a_flag_that_is_up_already_is_not_waited_for(waiter):
    waiter.wake(frozenset(["news"]))
    assert waiting(waiter).ready()
    assert waiter.ready == {"news"}


def test_a_wait_ends_when_the_flag_is_raised(waiter):
    greenlet = waiting(waiter)
    assert not greenlet.ready()
    waiter.wake(frozenset(["news"]))
    waiter.wake(frozenset(["jobs"]))
    waiter.rouse()
    greenlet.get(timeout=1)
    assert waiter.ready == {"news", "jobs"}


def test_a_cleared_flag_is_waited_for_again(waiter):
    waiter.rouse()
    waiter.clear()
    greenlet = waiting(waiter)
    assert not greenlet.ready()
    waiter.rouse()
    greenlet.get(timeout=1)


def test_an_ending_outlives_a_clear(waiter):
    waiter.end("deleted")
    waiter.clear()
    assert waiting(waiter).ready()


def test_a_greenlet_that_is_killed_while_it_waits_is_not_switched_to(waiter):
    greenlet = waiting(waiter)
    greenlet.kill(block=False)
    waiter.rouse()
    greenlet.join(1)
    assert isinstance(greenlet.value, gevent.GreenletExit)
    again = waiting(waiter)
    assert again.ready()


def test_whose_token_was_revoked_is_ended_by_nothing_else(waiter):
    waiter.end("deleted")
    waiter.end("revoked")
    for ending in ("deleted", "draining", "hung up"):
        waiter.end(ending)
    assert waiter.ending == "revoked"
