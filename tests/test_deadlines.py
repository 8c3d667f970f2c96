"""One timer for all polls: each is roused when its time is up, together with those of the same step."""

import time

import gevent
import pytest

from app.deadlines import STEP_SECONDS, Deadlines


class Sleeper:
    def __init__(self):
        self.roused_at = []

    def rouse(self):
        self.roused_at.append(time.monotonic())


@pytest.fixture
def deadlines():
    deadlines = Deadlines()
    yield deadlines
    deadlines.close()


def test_each_is_roused_once_and_not_before_its_time(deadlines):
    now = time.monotonic()
    wanted = {seconds: Sleeper() for seconds in (0.08, 0.02, 0.05, 0.0, -1.0)}
    for seconds, sleeper in wanted.items():
        deadlines.add(now + seconds, sleeper)
    gevent.sleep(0.08 + 3 * STEP_SECONDS)
    for seconds, sleeper in wanted.items():
        (at,) = sleeper.roused_at
        assert at >= now + seconds
    assert len(deadlines) == 0


def test_one_that_comes_later_with_an_earlier_time_is_roused_first(deadlines):
    late, early = Sleeper(), Sleeper()
    deadlines.add(time.monotonic() + 3600, late)
    deadlines.add(time.monotonic() + 0.02, early)
    gevent.sleep(0.02 + 3 * STEP_SECONDS)
    assert (len(early.roused_at), late.roused_at) == (1, [])
    assert len(deadlines) == 1


def test_one_that_was_removed_is_not_roused(deadlines):
    gone, stays = Sleeper(), Sleeper()
    deadline = time.monotonic() + 0.02
    step = deadlines.add(deadline, gone)
    assert deadlines.add(deadline, stays) == step
    deadlines.remove(step, gone)
    deadlines.remove(step, gone)
    assert len(deadlines) == 1
    gevent.sleep(0.02 + 3 * STEP_SECONDS)
    deadlines.remove(step, stays)
    assert (gone.roused_at, len(stays.roused_at)) == ([], 1)


def test_one_that_fails_keeps_nobody_from_his_time(deadlines, caplog):
    def fail():
        raise RuntimeError("of this test")

    failing, same, later = Sleeper(), Sleeper(), Sleeper()
    failing.rouse = fail
    deadline = time.monotonic() + 0.02
    for sleeper, more in ((failing, 0), (same, 0), (later, 2 * STEP_SECONDS)):
        deadlines.add(deadline + more, sleeper)
    gevent.sleep(0.02 + 6 * STEP_SECONDS)
    assert (len(same.roused_at), len(later.roused_at)) == (1, 1)
    assert "of this test" in caplog.text


def test_steps_that_nobody_waits_for_any_more_are_passed_over(deadlines):
    now = time.monotonic()
    for number in range(20):
        deadlines.remove(deadlines.add(now + 0.001 * number, sleeper := Sleeper()), sleeper)
    last = Sleeper()
    deadlines.add(now + 0.03, last)
    gevent.sleep(0.03 + 3 * STEP_SECONDS)
    assert len(last.roused_at) == 1


def test_nobody_is_roused_after_the_end(deadlines):
    sleeper = Sleeper()
    deadlines.add(time.monotonic() + 0.01, sleeper)
    deadlines.close()
    gevent.sleep(0.01 + 3 * STEP_SECONDS)
    assert sleeper.roused_at == []
