"""Part of the store contract: deletes, and heads that outlive their events until they are forgotten."""

import pytest

from app.stores.base import Key

from .support import PLENTY, PLENTY_BYTES, Ear, eventually, everything, messages, names, policy, put, sweep

#: Longer than any process's word that a channel has a subscriber holds for the others.
WORD_SECONDS = 400


class Heads:
    def test_nothing_is_readable_after_a_delete(self, store):
        last = put(store, "a", 1, 2, 3).last_id
        store.delete("a")
        assert everything(store, "a") == (True, last, last, None, [])
        assert store.read_before("a", 2**53, PLENTY, PLENTY_BYTES) == (True, last, last, None, [])
        assert store.info("a")[:4] == ("a", 0, None, last)

    def test_ids_go_on_after_a_delete(self, store, clock):
        last = put(store, "a", 1, 2).last_id
        store.delete("a")
        clock.step(-10)
        assert put(store, "a", 3).first_id == last + 1
        reading = everything(store, "a")
        assert reading[:4] == (True, last + 1, last, last + 1)
        assert [event.prev for event in reading.events] == [last]

    def test_a_delete_may_be_repeated(self, store):
        put(store, "a", 1)
        store.delete("a")
        head = put(store, "a", 2).last_id
        store.delete("a")
        store.delete("a")
        assert everything(store, "a") == (True, head, head, None, [])

    def test_a_delete_leaves_other_channels_alone(self, store):
        put(store, "a", 1)
        put(store, "ab", 2)
        put(store, "b", 3)
        store.delete("a")
        assert messages(everything(store, "ab")) == [2]
        assert messages(everything(store, "b")) == [3]

    def test_the_retention_counts_from_anew_after_a_delete(self, make):
        store = make(policy(events=3))
        put(store, "a", 1, 2, 3)
        store.delete("a")
        put(store, "a", 4, 5, 6)
        assert messages(everything(store, "a")) == [4, 5, 6]
        put(store, "a", 7)
        assert messages(everything(store, "a")) == [5, 6, 7]

    def test_the_delete_of_an_unknown_channel_leaves_it_unknown(self, store):
        before = everything(store, "a")
        store.delete("a")
        assert everything(store, "a") == before
        assert not before.known
        assert store.info("a") is None
        assert names(store) == []

    def test_a_delete_is_announced_with_the_id_up_to_which_nothing_is_left(self, store):
        ear = Ear()
        store.listen(ear)
        last = put(store, "a", 1, 2).last_id
        store.delete("a")
        eventually(lambda: ear.controls)
        assert ear.controls == [("deleted", {"channel": "a", "to": last})]

    def test_the_delete_of_an_unknown_channel_is_announced_too(self, store):
        ear = Ear()
        store.listen(ear)
        store.delete("a")
        eventually(lambda: ear.controls)
        ((kind, data),) = ear.controls
        assert (kind, data["channel"]) == ("deleted", "a")
        assert data["to"] < put(store, "a", 1).first_id

    def test_a_head_is_known_after_its_events_were_trimmed_expired_and_deleted(self, make, clock):
        store = make(policy(events=1, seconds=60))
        put(store, "a", 1)
        head = put(store, "a", 2).last_id
        clock.step(61)
        assert everything(store, "a")[:4] == (True, head, head, None)
        store.delete("a")
        sweep(store)
        assert everything(store, "a")[:4] == (True, head, head, None)

    @pytest.mark.parametrize(("seconds", "kept"), [(60, 3600), (3600, 3600), (7200, 7200)])
    @pytest.mark.parametrize("deleted", [False, True])
    def test_a_head_is_forgotten_after_the_retention_but_not_within_an_hour(self, make, clock, seconds, kept, deleted):
        store = make(policy(seconds=seconds))
        clock.step(1)
        head = put(store, "a", 1).last_id
        if deleted:
            store.delete("a")
        clock.step(kept - 1)
        sweep(store)
        assert store.info("a").last_event_id == head
        clock.step(2)
        sweep(store)
        assert store.info("a") is None
        assert names(store) == []
        assert not everything(store, "a").known

    def test_an_append_keeps_the_head_anew(self, make, clock):
        store = make(policy(seconds=60))
        put(store, "a", 1)
        clock.step(3000)
        head = put(store, "a", 2).last_id
        clock.step(3000)
        sweep(store)
        assert everything(store, "a").head == head

    def test_a_forgotten_head_is_the_floor_from_then_on(self, make, clock):
        store = make(policy(seconds=60))
        clock.step(1)
        first, head, _ = put(store, "a", 1, 2)
        clock.step(4000)
        sweep(store)
        reading = everything(store, "a", first)
        assert reading == (False, head, head, None, [])
        assert first < reading.floor  # an old cursor is told of the gap
        assert everything(store, "b").floor == head  # and so is one of any channel that is not known

    def test_the_base_only_grows(self, make, clock):
        store = make(policy(seconds=60, rules=[("slow", 10, 60)]))
        clock.step(1)
        put(store, "a", 1)
        clock.step(10)
        head = put(store, "slow", 1).last_id
        clock.step(3595)
        sweep(store)
        assert names(store) == ["slow"]
        clock.step(10)
        sweep(store)
        assert everything(store, "a").floor == head
        put(store, "c", 1)
        assert everything(store, "a").floor == head

    def test_ids_after_a_forgotten_head_are_above_it_whatever_the_clock_says(self, make, clock):
        store = make(policy(seconds=60))
        clock.step(1)
        head = put(store, "a", 1, 2, 3).last_id
        clock.step(4000)
        sweep(store)
        clock.step(-4001)
        assert put(store, "a", 4).first_id == head + 1
        assert put(store, "b", 1).first_id == head + 1
        reading = everything(store, "a")
        assert reading[:4] == (True, head + 1, head, head + 1)
        assert reading.events[0].prev == head

    def test_a_head_with_a_subscriber_is_not_forgotten(self, make, clock):
        store = make(policy(seconds=60))
        ear = Ear(watched={"a"})
        store.listen(ear)
        head = put(store, "a", 1).last_id
        put(store, "b", 1)
        clock.step(3500)
        sweep(store)
        for _ in range(50):
            clock.step(60)
            sweep(store)
        assert names(store) == ["a"]
        assert everything(store, "a").head == head
        ear.watched.clear()
        clock.step(WORD_SECONDS)
        sweep(store)
        assert names(store) == []

    def test_the_listener_is_asked_of_quiet_channels_only(self, make, clock):
        asked = []

        class Asked(Ear):
            def subscribed(self, channels):
                asked.extend(channels)
                return []

        store = make(policy(seconds=60))
        store.listen(Asked())
        put(store, "quiet", 1)
        clock.step(3601)
        put(store, "busy", 1)
        sweep(store)
        assert set(asked) == {"quiet"}

    def test_a_head_outlives_its_idempotency_keys(self, make, clock):
        store = make(policy(seconds=60, idempotency_seconds=7200))
        appended = put(store, "a", 1, key=Key("s", "k", b"1"))
        clock.step(7000)
        sweep(store)
        assert put(store, "a", 1, key=Key("s", "k", b"1")) == (*appended[:2], True)
        clock.step(201)
        sweep(store)
        sweep(store)
        assert names(store) == []

    def test_a_round_of_housekeeping_comes_to_every_channel(self, make, clock):
        store = make(policy(seconds=60))
        for n in range(601):
            put(store, f"c{n}", n)
        clock.step(3601)
        put(store, "c300", "again")
        sweep(store)
        assert names(store) == ["c300"]
        assert messages(everything(store, "c300")) == ["again"]

    def test_housekeeping_of_nothing_ends_at_once(self, store):
        assert store.sweep() is False

    def test_a_channel_may_be_used_again_after_it_was_forgotten(self, make, clock):
        store = make(policy(events=2, seconds=60))
        for round in range(3):
            put(store, "a", round, round + 1)
            assert messages(everything(store, "a")) == [round, round + 1]
            assert store.info("a").events == 2
            clock.step(4000)
            sweep(store)
            assert store.info("a") is None
