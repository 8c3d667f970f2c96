"""Part of the store contract: retention by count and by age, and that no read shows more."""

import pytest

from .support import PLENTY, PLENTY_BYTES, everything, messages, policy, put, sweep


def shows(store, channel, expected):
    """Every way of asking shows the same events, before and after housekeeping."""
    for _ in range(2):
        reading = everything(store, channel)
        assert messages(reading) == expected
        assert messages(store.read_before(channel, 2**53, PLENTY, PLENTY_BYTES)) == expected
        info = store.info(channel)
        assert info.events == len(expected)
        assert info.oldest_event_id == reading.oldest == (reading.events[0].id if expected else None)
        assert info.last_event_id == reading.head
        assert reading.floor == (reading.events[0].prev if expected else reading.head)
        assert store.channels(channel, "", 1) == [info]
        sweep(store)


class Retaining:
    def test_the_newest_events_are_kept_up_to_the_count(self, make, clock):
        store = make(policy(events=3))
        clock.step(1)
        for n in range(7):
            put(store, "a", n)
            shows(store, "a", list(range(n + 1))[-3:])

    def test_the_floor_is_the_id_before_the_oldest(self, make):
        store = make(policy(events=2))
        given = [put(store, "a", n).last_id for n in range(4)]
        assert everything(store, "a")[:4] == (True, given[3], given[1], given[2])

    def test_a_batch_pushes_out_as_many(self, make):
        store = make(policy(events=4))
        put(store, "a", 1, 2, 3)
        put(store, "a", 4, 5, 6)
        shows(store, "a", [3, 4, 5, 6])
        put(store, "a", 7, 8, 9, 10)
        shows(store, "a", [7, 8, 9, 10])

    def test_a_single_event_is_kept_where_one_is_the_count(self, make):
        store = make(policy(events=1))
        for n in range(3):
            put(store, "a", n)
            shows(store, "a", [n])

    def test_much_is_trimmed_over_time(self, make):
        store = make(policy(events=50))
        for n in range(300):
            put(store, "a", n)
        shows(store, "a", list(range(250, 300)))

    def test_events_are_shown_until_they_are_older_than_the_age(self, make, clock):
        store = make(policy(seconds=100))
        put(store, "a", 1)
        clock.step(50)
        put(store, "a", 2)
        clock.step(50)
        shows(store, "a", [1, 2])
        clock.step(0.25)
        shows(store, "a", [2])
        clock.step(49.75)
        shows(store, "a", [2])
        clock.step(0.25)
        shows(store, "a", [])

    def test_an_event_of_just_the_age_is_shown_after_older_ones_without_housekeeping(self, make, clock):
        store = make(policy(seconds=100))
        put(store, "a", 1)
        clock.step(50)
        put(store, "a", 2)
        clock.step(100)
        assert messages(everything(store, "a")) == [2]

    def test_the_head_outlives_the_last_event(self, make, clock):
        store = make(policy(seconds=100))
        clock.step(1)
        last = put(store, "a", 1, 2).last_id
        clock.step(101)
        assert everything(store, "a")[:4] == (True, last, last, None)
        clock.step(10)
        put(store, "a", 3)
        reading = everything(store, "a")
        assert reading[:4] == (True, clock.us, last, clock.us)
        assert reading.events[0].prev == last

    def test_what_was_hidden_without_housekeeping_stays_hidden_when_events_follow(self, make, clock):
        store = make(policy(events=3, seconds=100))
        put(store, "a", 1, 2)
        clock.step(101)
        put(store, "a", 3)
        clock.step(1)
        put(store, "a", 4)
        shows(store, "a", [3, 4])
        put(store, "a", 5, 6)
        shows(store, "a", [4, 5, 6])

    def test_by_age_the_retained_begin_with_the_first_that_is_young_enough(self, make, clock):
        store = make(policy(seconds=100))
        put(store, "a", "at 0")
        clock.step(50)
        put(store, "a", "at 50")
        clock.step(-30)
        put(store, "a", "at 20")
        clock.step(40)
        put(store, "a", "at 60")
        clock.step(70)  # 130: "at 20" is too old by itself, but follows one that is not
        shows(store, "a", ["at 50", "at 20", "at 60"])
        clock.step(21)  # 151
        shows(store, "a", ["at 60"])

    def test_an_old_stamp_right_after_the_expired_goes_with_them(self, make, clock):
        store = make(policy(seconds=100))
        put(store, "a", "at 0")
        clock.step(-30)
        put(store, "a", "at -30")
        clock.step(40)
        put(store, "a", "at 10")
        clock.step(75)  # 85: "at -30" is 115 old
        shows(store, "a", ["at 0", "at -30", "at 10"])
        clock.step(16)  # 101
        shows(store, "a", ["at 10"])

    def test_the_first_rule_that_matches_decides(self, make):
        store = make(policy(events=5, rules=[("jobs.mail", 1, 100), ("jobs.*", 2, 100), ("jobs.x*", 4, 100)]))
        for channel in ("jobs.mail", "jobs.x", "jobs.mailing", "jobs", "news"):
            put(store, channel, 1, 2, 3, 4, 5)
        shows(store, "jobs.mail", [5])
        shows(store, "jobs.x", [4, 5])
        shows(store, "jobs.mailing", [4, 5])
        shows(store, "jobs", [1, 2, 3, 4, 5])
        shows(store, "news", [1, 2, 3, 4, 5])

    def test_a_rule_has_its_own_age(self, make, clock):
        store = make(policy(seconds=100, rules=[("long.*", 10, 1000)]))
        put(store, "long.a", 1)
        put(store, "a", 1)
        clock.step(500)
        shows(store, "long.a", [1])
        shows(store, "a", [])
        clock.step(501)
        shows(store, "long.a", [])

    @pytest.mark.parametrize(("pattern", "kept"), [("*", 5), ("@*", 5), ("@bide*", 5), ("@bide.*", 1), ("@bide.x", 1)])
    def test_own_channels_are_matched_only_by_patterns_that_begin_so(self, make, pattern, kept):
        store = make(policy(events=5, rules=[(pattern, 1, 100)]))
        put(store, "@bide.x", 1, 2, 3, 4, 5)
        assert len(everything(store, "@bide.x").events) == kept

    def test_channels_do_not_push_out_each_other(self, make):
        store = make(policy(events=2))
        put(store, "a", 1, 2)
        put(store, "b", 1, 2)
        put(store, "b", 3)
        shows(store, "a", [1, 2])
        shows(store, "b", [2, 3])

    def test_housekeeping_of_events_that_are_kept_changes_nothing(self, make, clock):
        store = make(policy(events=10, seconds=100))
        put(store, "a", *range(10))
        put(store, "b", *range(3))
        clock.step(99)
        before = [(everything(store, name)[:4], store.info(name)) for name in "ab"]
        sweep(store)
        assert [(everything(store, name)[:4], store.info(name)) for name in "ab"] == before
