"""Processes that share a file, here two stores of one process: who appended is heard by the other's event loop.

A sibling that does not come round (it is busy, or was stopped) is a test that does not let the event loop run.
"""

import os
import socket
import sqlite3
from pathlib import Path

import gevent
import gevent.event
import pytest

from app.errors import TooManyKeys
from app.stores import sqlite_file, sqlite_listener
from app.stores.base import Key

from .support import Ear, eventually, everything, policy, put, said, sweep

#: Longer than any test: then only a datagram can bring the news.
NEVER_SECONDS = 600


@pytest.fixture
def never_look(monkeypatch):
    monkeypatch.setattr(sqlite_listener, "LOOK_SECONDS", NEVER_SECONDS)


@pytest.fixture
def listening(opened):
    """Opens the file and listens; what is heard is at `.ear`."""

    def listening(kept=None, ear=None, **more):
        store = opened(kept, **more)
        store.ear = ear or Ear()
        store.listen(store.ear)
        return store

    return listening


@pytest.fixture
def pair(listening):
    one, other = listening(policy()), listening()
    gevent.sleep(0)  # both wait now
    return one, other


def sockets(path):
    return set(os.listdir(f"{path}-listeners"))


@pytest.mark.usefixtures("never_look")
class TestByDatagram:
    def test_an_append_is_heard(self, pair):
        one, other = pair
        put(one, "a", 1, 2, type="t")
        eventually(lambda: len(other.ear.events) == 2)
        assert said(other.ear.events) == said(everything(one, "a").events) == said(one.ear.events)

    def test_each_side_hears_the_other(self, pair):
        one, other = pair
        for n in range(20):
            put(pair[n % 2], "a", n)
            eventually(lambda n=n: len(pair[1 - n % 2].ear.events) == n + 1)
        assert one.ear.messages() == other.ear.messages() == list(range(20))

    def test_deletes_and_controls_are_heard(self, pair):
        one, other = pair
        last = put(one, "a", 1).last_id
        eventually(lambda: other.ear.events)
        for name, to in (("a", last), ("unknown", 0)):
            one.delete(name)
            eventually(lambda name=name, to=to: other.ear.controls[-1:] == [("deleted", {"channel": name, "to": to})])
        one.announce_control("noted", {"é": [1, None]})
        eventually(lambda: other.ear.controls[-1:] == [("noted", {"é": [1, None]})])
        assert other.ear.controls == one.ear.controls
        assert len(one.ear.controls) == 3

    def test_a_sibling_that_came_later_is_woken(self, pair, listening):
        one, _ = pair
        put(one, "a", 1)
        late = listening()
        put(one, "a", 2)
        eventually(lambda: late.ear.events)
        assert late.ear.messages() == [2]

    def test_a_path_may_be_long_and_have_spaces(self, listening, tmp_path):
        path = tmp_path / ("folder with spaces " * 8) / ("a b%20?#é" * 6) / "bide store.db"
        assert len(str(path)) > 200
        one, other = listening(path=path), listening(path=path)
        gevent.sleep(0)
        put(one, "a", 1)
        eventually(lambda: other.ear.events)
        assert path.exists()
        assert len(sockets(path)) == 2

    def test_a_process_that_only_publishes_wakes_those_that_listen(self, pair, opened):
        put(opened(), "a", 1)
        eventually(lambda: all(store.ear.events for store in pair))

    def test_the_socket_of_a_process_that_died_is_removed(self, pair, path):
        alive = sockets(path)
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        previous = Path.cwd()
        os.chdir(f"{path}-listeners")  # the path of a socket is short
        try:
            dead.bind("4242-dead")
        finally:
            os.chdir(previous)
        dead.close()
        assert sockets(path) == alive | {"4242-dead"}
        put(pair[0], "a", 1)
        assert sockets(path) == alive
        eventually(lambda: pair[1].ear.events)

    def test_a_closed_store_takes_its_socket_along(self, pair, path):
        one, other = pair
        other.close()
        assert len(sockets(path)) == 1
        put(one, "a", 1)
        gevent.sleep(0.02)
        assert other.ear.events == []


