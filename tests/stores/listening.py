"""Part of the store contract: what the listener is told. In its own process that is before the call returns."""

import gevent

from .support import Ear, everything, policy, put, said


class Listening:
    def test_an_append_is_announced_before_it_returns(self, store):
        ear = Ear()
        store.listen(ear)
        put(store, "a", 1)
        assert ear.messages() == [1]

    def test_every_event_is_announced_once_and_in_order(self, store, clock):
        ear = Ear()
        store.listen(ear)
        for n in range(0, 60, 3):
            put(store, "ab"[n % 2], n)
            put(store, "c", n + 1, n + 2)
            clock.step(-1)
        gevent.sleep(0.02)  # what was told already must not come again from the loop
        assert ear.messages("c") == [n for n in range(60) if n % 3]
        assert ear.messages("a") == list(range(0, 60, 6))
        assert ear.messages("b") == list(range(3, 60, 6))
        assert ear.losses == 0
        assert ear.controls == []

    def test_what_is_announced_is_what_is_read(self, store):
        ear = Ear()
        store.listen(ear)
        put(store, "a", "é", type="t")
        put(store, "a", {"x": 1}, [2])
        assert said(ear.events) == said(everything(store, "a").events)

    def test_a_batch_is_announced_whole_although_it_is_trimmed_next(self, make):
        store = make(policy(events=2))
        ear = Ear()
        store.listen(ear)
        put(store, "a", 1, 2)
        put(store, "a", 3, 4)
        assert ear.messages() == [1, 2, 3, 4]

    def test_only_what_the_listener_hears_is_announced(self, store):
        ear = Ear(deaf_to={"b"})
        store.listen(ear)
        put(store, "a", 1)
        put(store, "b", 2)
        put(store, "a", 3)
        assert ear.messages() == [1, 3]
        ear.deaf_to.clear()
        put(store, "b", 4)
        assert ear.messages("b") == [4]
        assert ear.losses == 0

    def test_a_delete_is_told_to_listeners_that_do_not_hear_the_channel(self, store):
        ear = Ear(deaf_to={"b"})
        store.listen(ear)
        store.delete("b")
        assert ear.controls == [("deleted", {"channel": "b", "to": 0})]

    def test_what_came_before_is_not_announced(self, store):
        put(store, "a", 1)
        store.delete("a")
        store.announce_control("k", {})
        ear = Ear()
        store.listen(ear)
        put(store, "a", 2)
        gevent.sleep(0.02)
        assert ear.messages() == [2]
        assert ear.controls == []

    def test_a_control_arrives_with_equal_data(self, store):
        ear = Ear()
        store.listen(ear)
        data = {"n": 1.5, "text": "é\n'\"\U0001f600", "list": [None, True, {"x": []}], "big": 2**53 - 1}
        store.announce_control("noted", data)
        store.announce_control("answered", {})
        assert ear.controls == [("noted", data), ("answered", {})]

    def test_a_control_is_a_copy(self, store):
        ear = Ear()
        store.listen(ear)
        data = {"list": [1]}
        store.announce_control("k", data)
        data["list"].append(2)
        assert ear.controls == [("k", {"list": [1]})]

    def test_events_and_deletes_are_told_in_the_order_of_the_calls(self, store):
        told = []

        class Order(Ear):
            def announce(self, events):
                told.extend(event.id for event in events)

            def control(self, kind, data):
                told.append(kind)

        store.listen(Order())
        first = put(store, "a", 1).last_id
        store.delete("a")
        second = put(store, "a", 2).last_id
        assert told == [first, "deleted", second]

    def test_a_store_without_a_listener_does_all_the_same(self, store):
        put(store, "a", 1)
        store.announce_control("k", {})
        store.delete("a")
        store.check()
        assert everything(store, "a").known

    def test_a_listening_store_is_found_well(self, store):
        store.listen(Ear())
        store.check()

    def test_after_close_nothing_is_announced(self, make):
        store = make()
        ear = Ear()
        store.listen(ear)
        put(store, "a", 1)
        store.close()
        gevent.sleep(0.02)
        assert ear.messages() == [1]
        assert ear.losses == 0
