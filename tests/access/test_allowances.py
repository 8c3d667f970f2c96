"""How hits are counted: exactly within a window, to one block of each worker, and without asking for each of them."""

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access import allowances
from app.access.allowances import Allowance, Allowances, Limit
from app.errors import StoreUnavailable
from tests.support.app import Clock, law


class Numbers:
    """What workers share: counters, as a store has them."""

    def __init__(self):
        self.of = {}
        self.asked = 0
        self.expiry = set()
        self.away = False
        self.seconds = 0.0

    def incr(self, key, expiry, amount):
        self.asked += 1
        self.expiry.add(expiry)
        if self.seconds:
            gevent.sleep(self.seconds)
        if self.away:
            raise StoreUnavailable("of this test")
        self.of[key] = self.of.get(key, 0) + amount
        return self.of[key]


def limit(amount, seconds=10, *, workers=1, shared=True):
    return Limit("publish", amount, seconds, workers=workers, shared=shared)


class Worker:
    """One worker that counts, and does what it is let."""

    def __init__(self, clock, numbers, rate):
        self.known = Allowances(numbers, clock)
        self.rate = rate

    @property
    def allowance(self):
        return self.known.of(self.rate, "ann")

    def does(self):
        if not self.known.admits(self.allowance, self.known.clock()):
            return False
        self.known.spend(self.rate, "ann", 1)
        return True


def workers(count, amount, seconds=10, **more):
    clock, numbers = Clock(), Numbers()
    rate = limit(amount, seconds, workers=count, **more)
    return clock, numbers, [Worker(clock, numbers, rate) for _ in range(count)]


def test_as_many_as_the_amount_are_let_in_and_again_in_the_next_window():
    clock, _, (worker,) = workers(1, 100)
    for _ in range(3):
        assert [worker.does() for _ in range(150)] == [True] * 100 + [False] * 50
        clock.now += worker.allowance.left_seconds(clock.now)


def test_the_windows_of_one_client_begin_at_the_same_moment_in_all_workers_and_at_another_than_the_next_clients():
    clock = Clock()
    rate = limit(10, 3600)
    known = [Allowance(rate, whose) for whose in ["ann", "ann", "ben", "cay", "dan"]]
    for allowance in known:
        allowance.look(clock.now)
    ends = [allowance.left_seconds(clock.now) for allowance in known]
    assert ends[0] == ends[1]
    assert len(set(ends)) == 4
    assert all(0 < end <= 3600 for end in ends)


@law
@given(
    st.integers(1, 200),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60), st.integers(0, 4)), max_size=30),
)
def test_over_all_workers_never_fewer_are_let_in_than_the_amount_nor_more_than_it_and_a_block_each(
    amount, count, steps
):
    clock, _, several = workers(count, amount)
    done, refused = {}, set()
    for number, hits, pause in steps:
        clock.now += pause
        worker = several[number % count]
        for _ in range(hits):
            happened = worker.does()
            window = worker.allowance.window
            done[window] = done.get(window, 0) + happened
            if not happened:
                refused.add(window)
                assert done[window] >= amount
    block = several[0].rate.block
    assert all(hits <= amount + count * block for hits in done.values())
    assert block * count <= max(amount / 8, count)


