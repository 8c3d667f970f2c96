"""Part of the store contract: how events are numbered, linked and kept."""

import json

from .support import everything, ids, messages, put


class Appending:
    def test_the_store_tells_its_clock(self, store, clock):
        assert store.now_us() == clock.us
        clock.step(-30)
        assert store.now_us() == clock.us

    def test_an_id_is_the_clock_in_microseconds(self, store, clock):
        assert put(store, "a", 1) == (clock.us, clock.us, False)
        clock.step(0.25)
        assert put(store, "a", 2) == (clock.us, clock.us, False)

    def test_ids_grow_while_the_clock_stands_still(self, store, clock):
        assert [put(store, "a", n).first_id for n in range(3)] == [clock.us, clock.us + 1, clock.us + 2]

    def test_ids_grow_while_the_clock_steps_back(self, store, clock):
        first = put(store, "a", 1).last_id
        clock.step(-59)
        assert put(store, "a", 2).first_id == first + 1
        clock.step(30)
        assert put(store, "a", 3).first_id == first + 2
        clock.step(60)
        assert put(store, "a", 4).first_id == clock.us

    def test_the_first_id_is_above_the_base_although_the_clock_stepped_back(self, store, clock):
        base = everything(store, "a").head
        clock.step(-59)
        assert put(store, "a", 1).first_id == base + 1

    def test_a_batch_has_consecutive_ids_in_order(self, store, clock):
        assert put(store, "a", "x", "y", "z") == (clock.us, clock.us + 2, False)
        reading = everything(store, "a")
        assert messages(reading) == ["x", "y", "z"]
        assert ids(reading) == [clock.us, clock.us + 1, clock.us + 2]

    def test_a_batch_goes_on_from_a_head_that_is_ahead_of_the_clock(self, store, clock):
        last = put(store, "a", *range(5)).last_id
        clock.step(-10)
        assert put(store, "a", 5, 6) == (last + 1, last + 2, False)

    def test_every_event_links_to_the_id_before_it(self, store, clock):
        base = everything(store, "a").head
        put(store, "a", 1, 2)
        clock.step(5)
        put(store, "a", 3)
        clock.step(-20)
        put(store, "a", 4, 5)
        events = everything(store, "a").events
        assert [event.prev for event in events] == [base, *(event.id for event in events[:-1])]

    def test_channels_are_numbered_independently(self, store, clock):
        for _ in range(3):
            put(store, "a", 1)
        assert put(store, "b", 1).first_id == clock.us
        assert put(store, "A", 1).first_id == clock.us

    def test_an_event_is_kept_as_it_was_given(self, store, clock):
        clock.step(0.25)
        id = put(store, "a", {"é": [1, "\U0001f600", None]}, type="greeting").last_id
        (event,) = everything(store, "a").events
        assert (event.channel, event.id, event.at_us, event.type) == ("a", id, clock.us, "greeting")
        assert json.loads(event.json) == {
            "id": id,
            "channel": "a",
            "message": {"é": [1, "\U0001f600", None]},
            "timestamp": clock(),
            "type": "greeting",
        }

    def test_a_message_keeps_its_bytes(self, store):
        text = b'{"n":1.00,"s":"\\u00e9"}'
        store.append("a", [text])
        (event,) = everything(store, "a").events
        assert text in event.json
        assert event.type is None
        assert b"type" not in event.json

    def test_all_events_of_a_batch_have_its_type_and_its_time(self, store, clock):
        put(store, "a", 1, 2, type="t")
        assert [(event.type, event.at_us) for event in everything(store, "a").events] == [("t", clock.us)] * 2

    def test_a_timestamp_is_the_clock_even_where_the_id_is_not(self, store, clock):
        put(store, "a", 1)
        clock.step(-30)
        put(store, "a", 2)
        assert everything(store, "a").events[-1].at_us == clock.us

    def test_a_batch_of_a_thousand_is_kept_whole(self, store):
        put(store, "a", "before")
        appended = put(store, "a", *range(1000))
        assert appended.last_id - appended.first_id == 999
        assert messages(everything(store, "a")) == list(range(1000))
