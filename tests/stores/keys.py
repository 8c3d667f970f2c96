"""Part of the store contract: idempotency keys."""

import pytest

from app.errors import KeyReused, TooManyKeys
from app.stores.base import Key

from .support import Ear, everything, messages, policy, put, sweep


def key(text="k", subject="s", digest=b"1"):
    return Key(subject, text, digest)


class Keys:
    def test_a_retry_stores_nothing_and_answers_as_the_first_call_did(self, store, clock):
        appended = put(store, "a", 1, key=key())
        assert not appended.replayed
        before = (everything(store, "a")[:4], store.info("a"))
        clock.step(10)
        for _ in range(2):
            assert put(store, "a", 1, key=key()) == (*appended[:2], True)
        assert (everything(store, "a")[:4], store.info("a")) == before
        assert messages(everything(store, "a")) == [1]

    def test_a_batch_is_replayed_whole(self, store):
        appended = put(store, "a", 1, 2, 3, key=key())
        put(store, "a", 4)
        assert put(store, "a", 1, 2, 3, key=key()) == (appended.first_id, appended.first_id + 2, True)

    def test_other_content_under_the_same_key_is_refused(self, store):
        appended = put(store, "a", 1, key=key())
        for _ in range(2):
            with pytest.raises(KeyReused):
                put(store, "a", 2, key=key(digest=b"2"))
        assert messages(everything(store, "a")) == [1]
        assert everything(store, "a").head == appended.last_id
        assert put(store, "a", 1, key=key()) == (*appended[:2], True)

    def test_a_key_is_one_subjects_own(self, store):
        put(store, "a", 1, key=key(subject="s"))
        assert not put(store, "a", 2, key=key(subject="t", digest=b"2")).replayed
        assert not put(store, "a", 3, key=key(subject="", digest=b"3")).replayed
        assert messages(everything(store, "a")) == [1, 2, 3]
        assert put(store, "a", 2, key=key(subject="t", digest=b"2")).replayed

    def test_subject_and_text_are_not_run_together(self, store):
        put(store, "a", 1, key=key(subject="st", text="k"))
        assert not put(store, "a", 1, key=key(subject="s", text="tk")).replayed

    def test_a_key_is_one_channels_own(self, store):
        put(store, "a", 1, key=key())
        assert not put(store, "b", 2, key=key(digest=b"2")).replayed
        assert messages(everything(store, "b")) == [2]

    def test_keys_are_told_apart_to_the_letter(self, store):
        for text in ("k", "K", "k ", " k", "k\x7f", "kk"):
            assert not put(store, "a", text, key=key(text)).replayed

    def test_a_key_expires(self, make, clock):
        store = make(policy(idempotency_seconds=600))
        put(store, "a", 1, key=key())
        clock.step(599.75)
        assert put(store, "a", 1, key=key()).replayed
        clock.step(0.25)  # replays have not made it live longer
        assert not put(store, "a", 2, key=key(digest=b"2")).replayed
        assert put(store, "a", 2, key=key(digest=b"2")).replayed
        assert messages(everything(store, "a")) == [1, 2]

    def test_housekeeping_leaves_keys_that_live(self, make, clock):
        store = make(policy(idempotency_seconds=600))
        appended = put(store, "a", 1, key=key())
        clock.step(599)
        sweep(store)
        assert put(store, "a", 1, key=key()) == (*appended[:2], True)

    def test_a_retry_is_recognised_after_a_delete(self, store):
        appended = put(store, "a", 1, key=key())
        store.delete("a")
        sweep(store)
        assert put(store, "a", 1, key=key()) == (*appended[:2], True)
        assert messages(everything(store, "a")) == []

    def test_a_retry_is_recognised_after_its_events_were_trimmed(self, make, clock):
        store = make(policy(events=1, seconds=60))
        appended = put(store, "a", 1, key=key())
        put(store, "a", 2)
        assert put(store, "a", 1, key=key()) == (*appended[:2], True)
        clock.step(61)
        sweep(store)
        assert put(store, "a", 1, key=key()) == (*appended[:2], True)

    def test_one_key_more_than_the_bound_is_refused(self, make):
        store = make(policy(max_idempotency_keys=2))
        put(store, "a", 1, key=key("1"))
        put(store, "a", 2, key=key("2"))
        before = (everything(store, "a")[:4], store.info("a"))
        for _ in range(2):
            with pytest.raises(TooManyKeys):
                put(store, "a", 3, key=key("3"))
        assert (everything(store, "a")[:4], store.info("a")) == before
        assert put(store, "a", 1, key=key("1")).replayed
        with pytest.raises(KeyReused):
            put(store, "a", 3, key=key("2", digest=b"3"))
        assert not put(store, "a", 4).replayed
        assert not put(store, "b", 1, key=key("3")).replayed
        assert messages(everything(store, "a")) == [1, 2, 4]

    def test_there_is_room_again_as_keys_expire(self, make, clock):
        store = make(policy(max_idempotency_keys=2, idempotency_seconds=600))
        put(store, "a", 1, key=key("1"))
        clock.step(300)
        put(store, "a", 2, key=key("2"))
        clock.step(300)
        put(store, "a", 3, key=key("3"))
        with pytest.raises(TooManyKeys):
            put(store, "a", 4, key=key("4"))
        assert put(store, "a", 2, key=key("2")).replayed
        clock.step(1000)
        put(store, "a", 5, key=key("4"))
        put(store, "a", 6, key=key("5"))
        with pytest.raises(TooManyKeys):
            put(store, "a", 7, key=key("6"))

    def test_the_bound_counts_right_over_housekeeping_and_keys_that_return(self, make, clock):
        store = make(policy(max_idempotency_keys=2, idempotency_seconds=600))
        for _ in range(3):
            put(store, "a", 1, key=key("1"))
            put(store, "a", 2, key=key("2"))
            with pytest.raises(TooManyKeys):
                put(store, "a", 3, key=key("3"))
            clock.step(601)
            put(store, "a", 1, key=key("1"))
            clock.step(601)
            sweep(store)

    def test_what_was_refused_is_not_remembered(self, make, clock):
        store = make(policy(max_idempotency_keys=1, idempotency_seconds=600))
        put(store, "a", 1, key=key("1"))
        with pytest.raises(TooManyKeys):
            put(store, "a", 2, key=key("2"))
        clock.step(601)
        assert not put(store, "a", 2, key=key("2", digest=b"other")).replayed

    def test_neither_a_retry_nor_a_refusal_is_announced(self, make):
        store = make(policy(max_idempotency_keys=1))
        ear = Ear()
        store.listen(ear)
        put(store, "a", 1, key=key())
        put(store, "a", 1, key=key())
        with pytest.raises(KeyReused):
            put(store, "a", 2, key=key(digest=b"2"))
        with pytest.raises(TooManyKeys):
            put(store, "a", 2, key=key("2"))
        put(store, "a", 3)
        assert ear.messages() == [1, 3]
