"""Reads, confirmations and announcements in any order they may come in: nothing is skipped, nothing is doubled."""

import pytest

from app.errors import StoreUnavailable
from app.stores import redis_watches
from app.stores.redis_watches import Watches

from .stream import event, heard, settle
from .support import eventually


def test_what_came_between_the_read_and_the_confirmation_is_read(watches, stream, ear):
    watches.watch("a")
    watches.began("a", 5, 0)
    stream.add(6)
    watches.confirmed("a")
    settle(watches)
    assert heard(ear, 6)


def test_what_was_announced_before_the_read_came_back_is_not_skipped(watches, stream, ear):
    watches.watch("a")
    watches.confirmed("a")
    watches.announced("a", stream.add(6))
    watches.began("a", 5, 0)
    settle(watches)
    assert heard(ear, 6)


@pytest.mark.parametrize("confirmed", ["first", "between", "last"])
def test_first_reads_whose_answers_cross_leave_nothing_out(watches, stream, ear, confirmed):
    watches.watch("a")
    if confirmed == "first":
        watches.confirmed("a")
    new = stream.add(6, 7)
    if confirmed == "between":
        watches.confirmed("a")
    watches.began("a", 7, 0)  # who read later
    settle(watches)
    watches.announced("a", new)
    if confirmed == "last":
        watches.confirmed("a")
    watches.began("a", 5, 0)
    settle(watches)
    assert set(ear.ids("a")) == {6, 7}
    watches.announced("a", stream.add(8))
    assert ear.ids("a")[-3:] == [6, 7, 8]


def test_a_first_read_that_comes_back_amid_a_fence_leaves_nothing_out(watches, stream, ear):
    watches.watch("a")
    stream.add(6, 7)
    watches.began("a", 7, 0)  # who read later
    stream.add(8)
    stream.holds = True
    watches.confirmed("a")
    eventually(lambda: stream.held)  # the fence has read what is behind 7
    watches.began("a", 5, 0)
    stream.answer()
    settle(watches)
    assert heard(ear, 6, 7, 8)
    watches.announced("a", stream.add(9))
    assert heard(ear, 6, 7, 8, 9)


def test_a_read_behind_what_this_process_appended_leaves_nothing_out(watches, stream, ear):
    watches.watch("a")
    stream.add(6)
    watches.appended("a", stream.add(7), hears=lambda: True)
    watches.began("a", 5, 0)
    settle(watches)
    assert ear.ids("a")[-2:] == [6, 7]


def test_a_read_behind_what_was_announced_does_not_tell_it_again(watches, stream, ear):
    watches.watch("a")
    watches.began("a", 5, 0)
    watches.confirmed("a")
    settle(watches)
    watches.announced("a", stream.add(6))
    watches.began("a", 5, 0)
    settle(watches)
    assert heard(ear, 6)


def test_what_comes_during_a_fence_waits_for_it(watches, stream, ear):
    watches.watch("a")
    watches.began("a", 5, 0)
    stream.add(6)
    stream.holds = True
    watches.confirmed("a")
    eventually(lambda: stream.held)
    watches.announced("a", stream.add(7))
    watches.announced("a", stream.add(8))
    assert heard(ear)
    stream.answer()
    settle(watches)
    assert heard(ear, 6, 7, 8)
    assert watches.rereads == 0


def test_more_than_there_is_room_for_during_a_fence(watches, stream, ear, monkeypatch):
    monkeypatch.setattr(redis_watches, "WAITING", 3)
    watches.watch("a")
    watches.began("a", 0, 0)
    stream.holds = True
    watches.confirmed("a")
    eventually(lambda: stream.held)
    for id in range(1, 10):
        watches.announced("a", stream.add(id))
    stream.answer()
    settle(watches)
    assert heard(ear, *range(1, 10))


