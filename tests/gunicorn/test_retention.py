"""Retention keeps up: the file stops growing, the log stays short, and nobody waits for what is removed."""

import contextlib
import itertools
import json
import os
import sqlite3
import threading
import time

import pytest

from tests.support.clients import Line, Publisher, get, line_to, publication, publishing, subscription
from tests.support.servers import Server, await_that

MIB = 1024 * 1024

#: A message of a kilobyte.
MESSAGE = {"text": "x" * 1000}

#: Ten times what is promised, for a busy machine.
PAUSE_SECONDS = 0.2


def endless(channels):
    """Jobs of a publisher: single events and batches, over the channels in turn."""
    for number, channel in enumerate(itertools.cycle(channels)):
        yield channel, [MESSAGE] * (50 if number % 10 == 0 else 1)


class SlowReader(threading.Thread):
    """Pages through a channel's history again and again, taking each page a few kilobytes at a time."""

    def __init__(self, server, channel):
        super().__init__(daemon=True)
        self._server = server
        self._channel = channel
        self.pages = 0
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            cursor = 0
            while not self.stopping.is_set():
                page = self._read(cursor)
                self.pages += 1
                cursor = page["last_event_id"] if page["events"] else 0
        except BaseException as error:
            self.failure = error

    def _read(self, cursor):
        with Line(self._server) as line:
            line.send(get(f"/channels/{self._channel}/events?after={cursor}&limit=1000", "Connection: close"))
            received = bytearray()
            while data := line.sock.recv(16 * 1024):
                received += data
                self.stopping.wait(0.005)  # this is what makes it slow
            return json.loads(received.partition(b"\r\n\r\n")[2])


class Sizes:
    """How large the file was as time went by, and how long its log became."""

    def __init__(self, server):
        self._file = server.database
        self._log = server.database.with_name(server.database.name + "-wal")
        self.file = []
        self.log = 0

    def watch(self, until, meanwhile):
        while not until():
            meanwhile()
            self.file.append(os.path.getsize(self._file))
            self.log = max(self.log, os.path.getsize(self._log))
            time.sleep(0.1)  # between two looks


def count(publishers):
    return sum(len(ids) for publisher in publishers for _, ids, _ in publisher.acknowledged)


@contextlib.contextmanager
def steady_publishing(folder, rules):
    """A server under steady publishing and a slow reader: it, its publishers, and the sizes of its files."""
    with Server(folder, workers=2, inspected=True, env={"BIDE_RETENTION": rules}) as server:
        reader = SlowReader(server, "aged.1")
        load = [Publisher(server, endless(["aged.1", "aged.2", "counted"]), pid=pid) for pid in server.worker_pids()]
        with publishing(load):
            reader.start()
            yield server, load, Sizes(server)
        reader.stopping.set()
        reader.join(20)
        assert reader.failure is None
        assert reader.pages > 3
        assert [publisher.refused for publisher in load] == [[], []]


@pytest.mark.parametrize("events", [20_000, pytest.param(30_000, marks=pytest.mark.long)])
def test_the_file_holds_what_is_kept_and_not_what_went_through_it(tmp_path, events):
    with steady_publishing(tmp_path, "counted=500/86400 aged.*=2000/86400") as (server, load, sizes):
        sizes.watch(lambda: count(load) >= events, meanwhile=lambda: server.get("/channels/aged.2/events?limit=10"))
    # 4,500 of a kilobyte, what gathers until it is removed together, and the indexes.
    assert max(sizes.file) < 16 * MIB < events * 1000
    assert sizes.log < 64 * MIB


@pytest.mark.long
@pytest.mark.timeout(900)
def test_under_ten_minutes_of_publishing_the_file_stops_growing_and_its_log_stays_short(tmp_path, record_property):
    with steady_publishing(tmp_path, "counted=500/86400 aged.*=1000000/3") as (server, load, sizes):
        ends_at = time.monotonic() + 600
        sizes.watch(lambda: time.monotonic() > ends_at, lambda: server.get("/channels/aged.2/events?limit=10"))
    record_property(
        "table", f"{count(load):,} events; file {max(sizes.file) / MIB:.1f} MiB, log {sizes.log / MIB:.1f} MiB at most"
    )
    # Far more went through it than it holds.
    assert count(load) * 1000 > 2 * max(sizes.file)
    assert sizes.log < 64 * MIB
    half = len(sizes.file) // 2
    assert max(sizes.file[half:]) < 1.25 * max(sizes.file[:half])


@pytest.mark.parametrize("thousands", [40, pytest.param(100, marks=pytest.mark.long)])
def test_the_delete_of_a_long_channel_makes_nobody_wait(tmp_path, thousands):
    """Many thousand events, removed while a client polls and another publishes on each worker."""
    with Server(tmp_path, workers=2, inspected=True, env={"BIDE_RETENTION_EVENTS": 200_000}) as server:
        for _ in range(thousands):
            server.publish_all("long", [0] * 1000)
        one, other = (line_to(server, pid) for pid in server.worker_pids())
        waiting = line_to(server, server.worker_pids()[1])
        with contextlib.closing(one.sock), contextlib.closing(other.sock), contextlib.closing(waiting.sock):
            assert one.ask(b"DELETE /channels/long HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 204
            cursor, slowest, rounds = 0, 0.0, 0

            def turn():
                """An event from one worker to a poll that waits at the other, with a publish there between."""
                nonlocal cursor, slowest, rounds
                waiting.send(subscription("short", cursor))
                begun = time.monotonic()
                other.ask(publication("beside", [rounds]))
                cursor = one.ask(publication("short", [rounds])).json()["event_id"]
                assert waiting.answer().json()["id"] == cursor
                slowest, rounds = max(slowest, time.monotonic() - begun), rounds + 1
                return rows(server) == 0

            await_that(turn, step=0)
            assert rounds > thousands / 5
            assert slowest < PAUSE_SECONDS
            assert server.events("long") == []


def rows(server):
    """How many rows of deleted events there still are."""
    with contextlib.closing(sqlite3.connect(server.database)) as file:
        return file.execute(
            "SELECT count(*) FROM events JOIN channels USING (number) WHERE id <= deleted_to"
        ).fetchone()[0]
