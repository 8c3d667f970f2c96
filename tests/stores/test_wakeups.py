"""Wake-ups alone: who is woken, by whom, and what is left where nobody can be."""

import os
import socket
import time

import gevent
import pytest

from app.stores import wakeups
from app.stores.wakeups import Wakeups

#: Long for a datagram, short for a test; only what must not come waits for it whole.
SOON_SECONDS = 5
NOT_SECONDS = 0.02


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "bide.db-listeners"


@pytest.fixture
def made(folder):
    """Makes one process's end of the wake-ups; all are closed at the end."""
    ends = []

    def made(listening=True, folder=folder):
        end = Wakeups(folder)
        ends.append(end)
        if listening:
            end.listen("0.0.0")
        return end

    yield made
    for end in ends:
        end.close()


@pytest.fixture
def folder_in_place(folder, monkeypatch):
    """The working folder is the sockets' one, so that a socket's path is short however long the folder's is."""
    folder.mkdir()
    monkeypatch.chdir(folder)


def bound(name):
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.bind(name)
    return end


def test_a_sibling_is_woken(made):
    sender, sleeper = made(), made()
    waiting = gevent.spawn(sleeper.wait, SOON_SECONDS)
    gevent.sleep(0)
    assert not waiting.ready()
    sender.send()
    assert waiting.get(timeout=1) is True


def test_a_wake_up_before_the_wait_is_not_lost(made):
    sender, sleeper = made(), made()
    sender.send()
    assert sleeper.wait(SOON_SECONDS)


def test_every_sibling_is_woken_but_not_the_sender(made):
    sender, *sleepers = (made() for _ in range(4))
    sender.send()
    assert all(sleeper.wait(SOON_SECONDS) for sleeper in sleepers)
    assert not sender.wait(NOT_SECONDS)


def test_one_that_does_not_listen_wakes_the_others(made):
    sender, sleeper = made(listening=False), made()
    sender.send()
    assert sleeper.wait(SOON_SECONDS)


def test_nobody_is_woken_without_a_reason(made):
    made()
    sleeper = made()
    begun = time.monotonic()
    assert not sleeper.wait(NOT_SECONDS)
    assert time.monotonic() - begun >= NOT_SECONDS * 0.9


def test_waiting_lets_other_greenlets_run(made):
    sleeper = made()
    ran = []
    gevent.spawn(ran.append, 1)
    sleeper.wait(NOT_SECONDS)
    assert ran == [1]


def test_wake_ups_that_came_together_are_one(made):
    sender, other, sleeper = made(), made(), made()
    for _ in range(5):
        sender.send()
        other.send()
    assert sleeper.wait(SOON_SECONDS)
    assert not sleeper.wait(NOT_SECONDS)
    sender.send()
    assert sleeper.wait(SOON_SECONDS)


def test_a_full_queue_neither_blocks_nor_raises(made):
    sender, sleeper = made(), made()
    for _ in range(5000):
        sender.send()
    assert sleeper.wait(SOON_SECONDS)
    assert not sleeper.wait(NOT_SECONDS)


@pytest.mark.parametrize("settled", [wakeups.SETTLED_SECONDS, 0])
def test_who_comes_later_is_woken_too(made, monkeypatch, settled):
    monkeypatch.setattr(wakeups, "SETTLED_SECONDS", settled)
    sender = made()
    sender.send()
    late = made()
    sender.send()
    assert late.wait(SOON_SECONDS)


def test_who_comes_within_the_same_tick_of_the_folders_clock_is_woken_too(made, folder):
    sender = made()
    ticked = os.stat(folder).st_mtime_ns
    sender.send()
    late = made()
    os.utime(folder, ns=(ticked, ticked))
    sender.send()
    assert late.wait(SOON_SECONDS)


def test_the_list_of_siblings_is_kept_while_the_folder_does_not_change(made, folder, monkeypatch):
    sender, sleeper = made(), made()
    old = time.time() - 10
    os.utime(folder, (old, old))
    sender.send()
    listed = []
    monkeypatch.setattr(wakeups.os, "listdir", lambda *of: listed.append(of) or [])
    for _ in range(3):
        sender.send()
        assert sleeper.wait(SOON_SECONDS)
    assert listed == []


def test_who_left_is_not_asked_again(made, folder):
    sender, gone, sleeper = made(), Wakeups(folder), made()
    gone.listen("0.0.0")
    sender.send()
    gone.close()
    assert len(os.listdir(folder)) == 2
    assert sleeper.wait(SOON_SECONDS)
    sender.send()
    assert sleeper.wait(SOON_SECONDS)
    assert len(os.listdir(folder)) == 2