def test_one_that_does_not_follow_makes_the_stream_be_read(watches, stream, ear):
    watches.watch("a")
    watches.began("a", 5, 0)
    stream.add(6)
    watches.announced("a", stream.add(7))
    settle(watches)
    assert heard(ear, 6, 7)
    assert watches.rereads == 1


def test_one_that_is_gone_before_the_stream_is_read_is_left_at_that(watches, stream, ear):
    watches.watch("a")
    watches.began("a", 5, 0)
    watches.announced("a", [event(8)])
    settle(watches)
    assert heard(ear)
    assert stream.reads == 1
    stream.add(9)
    watches.announced("a", [event(9)])
    settle(watches)
    assert heard(ear, 9)


def test_more_than_one_page(watches, stream, ear, monkeypatch):
    monkeypatch.setattr(redis_watches, "EVENTS", 3)
    watches.watch("a")
    watches.began("a", 0, 0)
    stream.add(*range(1, 10))
    watches.confirmed("a")
    settle(watches)
    assert heard(ear, *range(1, 10))


def test_a_stream_that_cannot_be_read_does_not_hold_up_the_others(ear, stream, monkeypatch):
    monkeypatch.setattr(redis_watches, "AGAIN_SECONDS", 0.001)
    trouble = [True]

    def read(places, limit):
        if trouble and "bad" in dict(places):
            raise StoreUnavailable("not now")
        return stream.read(places, limit)

    watches = Watches(ear, read, lambda _: None, lambda _: None)
    for channel in ("bad", "a"):
        watches.watch(channel)
        watches.began(channel, 5, 0)
        watches.confirmed(channel)
    stream.add(6)
    eventually(lambda: heard(ear, 6))
    trouble.clear()
    settle(watches)
    assert not any(watch.fences for watch in watches._watches.values())


def test_what_is_more_than_a_read_may_have_is_read_in_parts(watches, stream, ear, monkeypatch):
    """As of events so large that their bytes end a read before its number of events does."""
    monkeypatch.setattr(stream, "most", 2)
    watches.watch("a")
    watches.began("a", 0, 0)
    stream.add(*range(1, 6))
    watches.confirmed("a")
    settle(watches)
    assert heard(ear, *range(1, 6))
    assert stream.reads == 3


def test_streams_are_read_many_at_once(watches, stream, ear):
    for number in range(200):
        watches.watch(f"c{number}")
        watches.began(f"c{number}", 5, 0)
    stream.add(6)
    for number in range(200):
        watches.confirmed(f"c{number}")
    settle(watches)
    assert len(ear.events) == 200
    assert stream.reads <= 200 / redis_watches.STREAMS


class TestDeletes:
    def test_one_that_was_missed_is_told_by_the_stream(self, watches, stream, ear):
        watches.watch("a")
        watches.began("a", 5, 0)
        stream.deleted = 5
        watches.confirmed("a")
        settle(watches)
        assert ear.controls == [("deleted", {"channel": "a", "to": 5})]
        watches.confirmed("a")
        settle(watches)
        assert len(ear.controls) == 1

    def test_one_before_the_read_is_not_told(self, watches, stream, ear):
        stream.deleted = 5
        watches.watch("a")
        watches.began("a", 5, 5)
        watches.confirmed("a")
        settle(watches)
        assert ear.controls == []

    def test_one_between_an_append_here_and_the_confirmation_is_told(self, watches, stream, ear):
        watches.appended("a", stream.add(6), hears=lambda: True)
        stream.events.clear()
        stream.deleted = 6
        watches.confirmed("a")
        settle(watches)
        assert ear.controls == [("deleted", {"channel": "a", "to": 6})]

    def test_what_waits_for_a_fence_is_not_told_after_its_delete(self, watches, stream, ear):
        watches.watch("a")
        watches.began("a", 5, 0)
        stream.holds = True
        watches.confirmed("a")
        eventually(lambda: stream.held)
        watches.announced("a", [event(6)])
        watches.end("a", 6)
        stream.answer()
        settle(watches)
        assert heard(ear)
