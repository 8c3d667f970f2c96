"""The SQLite store: the contract, and what is in the file when it is opened again."""

import contextlib
import sqlite3

import pytest

from app.config import Policy
from app.errors import KeyReused, TooManyChannels
from app.stores.base import Key

from .contract import StoreContract
from .support import PLENTY, everything, messages, names, policy, put, sweep


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def make(self, opened):
        return lambda kept=None: opened(kept or policy())


@pytest.fixture
def reopened(opened):
    """Closes a store and opens its file again."""

    def reopened(store, kept=None):
        store.close()
        return opened(kept)

    return reopened


def test_everything_outlives_a_restart(opened, reopened, clock):
    store = opened(policy(events=3))
    clock.step(1)
    put(store, "a", 1, 2, 3, 4, type="t")
    put(store, "gone", 1)
    store.delete("gone")
    before = [(everything(store, name)[:4], store.info(name)) for name in ("a", "gone", "unknown")]
    store = reopened(store)
    assert [(everything(store, name)[:4], store.info(name)) for name in ("a", "gone", "unknown")] == before
    assert messages(everything(store, "a")) == [2, 3, 4]
    assert names(store) == ["a", "gone"]


def test_ids_go_on_after_a_restart_although_the_clock_stepped_back(opened, reopened, clock):
    store = opened()
    clock.step(1)
    last = put(store, "a", 1).last_id
    clock.step(-59)
    store = reopened(store)
    assert put(store, "a", 2).first_id == last + 1
    assert everything(store, "a").events[-1].prev == last


def test_the_base_is_the_moment_the_file_was_made_not_opened(opened, reopened, clock):
    made_us = clock.us
    store = opened()
    clock.step(100)
    assert everything(reopened(store), "a").floor == made_us


def test_a_raised_base_outlives_a_restart(opened, reopened, clock):
    store = opened(policy(seconds=60))
    clock.step(1)
    head = put(store, "a", 1).last_id
    clock.step(4000)
    sweep(store)
    assert everything(reopened(store), "a") == (False, head, head, None, [])


def test_a_retry_is_recognised_after_a_restart(opened, reopened):
    store = opened()
    appended = put(store, "a", 1, key=Key("s", "k", b"1"))
    store = reopened(store)
    assert put(store, "a", 1, key=Key("s", "k", b"1")) == (*appended[:2], True)
    with pytest.raises(KeyReused):
        put(store, "a", 2, key=Key("s", "k", b"2"))


def test_a_lower_count_hides_at_once(opened, reopened):
    store = opened(policy(events=1000))
    given = [put(store, "a", n).last_id for n in range(10)]
    store = reopened(store, policy(events=3))
    assert everything(store, "a")[:4] == (True, given[9], given[6], given[7])
    assert messages(everything(store, "a", given[0])) == [7, 8, 9]
    assert messages(store.read_before("a", given[8], PLENTY, PLENTY)) == [7]
    assert store.info("a")[:3] == ("a", 3, given[7])
    put(store, "a", 10)
    assert messages(everything(store, "a")) == [8, 9, 10]


def test_a_much_lower_count_hides_at_once_and_is_trimmed_bit_by_bit(opened, reopened):
    store = opened(policy(events=1000))
    put(store, "a", *range(800))
    store = reopened(store, policy(events=5))
    for n in range(800, 812):
        assert messages(everything(store, "a")) == list(range(n - 5, n))
        assert store.info("a").events == 5
        put(store, "a", n)
    sweep(store)
    assert messages(everything(store, "a")) == list(range(807, 812))


def test_a_lower_age_hides_at_once(opened, reopened, clock):
    store = opened(policy(seconds=1000))
    for n in range(5):
        put(store, "a", n)
        clock.step(100)
    store = reopened(store, policy(seconds=250))
    assert messages(everything(store, "a")) == [3, 4]
    assert store.info("a").events == 2


def test_a_new_rule_hides_at_once(opened, reopened):
    store = opened(policy())
    put(store, "jobs.a", 1, 2, 3)
    put(store, "a", 1, 2, 3)
    store = reopened(store, policy(rules=[("jobs.*", 1, 100)]))
    assert messages(everything(store, "jobs.a")) == [3]
    assert messages(everything(store, "a")) == [1, 2, 3]


def test_a_lower_bound_of_channels_leaves_those_that_are_there(opened, reopened):
    store = opened()
    for name in "abc":
        put(store, name, 1)
    store = reopened(store, policy(max_channels=2))
    put(store, "c", 2)
    with pytest.raises(TooManyChannels):
        put(store, "d", 1)


def test_an_open_without_a_policy_takes_the_files(opened, reopened):
    kept = policy(7, 70, [("jobs.*", 3, 30), ("*", 4, 40.5)], max_channels=5, idempotency_seconds=6)
    store = opened(kept)
    assert store.policy == kept
    assert opened().policy == kept
    store = reopened(store)
    assert store.policy == kept
    put(store, "jobs.a", 1, 2, 3, 4)
    assert messages(everything(store, "jobs.a")) == [2, 3, 4]


def test_a_new_file_opened_without_a_policy_has_the_defaults(opened):
    assert opened().policy == Policy()


def test_the_policy_given_last_is_the_files(opened, reopened):
    store = reopened(opened(policy(events=5)), policy(events=7))
    assert reopened(store).policy == policy(events=7)


def test_housekeeping_gives_back_what_retention_has_ended(opened, path, clock):
    store = opened(policy(events=1000, seconds=100, idempotency_seconds=50))
    put(store, "a", *range(1000))
    put(store, "a", *range(700), key=Key("s", "k", b"1"))
    clock.step(101)
    put(store, "a", "new")
    sweep(store)
    assert rows(path, "events") == 1
    assert rows(path, "idempotency") == 0
    store.delete("a")
    assert rows(path, "controls") == 1
    clock.step(3601)
    sweep(store)
    assert [rows(path, table) for table in ("events", "controls", "channels")] == [0, 0, 0]


def rows(path, table):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
