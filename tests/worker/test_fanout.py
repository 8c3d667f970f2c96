"""Many polls are roused at once: the loop turns between them."""

import itertools
import time

import gevent

from app.worker.fanout import SLICE_SECONDS, Fanout


class Slow:
    """A parked poll that takes a while to look at."""

    def __init__(self, done):
        self.done = done

    def proceed(self):
        ends_at = time.perf_counter() + 0.0005
        while time.perf_counter() < ends_at:
            pass
        self.done.append(self)


def test_others_have_turns_between_the_slices():
    fanout, done, turns = Fanout(), [], []
    polls = [Slow(done) for _ in range(100)]
    for poll in polls:
        fanout.add(poll)
    assert not done, "whoever roused them goes on first"

    def look():
        while len(done) < len(polls):
            turns.append(len(done))
            gevent.sleep(0)

    gevent.spawn(look).join(timeout=10)
    assert done == polls
    slices = [after - before for before, after in itertools.pairwise(turns) if after > before]
    # A slice ends with the poll that outlasts it.
    assert max(slices) <= SLICE_SECONDS / 0.0005 + 1
    assert len(slices) > 5


def test_who_is_roused_by_another_comes_after_those_who_wait():
    fanout, order = Fanout(), []

    class Poll:
        def __init__(self, name, then=None):
            self.name, self.then = name, then

        def proceed(self):
            order.append(self.name)
            if self.then:
                fanout.add(self.then)

    fanout.add(Poll("first", Poll("third")))
    fanout.add(Poll("second"))
    deadline = time.monotonic() + 2
    while len(order) < 3 and time.monotonic() < deadline:
        gevent.sleep(0.001)
    assert order == ["first", "second", "third"]
