"""The store in trouble while the server runs: publishes are 503, polls stay parked, and it comes back by itself."""

import contextlib
import json
import os
import resource
import signal
import sqlite3

import pytest

from tests.support.clients import Herd, line_to, subscription
from tests.support.servers import Server, await_that, is_running

#: How long a locked file is waited for. Five seconds otherwise, as in tests/gunicorn/test_everything_at_random.py.
BUSY = {"TEST_BUSY_SECONDS": 1}


@pytest.fixture(params=["", "?synchronous=full"], ids=["normal", "full"])
def server(tmp_path, request):
    url = f"sqlite:///{tmp_path / 'data' / 'bide.db'}{request.param}"
    with Server(tmp_path, inspected=True, env=BUSY | {"BIDE_STORE": url}) as server:
        yield server


def refused(server):
    """A publish that must be refused; not a byte of it is stored."""
    status, headers, body = server.request("POST", "/publish/news", {"message": "refused"})
    assert status == 503, body
    assert int(headers["Retry-After"]) >= 1
    assert json.loads(body)["type"] == "/problems/store-unavailable"
    assert b".db" not in body


@contextlib.contextmanager
def trouble(server, begin, end):
    """Begin it with a parked poll, see that publishes are refused, end it, and see that everything works again."""
    first = server.publish("news", "before")
    with Herd(server) as parked:
        parked.add(subscription("news", first), 1)
        await_that(lambda: server.counts()["polls"] == 1)
        begin()
        refused(server)
        yield
        assert server.get("/readyz")[0] == 503
        assert server.get("/healthz")[0] == 200
        assert server.counts()["polls"] == 1
        assert "cannot be used" in server.output()
        end()
        # As a balancer would: it sends no publish before the server says that it is ready.
        await_that(lambda: server.get("/readyz")[0] == 200)
        last = server.publish("news", "after")
        parked.read(lambda: parked.answers)
        assert parked.answers[0].json()["id"] == last
    assert [event["message"] for event in server.events("news")] == ["before", "after"]
    assert "Traceback" not in server.output()


def test_a_full_disk(server):
    """As seen by the worker: no file of it may grow any more."""
    (worker,) = server.worker_pids()
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    with trouble(
        server,
        begin=lambda: resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY)),
        end=lambda: resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited),
    ):
        refused(server)


def test_a_lock_that_another_process_holds(server):
    other = sqlite3.connect(server.database, isolation_level=None)
    with (
        contextlib.closing(other),
        trouble(server, begin=lambda: other.execute("BEGIN IMMEDIATE"), end=lambda: other.execute("ROLLBACK")),
    ):
        pass


def test_a_file_that_was_taken_away_and_is_put_back(server):
    """What is written into a removed file is acknowledged, and gone with the process."""
    away = server.database.with_suffix(".away")
    with trouble(server, begin=lambda: server.database.rename(away), end=lambda: away.rename(server.database)):
        refused(server)
        assert "removed or replaced" in server.output()


def test_a_file_that_was_replaced(server):
    away = server.database.with_suffix(".away")

    def replace():
        server.database.rename(away)
        server.database.write_bytes(away.read_bytes())

    with trouble(server, begin=replace, end=lambda: away.rename(server.database)):
        refused(server)


@pytest.mark.parametrize("beside", ["-wal", "-shm"])
def test_a_log_that_was_taken_away_and_is_put_back(server, beside):
    """The next process would begin another, know nothing of what is in this one, and write over it."""
    log = server.database.with_name(f"bide.db{beside}")
    away = log.with_suffix(".away")
    with trouble(server, begin=lambda: log.rename(away), end=lambda: away.rename(log)):
        refused(server)
        assert "removed or replaced" in server.output()


def test_a_log_that_was_removed_costs_nothing_but_a_restart(server):
    ids = [server.publish("news", number) for number in range(5)]
    server.database.with_name("bide.db-wal").unlink()
    refused(server)
    assert [event["id"] for event in server.events("news")] == ids
    assert server.terminate()[0] == 0
    server.start()
    assert [event["id"] for event in server.events("news")] == ids
    assert server.publish("news", "goes on") > ids[-1]


@pytest.mark.parametrize("beside", ["-wal", "-shm"])
def test_a_worker_that_dies_beside_a_log_that_was_removed_costs_no_event(tmp_path, beside):
    """Its successor began another log under the eyes of the other worker, and the file was lost for good."""
    with Server(tmp_path, workers=2, inspected=True) as server:
        ids = [server.publish("news", number) for number in range(200)]
        server.database.with_name(f"bide.db{beside}").unlink()
        killed, other = server.worker_pids()
        os.kill(killed, signal.SIGKILL)
        await_that(lambda: "exited with code 1" in server.output())
        assert "removed or replaced under processes that use it" in server.output()
        assert [event["id"] for event in server.events("news")] == ids
        refused(server)
        assert other in server.worker_pids()
        # All of them go, and only then others come.
        server.process.send_signal(signal.SIGHUP)
        await_that(lambda: not is_running(other))
        server.await_ready()
        last = server.publish("news", "goes on")
        assert [event["id"] for event in server.events("news")] == [*ids, last]
        assert server.terminate()[0] == 0
    with contextlib.closing(sqlite3.connect(server.database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@contextlib.contextmanager
def no_room(server):
    limit_files(server, 4096)
    yield
    limit_files(server, resource.RLIM_INFINITY)


def limit_files(server, size):
    def limit(pid):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    # The master first: workers that start have theirs from it.
    limit(server.pid)
    for pid in server.worker_pids():
        limit(pid)


@contextlib.contextmanager
def locked(server):
    with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("what", [no_room, locked])
def test_a_worker_that_cannot_start_again_meanwhile_does_not_end_the_others(tmp_path, what):
    """gunicorn stopped altogether, with the polls of every worker, since one of them could not open the file."""
    with Server(tmp_path, inspected=True, workers=2, env=BUSY) as server, contextlib.ExitStack() as stack:
        cursor = server.publish("news", "before")
        killed, other = server.worker_pids()
        parked = [stack.enter_context(line_to(server, other)) for _ in range(5)]
        for line in parked:
            line.send(subscription("news", cursor))
        with what(server):
            os.kill(killed, signal.SIGKILL)
            await_that(lambda: "exited with code 1" in server.output())
            assert server.poll("news")["message"] == "before"
            assert other in server.worker_pids()
        await_that(lambda: len(server.worker_pids()) == 2 and server.get("/readyz")[0] == 200)
        id = server.publish("news", "after")
        assert [line.answer().json()["id"] for line in parked] == [id] * 5
        assert server.terminate()[0] == 0


@pytest.mark.parametrize("what", [no_room, locked])
def test_workers_that_cannot_start_again_meanwhile_do_so_afterwards(tmp_path, what):
    """All of them: nobody has the file open any more, and the first has to make what lies beside it."""
    with Server(tmp_path, inspected=True, workers=2, env=BUSY) as server:
        server.publish("news", "before")
        with what(server):
            for pid in server.worker_pids():
                os.kill(pid, signal.SIGKILL)
            await_that(lambda: "exited with code 1" in server.output())
        await_that(lambda: len(server.worker_pids()) == 2 and server.get("/readyz")[0] == 200)
        server.publish("news", "after")
        assert [event["message"] for event in server.events("news")] == ["before", "after"]
        assert server.terminate()[0] == 0
