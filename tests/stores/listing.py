"""Part of the store contract: channels one by one and as a list, and how many there may be."""

import pytest

from app.errors import TooManyChannels
from app.stores.base import Key

from .support import PLENTY, everything, messages, names, policy, put, sweep

#: By code point, which is neither the alphabet's order nor any locale's.
ORDERED = ["-", "..a", "@bide.x", "@y", "A", "B", "Z9", "_x", "a", "a.b", "a.c", "a:", "ab", "b", "~"]


class Listing:
    @pytest.fixture
    def many(self, store):
        """The store with a channel of every name, given in another order."""
        for name in sorted(ORDERED, key=lambda name: name[::-1]):
            put(store, name, 1)
        return store

    def test_a_channel_that_never_was_is_not_there(self, store):
        put(store, "ab", 1)
        assert store.info("a") is None
        assert store.info("abc") is None

    def test_a_channel_is_told_as_it_is(self, make, clock):
        store = make(policy(events=3))
        clock.step(1)
        put(store, "a", 1)
        clock.step(1)
        first, last, _ = put(store, "a", 2, 3, 4)
        published_at = clock()
        clock.step(1)
        assert store.info("a") == ("a", 3, first, last, published_at)
        store.delete("a")
        assert store.info("a") == ("a", 0, None, last, published_at)

    def test_the_last_publish_is_told_by_the_clock_even_where_it_stepped_back(self, store, clock):
        put(store, "a", 1)
        clock.step(-30)
        put(store, "a", 2)
        assert store.info("a").last_published_at == clock()

    def test_channels_are_listed_by_code_point(self, many):
        assert names(many) == ORDERED

    def test_a_listed_channel_is_the_same_as_alone(self, many):
        many.delete("a.b")
        put(many, "a.c", 2)
        for info in many.channels("", "", PLENTY):
            assert info == many.info(info.channel)

    def test_a_prefix_narrows_the_list(self, many):
        for prefix in ("", "a", "a.", "a.b", "a.bc", "@", "@bide.", "A", "aa", "~~", "-"):
            assert names(many, prefix) == [name for name in ORDERED if name.startswith(prefix)]

    @pytest.mark.parametrize("prefix", ["", "a", "a.", "b"])
    def test_a_page_begins_above_a_name_and_has_its_limit(self, many, prefix):
        for after in ("", "!", "A", "Zzz", "a", "a.", "a.b", "a.bb", "azz", "b", "~", "~~"):
            expected = [name for name in ORDERED if name.startswith(prefix) and name > after]
            for limit in (0, 1, 2, 100):
                assert names(many, prefix, after, limit) == expected[:limit], (after, limit)

    def test_pages_together_are_the_list(self, many):
        paged, after = [], ""
        while page := names(many, "", after, 4):
            paged += page
            after = page[-1]
        assert paged == ORDERED

    def test_counts_are_what_reads_show(self, make, clock):
        store = make(policy(events=3, seconds=100))
        clock.step(1)
        put(store, "trimmed", 1, 2)
        put(store, "trimmed", 3, 4)
        put(store, "expired", 1)
        put(store, "partly", 1)
        put(store, "deleted", 1)
        store.delete("deleted")
        clock.step(60)
        put(store, "partly", 2, 3)
        put(store, "trimmed", 5)
        clock.step(60)
        for _ in range(2):
            listed = {info.channel: info for info in store.channels("", "", PLENTY)}
            assert set(listed) == {"trimmed", "expired", "partly", "deleted"}
            for name, info in listed.items():
                reading = everything(store, name)
                assert info[1:4] == (len(reading.events), reading.oldest, reading.head)
            assert [listed[name].events for name in ("trimmed", "expired", "partly", "deleted")] == [1, 0, 2, 0]
            sweep(store)

    def test_one_channel_more_than_the_bound_is_refused(self, make, clock):
        store = make(policy(max_channels=2))
        put(store, "a", 1)
        put(store, "b", 1)
        for _ in range(2):
            with pytest.raises(TooManyChannels):
                put(store, "c", 1, key=Key("s", "k", b"1"))
        assert names(store) == ["a", "b"]
        assert not everything(store, "c").known
        assert not put(store, "a", 2).replayed
        assert messages(everything(store, "a")) == [1, 2]

    def test_a_channel_counts_as_long_as_it_has_a_head(self, make, clock):
        store = make(policy(max_channels=2, seconds=60))
        put(store, "a", 1)
        put(store, "b", 1)
        store.delete("a")
        clock.step(3000)
        sweep(store)
        with pytest.raises(TooManyChannels):
            put(store, "c", 1)
        put(store, "b", 2)
        clock.step(1000)
        sweep(store)
        put(store, "c", 1)
        assert names(store) == ["b", "c"]
        with pytest.raises(TooManyChannels):
            put(store, "a", 1)

    def test_reading_and_deleting_take_no_room(self, make):
        store = make(policy(max_channels=1))
        everything(store, "a")
        store.delete("b")
        put(store, "c", 1)
        assert names(store) == ["c"]
