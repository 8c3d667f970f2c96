"""Real processes on one SQLite file: they hear one another, wait for one another, and may be killed at any moment."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import gevent
import pytest

from .support import Ear, eventually, everything, message, messages, policy, put

ROOT = Path(__file__).parents[2]


class Process:
    """One run of tests/stores/process.py. `line` waits for what it says next."""

    def __init__(self, *words):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.process", *map(str, words)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def line(self):
        return self._process.stdout.readline().rstrip("\n")

    def lines(self, count):
        return [self.line() for _ in range(count)]

    def tell(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self):
        """Kill it, as `kill -9` does; what it had said that was not read yet."""
        self._process.send_signal(signal.SIGKILL)
        rest = self._process.stdout.read().splitlines()
        self._process.wait()
        return rest

    def end(self):
        """Wait for its own end; what it said, and its exit code."""
        rest = self._process.stdout.read().splitlines()
        return rest, self._process.wait()

    def close(self):
        if self._process.poll() is None:
            self.kill()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def start(path):
    with contextlib.ExitStack() as running:

        def start(what, *words, path=path):
            process = Process(what, path, *words)
            running.callback(process.close)
            return process

        yield start


def acknowledged(lines):
    """The batches that were told as stored: number, first id, last id."""
    return [tuple(map(int, line.split())) for line in lines if line.count(" ") == 2]


def check_whole(store, channel, told):
    """Every batch that was told is there, every batch is whole and unbroken, and ids and links are one chain."""
    events = everything(store, channel).events
    assert [event.prev for event in events[1:]] == [event.id for event in events[:-1]]
    assert all(event.prev < event.id for event in events)
    batches = {}
    for event in events:
        who, number, part = message(event)
        batches.setdefault((who, number), []).append((part, event.id))
    for batch in batches.values():
        first = batch[0][1]
        assert batch == [(0, first), (1, first + 1), (2, first + 2)]
    for who, number, first, last in told:
        assert batches[who, number] == [(0, first), (1, first + 1), (2, last)]
    return batches


@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside another"])
def test_what_was_acknowledged_survives_a_kill_at_any_moment(opened, start, path, others):
    beside = opened(policy(events=1_000_000)) if others else opened(policy(events=1_000_000)).close()
    ear = Ear()
    if beside is not None:
        beside.listen(ear)
    told = []
    for who, count in enumerate((1, 40, 300)):
        child = start("append", "a", who, 0)
        assert child.line() == "open"
        lines = child.lines(count)
        lines += child.kill()
        if lines and lines[-1].count(" ") != 2:
            lines.pop()  # cut in the middle of a line
        assert len(lines) >= count
        told += [(str(who), *batch) for batch in acknowledged(lines)]
    store = beside or opened()
    assert store._file.scalar("PRAGMA integrity_check") == "ok"
    batches = check_whole(store, "a", told)
    assert len(batches) <= len(told) + 3  # at most the one that each was about to tell
    assert store.info("a").events == 3 * len(batches)
    last = store.info("a").last_event_id
    assert put(store, "a", "after").first_id > last
    if beside is not None:
        eventually(lambda: "after" in ear.messages())
        assert ear.ids("a") == [event.id for event in everything(store, "a").events]
        assert ear.losses == 0


def test_two_processes_append_to_one_channel_and_a_third_hears_it_all(opened, start):
    store = opened(policy(events=1_000_000))
    ear = Ear()
    store.listen(ear)
    children = [start("append", "a", who, 60) for who in "xy"]
    eventually(lambda: len(ear.events) == 360, seconds=30)
    told = []
    for who, child in zip("xy", children, strict=True):
        lines, code = child.end()
        assert code == 0
        told += [(who, *batch) for batch in acknowledged(lines)]
    assert len(told) == 120
    check_whole(store, "a", told)
    gevent.sleep(0.02)
    assert ear.ids("a") == [event.id for event in everything(store, "a").events]
    assert ear.losses == 0


def test_a_fresh_file_may_be_opened_by_several_at_once(start, opened):
    children = [start("append", f"c{who}", who, 2) for who in range(4)]
    for child in children:
        lines, code = child.end()
        assert (len(lines), code) == (3, 0)
    store = opened()
    assert [(info.channel, info.events) for info in store.channels("", "", 10)] == [(f"c{n}", 6) for n in range(4)]


def test_another_process_hears_appends_and_deletes(opened, start):
    store = opened()
    child = start("listen")
    assert child.line() == "open"
    id = put(store, "a", "x").last_id
    assert child.line() == f"event a {id} x"
    store.delete("a")
    assert child.line() == f"control deleted { ({'channel': 'a', 'to': id}) }"
    store.announce_control("noted", {"n": 1})
    assert child.line() == "control noted {'n': 1}"


def test_a_process_that_was_stopped_is_told_what_it_may_have_missed(opened, start):
    store = opened(policy(events=100))
    child = start("listen")
    assert child.line() == "open"
    os.kill(child.pid, signal.SIGSTOP)
    for n in range(5):
        put(store, "a", *range(n * 100, n * 100 + 100))
    os.kill(child.pid, signal.SIGCONT)
    heard = []
    while (line := child.line()) != "lost":
        heard.append(line.split()[-1])
    assert heard == [str(n) for n in range(500 - len(heard), 500)]
    id = put(store, "a", "next").last_id
    assert child.line() == f"event a {id} next"


def test_the_socket_of_a_killed_process_is_removed(opened, start, path):
    store = opened()
    child = start("listen")
    assert child.line() == "open"
    (name,) = os.listdir(f"{path}-listeners")
    assert name.startswith(f"{child.pid}-")
    child.kill()
    assert os.listdir(f"{path}-listeners") == [name]
    put(store, "a", 1)
    assert os.listdir(f"{path}-listeners") == []
    assert messages(everything(store, "a")) == [1]


def test_an_append_waits_for_another_process_and_other_greenlets_go_on(opened, start):
    store = opened()
    child = start("hold")
    assert child.line() == "open"
    append = gevent.spawn(put, store, "a", 1)
    for _ in range(10):
        gevent.sleep(0.001)
    assert not append.ready()
    child.tell()
    append.get(timeout=10)
    assert messages(everything(store, "a")) == [1]


def test_a_process_that_is_killed_while_it_writes_lets_go_of_the_file(opened, start):
    store = opened()
    child = start("hold")
    assert child.line() == "open"
    child.kill()
    put(store, "a", 1)
    assert messages(everything(store, "a")) == [1]


def test_a_store_may_be_closed_while_its_log_is_moved(start, tmp_path):
    (tmp_path / "many").mkdir()
    lines, code = start("reopen", 40, path=tmp_path / "many" / "bide.db").end()
    assert (lines, code) == (["closed 40"], 0)


def test_the_log_begins_anew_instead_of_growing_without_end(start, path):
    lines, code = start("fill").end()
    assert code == 0
    assert lines[0].startswith("steady")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
