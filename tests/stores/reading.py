"""Part of the store contract: what a read shows, and how it is bounded."""

import pytest

from .support import PLENTY, PLENTY_BYTES, everything, ids, messages, policy, put

NOTHING = []


class Reading:
    @pytest.fixture
    def ten(self, store):
        """The ids of a channel with the messages 0 to 9."""
        return [put(store, "a", n).last_id for n in range(10)]

    def test_a_channel_that_never_was_has_the_base_as_its_floor(self, make, clock):
        store = make()
        made_us = clock.us
        clock.step(5)
        put(store, "b", 1)
        for reading in (everything(store, "a"), store.read_before("a", 2**53, PLENTY, PLENTY_BYTES)):
            assert reading == (False, made_us, made_us, None, NOTHING)

    def test_reading_makes_no_channel(self, store):
        everything(store, "a")
        assert store.info("a") is None
        assert store.channels("", "", PLENTY) == []

    def test_a_channel_whose_events_are_all_kept_has_its_floor_before_the_first(self, store):
        base = everything(store, "a").head
        first, last, _ = put(store, "a", 1, 2, 3)
        assert everything(store, "a")[:4] == (True, last, base, first)

    def test_head_floor_and_oldest_do_not_depend_on_the_cursor(self, make, clock):
        store = make(policy(events=3))
        clock.step(1)
        given = [put(store, "a", n).last_id for n in range(5)]
        for after in (0, *given, given[-1] + 1):
            assert store.read("a", after, 1, 1)[:4] == (True, given[4], given[1], given[2])
            assert store.read_before("a", after, 1, 1)[:4] == (True, given[4], given[1], given[2])

    def test_a_read_shows_what_comes_after_the_cursor(self, store, ten):
        for n, id in enumerate(ten):
            assert messages(store.read("a", id, PLENTY, PLENTY_BYTES)) == list(range(n + 1, 10))
            assert messages(store.read("a", id - 1, PLENTY, PLENTY_BYTES)) == list(range(n, 10))
        assert messages(store.read("a", ten[-1] + 1, PLENTY, PLENTY_BYTES)) == []

    def test_a_read_from_below_the_floor_begins_with_the_oldest(self, make):
        store = make(policy(events=3))
        given = [put(store, "a", n).last_id for n in range(5)]
        for after in (0, 1, given[0], given[1]):
            assert messages(everything(store, "a", after)) == [2, 3, 4]

    @pytest.mark.parametrize("limit", [0, 1, 3, 10, 11])
    def test_a_read_is_bounded_by_its_limit(self, store, ten, limit):
        assert messages(store.read("a", 0, limit, PLENTY_BYTES)) == list(range(10))[:limit]
        assert messages(store.read("a", ten[3], limit, PLENTY_BYTES)) == list(range(4, 10))[:limit]

    @pytest.mark.parametrize("limit", [0, 1, 3, 10, 11])
    def test_a_read_before_is_bounded_by_its_limit_and_keeps_the_newest(self, store, ten, limit):
        newest = list(range(10))[10 - limit :] if limit < 10 else list(range(10))
        assert messages(store.read_before("a", 2**53, limit, PLENTY_BYTES)) == newest

    def test_a_read_before_shows_what_is_below_the_id_oldest_first(self, store, ten):
        for n, id in enumerate(ten):
            assert messages(store.read_before("a", id, PLENTY, PLENTY_BYTES)) == list(range(n))
            assert messages(store.read_before("a", id + 1, 2, PLENTY_BYTES)) == list(range(n + 1))[-2:]
        assert messages(store.read_before("a", 0, PLENTY, PLENTY_BYTES)) == []

    def test_a_read_before_ends_at_the_floor(self, make):
        store = make(policy(events=3))
        given = [put(store, "a", n).last_id for n in range(5)]
        assert ids(store.read_before("a", given[4], PLENTY, PLENTY_BYTES)) == given[2:4]
        assert ids(store.read_before("a", given[2], PLENTY, PLENTY_BYTES)) == []
        assert ids(store.read_before("a", given[1], PLENTY, PLENTY_BYTES)) == []

    @pytest.mark.parametrize("count", [1, 2, 5, 10])
    def test_a_read_ends_before_its_bytes_exceed_the_bound(self, store, ten, count):
        events = everything(store, "a").events
        room = sum(len(event.json) + 1 for event in events[:count])
        assert ids(store.read("a", 0, PLENTY, room)) == ten[:count]
        assert ids(store.read("a", 0, PLENTY, room + 20)) == ten[:count]
        assert ids(store.read("a", 0, PLENTY, room - 20)) == ten[: max(1, count - 1)]

    @pytest.mark.parametrize("count", [1, 2, 5, 10])
    def test_a_read_before_ends_before_its_bytes_exceed_the_bound(self, store, ten, count):
        events = everything(store, "a").events
        room = sum(len(event.json) + 1 for event in events[-count:])
        assert ids(store.read_before("a", 2**53, PLENTY, room)) == ten[-count:]
        assert ids(store.read_before("a", 2**53, PLENTY, room - 20)) == ten[-max(1, count - 1) :]

    @pytest.mark.parametrize("max_bytes", [0, 1, 100])
    def test_one_event_is_shown_however_large_it_is(self, store, max_bytes):
        put(store, "a", "x" * 1000)
        put(store, "a", "y" * 1000)
        assert messages(store.read("a", 0, PLENTY, max_bytes)) == ["x" * 1000]
        assert messages(store.read_before("a", 2**53, PLENTY, max_bytes)) == ["y" * 1000]

    def test_what_is_read_is_not_changed_by_what_comes_later(self, make):
        store = make(policy(events=3))
        put(store, "a", 1, 2, 3)
        reading = everything(store, "a")
        put(store, "a", 4, 5)
        store.delete("a")
        assert messages(reading) == [1, 2, 3]