class TestBySafetyLook:
    @pytest.fixture
    def pair(self, pair, path):
        """No datagram reaches anybody."""
        for name in sockets(path):
            (Path(f"{path}-listeners") / name).unlink()
        return pair

    def test_an_append_is_heard(self, pair):
        one, other = pair
        put(one, "a", 1)
        eventually(lambda: other.ear.events, seconds=1)
        assert said(other.ear.events) == said(one.ear.events)

    def test_a_control_is_heard(self, pair):
        one, other = pair
        one.delete("a")
        eventually(lambda: other.ear.controls, seconds=1)

    def test_a_commit_right_after_a_listener_read_where_to_go_on_is_heard(self, opened, listening, path, monkeypatch):
        one = opened()
        bind, end, armed = sqlite_listener.Wakeups.listen, sqlite_file.Transaction.__exit__, []

        def listen(wakeups, mark):
            bind(wakeups, mark)
            for name in sockets(path):
                (Path(f"{path}-listeners") / name).unlink()
            armed.append(True)

        def then_appended(transaction, *raised):
            end(transaction, *raised)
            if armed:
                armed.clear()
                put(one, "a", 1)

        monkeypatch.setattr(sqlite_listener.Wakeups, "listen", listen)
        monkeypatch.setattr(sqlite_file.Transaction, "__exit__", then_appended)
        late = listening()
        eventually(lambda: late.ear.events, seconds=1)

    def test_a_look_that_failed_is_tried_again(self, pair, monkeypatch):
        one, other = pair
        execute, failed = other._file.execute, []

        def failing(statement, *values):
            if statement.startswith("SELECT seq, channel") and not failed:
                failed.append(statement)
                raise sqlite3.OperationalError("disk I/O error")
            return execute(statement, *values)

        monkeypatch.setattr(other._file, "execute", failing)
        put(one, "a", 1)
        eventually(lambda: failed)
        eventually(lambda: other.ear.events or other.ear.losses, seconds=1)


def test_appends_by_turns_are_announced_once_and_in_order(pair):
    for n in range(60):
        put(pair[n % 2], "ab"[n % 3 == 0], n)
        if n % 7 == 0:
            gevent.sleep(0)
    for store in pair:
        eventually(lambda store=store: len(store.ear.events) == 60)
        gevent.sleep(0.02)
        assert store.ear.messages() == list(range(60))
        assert store.ear.losses == 0


def test_an_own_append_is_announced_after_what_a_sibling_did_before(pair):
    one, other = pair
    put(other, "a", 1)
    put(one, "a", 2)
    assert one.ear.messages() == [1, 2]
    eventually(lambda: len(other.ear.events) == 2)
    assert other.ear.messages() == [1, 2]


def test_only_what_the_listener_hears_is_announced(listening):
    one, other = listening(), listening(ear=Ear(deaf_to={"b"}))
    put(one, "b", 1)
    put(one, "a", 2)
    put(one, "b", 3)
    one.announce_control("done", {})
    eventually(lambda: other.ear.controls)
    assert other.ear.messages() == [2]
    assert other.ear.losses == 0


def test_a_sibling_far_behind_hears_everything(listening):
    one, other = listening(policy(events=5000)), listening()
    for n in range(0, 1800, 60):
        put(one, "a", *range(n, n + 60))
        one.announce_control("k", {"n": n})
    put(other, "a", "own")
    assert other.ear.messages() == [*range(1800), "own"]
    assert [data["n"] for _, data in other.ear.controls] == list(range(0, 1800, 60))
    eventually(lambda: one.ear.messages()[-1] == "own")
    assert one.ear.losses == other.ear.losses == 0


def test_what_was_trimmed_before_a_sibling_looked_is_lost(listening, monkeypatch):
    one, other = listening(policy(events=50)), listening()
    stopped, goes_on, wait = gevent.event.Event(), gevent.event.Event(), other._wakeups.wait

    def stop(seconds):
        stopped.set()
        goes_on.wait()
        return wait(seconds)

    monkeypatch.setattr(other._wakeups, "wait", stop)
    assert stopped.wait(1)
    for n in range(400):
        put(one, "a", n)
    sweep(one)
    goes_on.set()
    eventually(lambda: other.ear.losses)
    assert other.ear.messages() == list(range(350, 400))
    assert one.ear.messages() == list(range(400))
    assert one.ear.losses == 0
    losses = other.ear.losses
    put(one, "a", 400)
    eventually(lambda: other.ear.messages()[-1] == 400)
    assert other.ear.losses == losses


