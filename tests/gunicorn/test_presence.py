"""Who subscribes, over real workers: each holds what it knows in memory, and whoever is asked asks the others."""

import contextlib
import os
import signal
import sqlite3
import time

import pytest

from tests.gunicorn.test_workers import counts, polls
from tests.support.clients import Herd, get, line_to, subscription
from tests.support.servers import Server, await_that, is_running


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path, workers=2, inspected=True) as server:
        yield server


@contextlib.contextmanager
def polling(server, pid, *clients, channel="news"):
    """A poll of each client, parked at one worker."""
    lines = [line_to(server, pid) for _ in clients]
    before = counts(server)[pid]["polls"]
    for line, client in zip(lines, clients, strict=True):
        line.send(get(f"/subscribe/{channel}?timeout=50", f"X-Client-ID: {client}"))
    await_that(lambda: counts(server)[pid]["polls"] == before + len(clients))
    yield
    for line in lines:
        line.sock.close()


def asked(server, pid, path):
    """What one worker answers."""
    line = line_to(server, pid)
    with contextlib.closing(line.sock):
        answer = line.ask(get(path))
        assert (answer.status, answer.pid) == (200, pid)
        return answer.json()


def subscribers(server, pid):
    body = asked(server, pid, "/channels/news/subscribers")
    return sorted(each["client_id"] for each in body["subscribers"]), body.get("partial", False)


def numbers(server, pid):
    """The number of subscribers as a worker's two other answers give it."""
    one, listed = asked(server, pid, "/channels/news"), asked(server, pid, "/channels")
    (entry,) = [each for each in listed["channels"] if each["channel"] == "news"]
    return one["subscribers"], entry["subscribers"]


def test_every_worker_tells_the_subscribers_of_all(server):
    one, other = server.worker_pids()
    with polling(server, one, "ann", "bob"), polling(server, other, "cid"):
        for pid in (one, other):
            assert subscribers(server, pid) == (["ann", "bob", "cid"], False)
            assert numbers(server, pid) == (3, 3)


def test_a_client_whose_polls_go_from_worker_to_worker_is_counted_once(server):
    one, other = server.worker_pids()
    for pid in (one, other):
        line = line_to(server, pid)
        line.ask(get("/subscribe/news?timeout=0", "X-Client-ID: ann"))
        line.sock.close()
    with polling(server, one, "ann"):
        for pid in (one, other):
            assert subscribers(server, pid) == (["ann"], False)
            assert numbers(server, pid) == (1, 1)


def test_the_subscribers_of_a_worker_that_was_killed_are_gone(server):
    one, other = server.worker_pids()
    with polling(server, one, "ann"), polling(server, other, "bob"):
        os.kill(other, signal.SIGKILL)
        await_that(lambda: not is_running(other))
        killed_at = time.monotonic()
        await_that(lambda: subscribers(server, one) == (["ann"], False), within=10)
        assert time.monotonic() - killed_at < 10
        assert numbers(server, one) == (1, 1)


def test_a_worker_that_was_stopped_is_told_to_be_missing_until_it_goes_on(server):
    one, other = server.worker_pids()
    with polling(server, one, "ann"), polling(server, other, "bob"):
        line = line_to(server, one)
        os.kill(other, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            body = line.ask(get("/channels/news/subscribers")).json()
            assert time.monotonic() - begun < 5  # half a second, by the contract
            assert [each["client_id"] for each in body["subscribers"]] == ["ann"]
            assert body["partial"] is True
            assert line.ask(get("/channels/news")).json()["partial"] is True
            assert line.ask(get("/channels")).json()["partial"] is True
        finally:
            os.kill(other, signal.SIGCONT)
        line.sock.close()
        await_that(lambda: subscribers(server, one) == (["ann", "bob"], False))


def test_polls_write_nothing_into_the_store(server):
    for pid in server.worker_pids():
        line_to(server, pid).sock.close()  # each writes when it starts
    with contextlib.closing(sqlite3.connect(server.database)) as file, Herd(server) as herd:
        version = file.execute("PRAGMA data_version").fetchone()
        herd.add(subscription("news", timeout=0.1), 300)
        herd.read(lambda: len(herd.answers) == 300)
        assert {answer.pid for answer in herd.answers} == set(server.worker_pids())
        assert file.execute("PRAGMA data_version").fetchone() == version


def test_a_thousand_subscribers_on_two_workers_are_told_however_often_they_are_asked_for(server):
    with Herd(server) as herd:
        for number in range(1000):
            herd.add(get("/subscribe/news?timeout=50", f"X-Client-ID: client-{number:040}"))
        await_that(lambda: polls(server) == 1000)
        with Herd(server) as dashboards:
            dashboards.add(get("/channels/news/subscribers"), 50)
            dashboards.add(get("/channels"), 50)
            dashboards.read(lambda: len(dashboards.answers) == 100)
            for answer in dashboards.answers:
                assert answer.status == 200
                body = answer.json()
                assert "partial" not in body
                told = body["channels"][0]["subscribers"] if "channels" in body else len(body["subscribers"])
                assert told == 1000
    with contextlib.closing(sqlite3.connect(server.database)) as file:
        await_that(lambda: file.execute("SELECT count(*) FROM answers").fetchone() == (0,))