@pytest.mark.usefixtures("folder_in_place")
def test_the_socket_of_the_dead_is_removed_and_the_others_are_woken(made, folder):
    bound("1-dead").close()
    sender, sleeper = made(), made()
    bound("zz-dead").close()
    sender.send()
    assert sleeper.wait(SOON_SECONDS)
    assert len(os.listdir(folder)) == 2


@pytest.mark.usefixtures("folder_in_place")
def test_a_living_socket_is_not_removed(made, folder):
    stranger = bound("1-alive")
    made().send()
    assert "1-alive" in os.listdir(folder)
    stranger.close()


def test_a_socket_that_was_removed_under_its_owner_costs_the_wake_up_alone(made, folder):
    sender, sleeper = made(), made()
    sender.send()
    assert sleeper.wait(SOON_SECONDS)
    for name in os.listdir(folder):
        (folder / name).unlink()
    sender.send()
    assert not sleeper.wait(NOT_SECONDS)
    sleeper.close()
    sender.send()
    sleeper.close = lambda: None


def test_a_folder_that_was_removed_stops_nobody(made, folder):
    sender, sleeper = made(), made()
    for name in os.listdir(folder):
        (folder / name).unlink()
    folder.rmdir()
    for _ in range(3):
        sender.send()
    assert not sleeper.wait(NOT_SECONDS)
    late = made()
    made(listening=False).send()
    assert late.wait(SOON_SECONDS)


def test_a_folder_may_have_a_long_path_with_spaces(made, tmp_path):
    folder = tmp_path / ("a folder " * 20) / "bide.db-listeners"
    sender, sleeper = made(folder=folder), made(folder=folder)
    sender.send()
    assert sleeper.wait(SOON_SECONDS)


def test_where_no_socket_can_be_bound_there_is_only_the_wait(made, tmp_path, monkeypatch):
    monkeypatch.setattr(wakeups.os.path, "isdir", lambda path: False)  # no /proc
    folder = tmp_path / ("a folder " * 20) / "bide.db-listeners"
    sender, sleeper = made(folder=folder), made(folder=folder)
    sender.send()
    assert not sleeper.wait(NOT_SECONDS)
    assert os.listdir(folder) == []


def test_without_proc_a_short_path_is_enough(made, folder, monkeypatch):
    monkeypatch.setattr(wakeups.os.path, "isdir", lambda path: False)
    monkeypatch.chdir(folder.parent)
    sender, sleeper = made(folder=type(folder)("w")), made(folder=type(folder)("w"))
    sender.send()
    assert sleeper.wait(SOON_SECONDS)


def test_nothing_is_left_open_or_lying_about(folder):
    Wakeups(folder).close()
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        end = Wakeups(folder)
        end.listen("0.0.0")
        end.send()
        end.close()
    assert os.listdir(folder) == []
    assert len(os.listdir("/dev/fd")) == before


def test_a_socket_that_was_tidied_away_is_made_anew(made, folder):
    sender, sleeper = made(), made()
    os.unlink(folder / sleeper.name)
    assert sleeper.wait(NOT_SECONDS) is False
    sender.send()
    assert sleeper.wait(SOON_SECONDS) is True
    assert sender.reached == [sleeper.name]


def test_who_took_a_wakeup_is_known(made, folder):
    sender, sleeper, other = made(), made(), made()
    with bound(str(folder / "gone")):
        pass
    sender.send()
    assert sorted(sender.reached) == sorted([sleeper.name, other.name])


def test_a_folder_that_was_tidied_away_is_made_anew_by_who_listens(made, folder):
    sender, sleeper = made(), made()
    for name in os.listdir(folder):
        os.unlink(folder / name)
    folder.rmdir()
    assert sleeper.wait(NOT_SECONDS) is False
    sender.send()
    assert sleeper.wait(SOON_SECONDS) is True
    assert sleeper.bound


def test_a_socket_that_cannot_be_made_is_tried_again_and_said_once(made, folder, monkeypatch, caplog):
    sleeper = made(listening=False)
    with monkeypatch.context() as patched:
        patched.setattr(sleeper, "_path", "/nowhere")
        patched.setattr(sleeper, "_open", lambda: None)
        sleeper.listen("0.0.0")
        for _ in range(3):
            assert sleeper.wait(0.001) is False
        assert len(caplog.records) == 1
    assert not sleeper.bound
    assert sleeper.wait(0.001) is False
    assert sleeper.bound


def test_the_marks_of_processes_that_live_are_known(made, folder):
    assert wakeups.marks(folder) == set()
    one, _ = made(listening=False), made(listening=False)
    one.listen("1.2.3")
    with bound(str(folder / "77-abcd-4.5.6")):
        pass  # killed
    assert wakeups.marks(folder) == {"1.2.3"}