def test_wake_ups_that_never_pause_leave_the_loop_to_others(pair, monkeypatch):
    """A wait for which a datagram is there already does not switch, and nobody else was served."""
    one, other = pair
    monkeypatch.setattr(other._wakeups, "wait", lambda seconds: True)
    put(one, "a", 1)
    turns = []
    for _ in range(20):
        gevent.sleep(0)
        turns.append(True)
    assert len(turns) == 20


def test_what_came_together_is_announced_together(pair):
    one, other = pair
    told = []
    other.ear.announce = told.append
    put(one, "a", 1, 2)
    put(one, "b", 3)
    eventually(lambda: sum(map(len, told)) == 3)
    assert [[event.channel for event in events] for events in told] == [["a", "a", "b"]]


def test_a_listener_that_fails_is_told_that_the_rest_was_lost(pair):
    one, other = pair

    def fail(events):
        del other.ear.announce
        raise RuntimeError("a defect")

    other.ear.announce = fail
    put(one, "a", 1)
    eventually(lambda: other.ear.losses == 1)
    put(one, "a", 2)
    eventually(lambda: other.ear.messages() == [2])


def test_what_was_deleted_before_a_sibling_looked_is_not_announced_to_it(pair):
    """Nor lost: its rows are there until the sweep comes. More rows than one look reads, so that the look which
    meets the delete's control is not the one that meets its last event."""
    one, other = pair
    put(one, "a", *range(sqlite_listener.ROWS + 1))
    one.delete("a")
    put(one, "a", "after")
    eventually(lambda: other.ear.messages())
    assert other.ear.messages() == ["after"]
    assert [kind for kind, _ in other.ear.controls] == ["deleted"]
    assert other.ear.losses == 0


def test_what_was_swept_away_before_a_sibling_looked_is_lost(pair):
    one, other = pair
    put(one, "a", 1)
    one.delete("a")
    sweep(one)
    put(one, "a", 2)
    eventually(lambda: other.ear.losses)
    assert other.ear.messages() == [2]
    assert other.ear.controls[0][0] == "deleted"


def test_the_numbers_of_deleted_events_are_not_given_again(pair, opened):
    one, other = pair
    put(one, "a", 1, 2, 3)
    eventually(lambda: len(other.ear.events) == 3)
    one.delete("a")
    for n in (4, 5):
        put(one, "b", n)
    one.delete("b")
    sweep(one)
    third = opened()
    put(third, "c", 6)
    eventually(lambda: 6 in other.ear.messages())
    eventually(lambda: 6 in one.ear.messages())
    assert other.ear.messages()[:3] == [1, 2, 3]
    assert other.ear.losses  # 4 and 5
    assert one.ear.losses == 0


def test_controls_that_were_dropped_before_a_sibling_looked_are_lost(pair, clock):
    one, other = pair
    one.announce_control("k", {})
    clock.step(601)
    sweep(one)
    eventually(lambda: other.ear.losses)
    assert other.ear.controls == []


def test_what_was_rolled_back_leaves_no_hole(listening):
    one, other = listening(policy(max_idempotency_keys=1)), listening()
    put(one, "a", 1, key=Key("s", "1", b"1"))
    for _ in range(3):
        with pytest.raises(TooManyKeys):
            put(one, "a", 2, 3, key=Key("s", "2", b"2"))
    put(one, "a", 4)
    eventually(lambda: len(other.ear.events) == 2)
    assert one.ear.messages() == other.ear.messages() == [1, 4]
    assert one.ear.losses == other.ear.losses == 0


def test_housekeeping_by_one_is_no_loss_to_another_that_heard_everything(listening, clock):
    one, other = listening(policy(events=3, seconds=60)), listening()
    put(one, "a", 1, 2, 3)
    one.announce_control("k", {})
    eventually(lambda: other.ear.controls)
    clock.step(4000)
    sweep(one)
    put(one, "a", 4)
    eventually(lambda: len(other.ear.events) == 4)
    assert one.ear.losses == other.ear.losses == 0
