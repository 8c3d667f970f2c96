"""Who appends in a process where others listen, and channels that nobody there listens to any more."""

import gevent
import pytest

from app.stores import redis_watches

from .stream import heard, settle
from .support import eventually


class TestAppended:
    def test_who_appends_waits_for_what_is_still_on_the_way(self, watches, stream, ear):
        watches.watch("a")
        watches.began("a", 5, 0)
        others, own = stream.add(6), stream.add(7)
        appending = gevent.spawn(watches.appended, "a", own, hears=lambda: True)
        gevent.sleep(0.003)
        assert not appending.ready()
        watches.announced("a", others)
        watches.announced("a", own)
        appending.get(timeout=5)
        assert heard(ear, 6, 7)
        assert watches.rereads == 0

    @pytest.mark.parametrize("hears", [True, False])
    def test_what_does_not_come_is_read(self, watches, stream, ear, hears, monkeypatch):
        monkeypatch.setattr(redis_watches, "BEHIND_SECONDS", 0.01)
        watches.watch("a")
        watches.began("a", 5, 0)
        stream.add(6)
        watches.appended("a", stream.add(7), hears=lambda: hears)
        settle(watches)
        assert heard(ear, 6, 7)


class TestLeaving:
    @pytest.fixture(autouse=True)
    def brief(self, monkeypatch):
        monkeypatch.setattr(redis_watches, "QUIET_SECONDS", 0)

    def leave(self, watches, ear):
        ear.deaf_to.add("a")
        watches.leave_quiet()
        watches.leave_quiet()

    def test_one_whose_only_read_failed_is_left(self, watches, ear):
        watches.watch("a")
        watches.confirmed("a")
        self.leave(watches, ear)
        assert watches.channels == []

    def test_one_that_is_read_just_now_is_not(self, watches, stream, ear):
        watches.watch("a")
        watches.began("a", 5, 0)
        stream.holds = True
        watches.confirmed("a")
        eventually(lambda: stream.held)
        self.leave(watches, ear)
        assert watches.channels == ["a"]
        stream.answer()
        settle(watches)
        self.leave(watches, ear)
        assert watches.channels == []

    def test_one_that_is_watched_again_keeps_its_fence(self, watches, stream, ear):
        watches.watch("a")
        watches.began("a", 5, 0)
        watches.confirmed("a")
        settle(watches)
        self.leave(watches, ear)
        ear.deaf_to.clear()
        watches._due.append("a")  # a second confirmation's
        watches.watch("a")
        watches.confirmed("a")
        watches._read_due()
        stream.add(6)
        watches.began("a", 5, 0)
        settle(watches)
        assert heard(ear, 6)

    def test_one_that_is_watched_again_while_it_was_left_is_subscribed(self, watches, ear, asked):
        watches.watch("a")
        watches.began("a", 5, 0)
        self.leave(watches, ear)
        watches.left("a")
        assert asked[-1] == ("off", "a")
        watches.watch("a")
        watches.left("a")
        assert asked[-2:] == [("on", "a"), ("on", "a")]