@law
@given(st.integers(1, 100), st.integers(1, 5), st.lists(st.integers(0, 4), max_size=300))
def test_where_nothing_is_shared_the_amount_is_divided(amount, count, turns):
    clock, _, several = workers(count, amount, shared=False)
    for worker in several:
        worker.known = Allowances(None, clock)
    done = [0] * count
    for turn in turns:
        done[turn % count] += several[turn % count].does()
    assert all(hits <= max(1, amount // count) for hits in done)
    assert sum(done) <= max(amount, count)


def test_what_is_done_seldom_is_never_counted_elsewhere_and_what_is_done_often_once_a_block():
    _clock, numbers, (one, other) = workers(2, 800)
    for worker in (one, other):
        assert all(worker.does() for _ in range(50))  # a block
    assert numbers.asked == 0
    assert all(one.does() for _ in range(500))
    assert numbers.asked == 10
    assert numbers.expiry == {10 + allowances.LATE_SECONDS}


def test_a_refusal_is_remembered_until_the_window_lets_somebody_in():
    clock, numbers, (worker,) = workers(1, 5)
    while worker.does():
        pass
    asked = numbers.asked
    assert not any(worker.does() for _ in range(1000))
    assert numbers.asked == asked
    wait = worker.allowance.wait_seconds(clock.now)
    assert 0 < wait <= 10
    clock.now += wait - 0.001
    assert not worker.does()
    clock.now += 0.002
    assert worker.does()


def test_what_could_not_be_refused_is_taken_off_the_windows_that_follow():
    clock, _, (worker,) = workers(1, 10)
    worker.known.spend(worker.rate, "ann", 34)
    assert not worker.does()
    for seconds in (20, 0):  # the third window has six left
        wait = worker.allowance.wait_seconds(clock.now)
        assert wait == pytest.approx(seconds + worker.allowance.left_seconds(clock.now))
        clock.now += worker.allowance.left_seconds(clock.now) + (10 if seconds else 0)
        if seconds:
            assert not worker.does()
    assert [worker.does() for _ in range(7)] == [True] * 6 + [False]


def test_a_debt_is_forgotten_in_the_windows_in_which_nobody_asks():
    clock, _, (worker,) = workers(1, 10)
    worker.known.spend(worker.rate, "ann", 34)
    clock.now += worker.allowance.left_seconds(clock.now) + 50
    assert [worker.does() for _ in range(11)] == [True] * 10 + [False]


def test_where_the_counter_is_away_a_worker_lets_in_its_share_and_asks_again_only_after_a_while(monkeypatch):
    clock, numbers, (worker, _) = workers(2, 100)
    now = [0.0]
    monkeypatch.setattr(allowances.time, "monotonic", lambda: now[0])
    numbers.away = True
    assert [worker.does() for _ in range(60)] == [True] * 50 + [False] * 10
    assert numbers.asked == 1
    clock.now += 10
    assert sum(worker.does() for _ in range(60)) == 50
    assert numbers.asked == 1
    numbers.away = False
    now[0] += allowances.ALONE_SECONDS
    clock.now += 10
    assert sum(worker.does() for _ in range(200)) == 100


def test_who_has_had_his_share_of_a_day_comes_in_again_as_soon_as_the_counter_is_back(monkeypatch):
    clock, numbers, (worker, _) = workers(2, 100, 86_400)
    now = [0.0]
    monkeypatch.setattr(allowances.time, "monotonic", lambda: now[0])
    numbers.away = True
    assert sum(worker.does() for _ in range(60)) == 50
    assert worker.allowance.wait_seconds(clock.now) == allowances.ALONE_SECONDS
    numbers.away = False
    now[0] += allowances.ALONE_SECONDS
    assert sum(worker.does() for _ in range(60)) == 50
    assert worker.allowance.wait_seconds(clock.now) == worker.allowance.left_seconds(clock.now)


def test_what_was_let_in_while_the_counter_was_away_is_counted_when_it_is_back(monkeypatch):
    _clock, numbers, (worker, other) = workers(2, 100)
    numbers.away = True
    monkeypatch.setattr(allowances, "ALONE_SECONDS", 0)
    assert all(worker.does() for _ in range(40))
    numbers.away = False
    assert sum(worker.does() for _ in range(100)) == 60
    assert sum(other.does() for _ in range(100)) <= worker.rate.block


def test_a_counter_that_does_not_answer_is_waited_for_once_and_for_a_moment():
    _clock, numbers, (worker, _) = workers(2, 100)
    numbers.seconds = 60
    with gevent.Timeout(5, AssertionError("it hung")):
        assert sum(worker.does() for _ in range(60)) == 50
    assert numbers.asked == 1


def test_many_requests_of_a_client_at_once_are_let_in_by_the_amount_all_the_same():
    _clock, numbers, (worker,) = workers(1, 80)
    numbers.seconds = 0.001
    greenlets = [gevent.spawn(worker.does) for _ in range(300)]
    gevent.joinall(greenlets, timeout=5)
    done = sum(greenlet.value for greenlet in greenlets)
    assert done == 80
    assert numbers.asked < 20


def test_half_of_a_window_is_free_and_the_rest_lasts_as_long_as_the_window():
    clock, _, (worker,) = workers(1, 20)
    worker.allowance.look(clock.now)
    window, hits = worker.allowance.window, 0
    while worker.allowance.window == window:
        pace = worker.allowance.pace_seconds(clock.now)
        assert (pace > 0) == (hits >= 10)
        clock.now += pace + 1e-6
        assert worker.does()
        hits += 1
    assert hits == 20  # the last in the window that follows


def test_as_many_clients_are_remembered_as_may_be(monkeypatch):
    monkeypatch.setattr(allowances, "MOST_KNOWN", 100)
    clock, rate = Clock(), limit(10, 3600)
    known = Allowances(Numbers(), clock)
    for number in range(1000):
        known.spend(rate, f"client {number}", 1)
        assert len(known) <= 100


def test_who_has_done_nothing_yet_is_remembered_as_long_as_its_window():
    clock, rate = Clock(), limit(10, 3600)
    known = Allowances(Numbers(), clock)
    first = known.of(rate, "ann")
    assert [known.of(rate, str(number)) for number in range(10)]
    assert known.of(rate, "ann") is first


def test_who_did_nothing_in_its_window_is_forgotten_and_who_did_is_not():
    clock, rate = Clock(), limit(10)
    known = Allowances(Numbers(), clock)
    known.spend(rate, "who has a debt", 1000)
    for number in range(100):
        known.spend(rate, f"client {number}", 1)
    assert len(known) == 101
    clock.now += 20
    for number in range(100):
        known.spend(rate, f"another {number}", 1)
    assert len(known) < 105
    assert not known.admits(known.of(rate, "who has a debt"), clock.now)
