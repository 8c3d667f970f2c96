"""A file that may be read but not written: a start says so in one line, running workers go on until then.

As after a backup that was put back by root, or in a folder that was handed to another user. What a server does whose
disk refuses to be written meanwhile is in test_store_trouble.py: SQLite says the same of a full and a locked disk.
"""

import contextlib
import os
import resource
import signal

import pytest

from tests.gunicorn.test_start import STARTS, refused
from tests.gunicorn.test_workers import polls
from tests.support.clients import line_to, publication, subscription
from tests.support.servers import Server, await_that, bound_by_modes

STORES = pytest.mark.parametrize("option", ["", "?synchronous=full"], ids=["normal", "full"])


@contextlib.contextmanager
def unwritable(path):
    mode = path.stat().st_mode
    path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        path.chmod(mode)


@pytest.fixture
def data(tmp_path):
    """A data folder as a clean stop leaves it, with one event."""
    with Server(tmp_path) as server:
        server.publish("news", "kept")
        assert server.terminate()[0] == 0
        return server.data


def still_there(tmp_path, count=1):
    """With its modes back, it serves what it had."""
    with Server(tmp_path) as server:
        assert [event["message"] for event in server.events("news")] == ["kept"] * count


@STARTS
@STORES
def test_a_start_on_a_file_that_must_not_be_written_says_so_in_one_line(tmp_path, data, conf, option):
    database = data / "bide.db"
    before = database.read_bytes()
    with unwritable(database):
        line = refused(tmp_path, conf, bound_by_modes, BIDE_STORE=f"sqlite:///{database}{option}")
    assert str(database) in line
    assert "readonly" in line
    assert database.read_bytes() == before
    still_there(tmp_path)


@STORES
def test_a_start_in_a_folder_that_must_not_be_written_says_so_in_one_line(tmp_path, data, option):
    database = data / "bide.db"
    with unwritable(data):
        line = refused(tmp_path, True, bound_by_modes, BIDE_STORE=f"sqlite:///{database}{option}")
    assert str(database) in line
    still_there(tmp_path)


def test_a_start_on_a_full_disk_says_so_in_one_line(tmp_path, data):
    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))

    line = refused(tmp_path, True, fill, BIDE_RETENTION_EVENTS="5")
    assert str(data / "bide.db") in line
    assert "try again" not in line
    still_there(tmp_path)


def test_running_workers_go_on_and_one_that_starts_anew_is_tried_again_until_it_can(tmp_path):
    """They hold the file open; the other's end must not be theirs."""
    with Server(tmp_path, workers=2, inspected=True, by_modes=True) as server, contextlib.ExitStack() as stack:
        first, second = server.worker_pids()
        # Both are reached before: the second may be starting still.
        with line_to(server, first) as line, line_to(server, second) as other, unwritable(server.database):
            assert line.ask(publication("news", ["kept"])).status == 200
            cursor = other.ask(publication("news", ["kept"])).json()["event_id"]
            parked = [stack.enter_context(line_to(server, second)) for _ in range(5)]
            for each in parked:
                each.send(subscription("news", cursor))
            await_that(lambda: polls(server) == 5)
            os.kill(first, signal.SIGKILL)
            await_that(lambda: server.output().count("exited with code 1") == 2)
            assert other.ask(publication("beside", ["goes on"])).status == 200
        server.await_ready()
        assert second in server.worker_pids()
        last = server.publish("news", "all go on")
        assert [each.answer().json()["id"] for each in parked] == [last] * 5
        said = {line for line in server.output().splitlines() if line.startswith("bide: ")}
        assert len(said) == 1
        assert str(server.database) in said.pop()
        assert "Traceback" not in server.output()
