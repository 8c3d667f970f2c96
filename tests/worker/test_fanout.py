"""Many polls are roused at once: the loop turns between them."""

import itertools
import time

import gevent

from app.worker import fanout as module
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
    assert len(slices) > 4


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


class Client:
    """A parked poll that is answered in its turn."""

    def __init__(self, name, fanout, order):
        self.name, self.fanout, self.order = name, fanout, order

    def proceed(self):
        self.order.append(f"{self.name} has it")
        self.fanout.add_answered(self)

    def settle(self):
        self.order.append(f"{self.name} is counted no more")

    def put_away(self):
        self.order.append(f"{self.name} may go on")


def turned_until(true):
    deadline = time.monotonic() + 5
    while not true() and time.monotonic() < deadline:
        gevent.sleep(0)


def test_everybody_has_the_event_before_anybody_goes_on():
    """The thousandth client waited for a thousand answers and for what their clients asked next: 110 ms for 10."""
    fanout, order = Fanout(), []
    for name in "abc":
        fanout.add(Client(name, fanout, order))
    turned_until(lambda: len(order) == 9)
    assert order == [f"{name} {step}" for step in ("has it", "is counted no more", "may go on") for name in "abc"]


def test_where_events_never_cease_whoever_was_answered_goes_on_all_the_same(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.02)
    fanout, order = Fanout(), []

    class Endless(Slow):
        def proceed(self):
            super().proceed()
            if len(order) < 3:
                fanout.add(self)

    fanout.add(Client("a", fanout, order))
    fanout.add(Endless([]))
    turned_until(lambda: len(order) == 3)
    assert order == ["a has it", "a is counted no more", "a may go on"]


def test_answers_are_shared_within_a_slice_alone():
    fanout, seen = Fanout(), []

    class Poll:
        def __init__(self):
            self.standing = fanout.standing("news, behind 5")

        def proceed(self):
            seen.append(self.standing.data)
            fanout.share(self.standing, b"answer", False)

    for _ in range(2):
        fanout.add(Poll())
    turned_until(lambda: len(seen) == 2)
    fanout.add(Poll())
    turned_until(lambda: len(seen) == 3)
    assert seen == [None, b"answer", None]
    # Whoever answers at another time, since it read the store, answers for itself alone.
    fanout.share(fanout.standing("news, behind 5"), b"answer", False)
    assert fanout.standing("news, behind 5").data is None


def test_standings_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(module, "STANDINGS", 10)
    fanout = Fanout()
    first = fanout.standing(0)
    for number in range(1, 10):
        assert fanout.standing(0) is first
        fanout.standing(number)
    for number in range(1000):
        fanout.standing(number)
        assert len(fanout._standings) <= 10


def test_whoever_was_answered_is_counted_no_more_before_anything_else_happens():
    """His client may be back on another connection before he is put away."""
    fanout, order = Fanout(), []
    for name in "ab":
        fanout.add(Client(name, fanout, order))
    turned_until(lambda: order)
    assert order[:4] == ["a has it", "b has it", "a is counted no more", "b is counted no more"]
    order.clear()
    Client("c", fanout, order).proceed()  # from a greenlet that has read the store
    assert order == ["c has it", "c is counted no more"]
