"""A file whose bytes were overwritten: what can be read is read, nothing more is written, and the server says so.

As a disk that lost a sector leaves it, or a program that wrote into the wrong file. SQLite notices a damage where it
meets one, and a write elsewhere would still succeed: it would be acknowledged, and perhaps never be read.
"""

import contextlib
import json
import os
import signal
import sqlite3

import pytest

from tests.support.clients import Herd, Line, line_to, publication, subscription
from tests.support.servers import Server, await_that, is_running

PAGE = 4096
OPTIONS = {"": "normal", "?synchronous=full": "full"}
STORES = pytest.mark.parametrize("option", OPTIONS, ids=OPTIONS.get)
TABLES = ("sqlite_schema", "channels", "events", "events_of_channel")


def of_long(number, place):
    return [] if place == number % len(OPTIONS) else [pytest.mark.long]


#: Each table on one of the two stores in turn, and with --long on both.
TABLES_AND_STORES = [
    pytest.param(table, option, marks=of_long(number, place), id=f"{table}-{OPTIONS[option]}")
    for number, table in enumerate(TABLES)
    for place, option in enumerate(OPTIONS)
]


def serving(folder, option="", **more):
    env = {"BIDE_STORE": f"sqlite:///{folder / 'data' / 'bide.db'}{option}"}
    return Server(folder, inspected=True, env=env, **more)


@contextlib.contextmanager
def database(server):
    connection = sqlite3.connect(server.database, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def settle(server):
    """Have everything in the file itself, and nothing in the log."""
    with database(server) as connection:
        await_that(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0))


def root_of(server, name):
    """The page at which a table or an index begins."""
    if name == "sqlite_schema":
        return 1
    with database(server) as connection:
        return connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]


def pages_with(server, text):
    """The pages that hold nothing but messages with the text, as far as they hold messages."""
    data = server.database.read_bytes()
    pages = [data[begin : begin + PAGE] for begin in range(0, len(data), PAGE)]
    return [number for number, page in enumerate(pages, 1) if page.count(text) > 1]


def overwrite(server, pages):
    """Overwrite the pages, and have a commit after which every other process reads its pages from the file."""
    with database(server) as connection:
        connection.execute("SELECT * FROM meta").fetchall()  # by which this one has what it needs
        with server.database.open("r+b") as file:
            for page in pages:
                file.seek((page - 1) * PAGE)
                file.write(b"\xa5" * PAGE)
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('a test was here', 1)")


def refused(answer):
    """Whether it is a 503 in the form of every error, with nothing in it that is of no business of a client."""
    status, headers, body = answer
    assert status == 503, body
    assert int(headers["Retry-After"]) >= 1
    assert headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["type"] == "/problems/store-unavailable"
    assert b".db" not in body
    assert b"malformed" not in body
    return True


@pytest.mark.parametrize(("name", "option"), TABLES_AND_STORES)
def test_a_table_that_is_damaged_while_the_server_runs(tmp_path, name, option):
    with serving(tmp_path, option) as server, Herd(server) as parked:
        last = server.publish_all("news", ["a", "b", "c"])[-1]
        parked.add(subscription("news", last), 1)
        parked.add(subscription("news", last, timeout=2), 1)
        await_that(lambda: server.counts()["polls"] == 2)
        settle(server)
        before = server.database.read_bytes()
        overwrite(server, [root_of(server, name)])
        # Whatever is asked, in whatever order, and however often: never anything but this.
        for _ in range(3):
            refused(server.request("POST", "/publish/news", {"message": "refused"}))
            refused(server.request("POST", "/publish/other", {"message": "refused"}))
            refused(server.get("/readyz"))
            refused(server.get("/subscribe/news?timeout=0"))
            refused(server.get("/subscribe/news?timeout=20"))
            refused(server.get("/channels/news/events"))
            refused(server.get("/channels"))
            refused(server.get("/channels/news"))
            refused(server.request("DELETE", "/channels/news"))
        assert server.get("/healthz")[0] == 200
        # The parked polls have met nothing of it: one ends as its time is up, with its cursor.
        parked.read(lambda: parked.answers)
        assert parked.answers[0].json() == {"status": "timeout", "channel": "news", "last_event_id": last}
        assert server.counts()["polls"] == 1
        assert server.output().count("cannot be used") == 1
        assert "damaged" in server.output()
        assert "Traceback" not in server.output()
        assert server.terminate()[0] == 0
        # The file is put back as docs/operations.md says.
        for each in server.data.glob("bide.db-[ws]*"):
            each.unlink()
        server.database.write_bytes(before)
        server.start()
        assert [event["message"] for event in server.events("news")] == ["a", "b", "c"]
        server.publish("news", "d")


def some_damage(server):
    """Old events of a busy channel lie on pages that are damaged; the last id of a quiet channel, beside it."""
    server.publish_all("busy", ["damaged" * 100] * 60)
    server.publish_all("busy", ["sound" * 100] * 60)
    quiet = server.publish("quiet", "kept")
    settle(server)
    pages = pages_with(server, b"damaged" * 50)
    assert len(pages) > 5
    return quiet, pages[2:-2]


@STORES
def test_what_can_be_read_is_read_and_nothing_is_acknowledged_beside_a_damage_that_was_met(tmp_path, option):
    with serving(tmp_path, option) as server, Line(server) as line:
        quiet, pages = some_damage(server)
        line.send(subscription("quiet", quiet, timeout=2))
        await_that(lambda: server.counts()["polls"] == 1)
        overwrite(server, pages)
        assert server.get("/readyz")[0] == 200, "nobody has met it yet"
        refused(server.get("/subscribe/busy?timeout=0&limit=1000"))
        refused(server.get("/readyz"))
        for channel in ("busy", "quiet", "new"):
            refused(server.request("POST", f"/publish/{channel}", {"message": "refused"}))
        assert [event["message"] for event in server.events("quiet")] == ["kept"]
        status, _, body = server.get(f"/channels/busy/events?before={quiet}&limit=50")
        assert status == 200, "the newest are sound"
        assert len(json.loads(body)["events"]) == 50
        assert line.answer().json() == {"status": "timeout", "channel": "quiet", "last_event_id": quiet}
        refused(server.get("/readyz"))
        assert server.output().count("cannot be used") == 1
        assert "Traceback" not in server.output()


def test_a_parked_poll_of_the_worker_that_met_a_damage_gets_what_another_publishes(tmp_path):
    with serving(tmp_path, workers=2) as server:
        first, second = server.worker_pids()
        with line_to(server, first) as line, line_to(server, first) as other, line_to(server, second) as publisher:
            quiet, pages = some_damage(server)
            overwrite(server, pages)
            line.send(subscription("quiet", quiet))
            assert other.ask(subscription("busy", timeout=0, limit=1000)).status == 503
            assert other.ask(publication("quiet", ["refused"])).status == 503
            sent = publisher.ask(publication("quiet", ["heard"])).json()["event_id"]
            assert line.answer().json()["id"] == sent


def test_a_start_on_a_file_with_a_damage_serves_what_can_be_read(tmp_path):
    with serving(tmp_path) as server:
        quiet, pages = some_damage(server)
        assert server.terminate()[0] == 0
        overwrite(server, pages)
        server.start()
        assert server.poll("quiet")["id"] == quiet
        refused(server.get("/subscribe/busy?timeout=0&limit=1000"))
        refused(server.get("/readyz"))


@pytest.mark.parametrize("how", ["truncated", "garbled"])
def test_a_log_that_loses_its_bytes_costs_at_most_what_it_held(tmp_path, how):
    """Nobody can serve what is gone; what was in the file before is served, and what came is whole."""
    with serving(tmp_path) as server:
        ids = [server.publish("news", "in the file")]
        settle(server)
        ids += [server.publish("news", number) for number in range(50)]
        (pid,) = server.worker_pids()
        server.process.send_signal(signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        await_that(lambda: not is_running(pid))
        log = server.database.with_name("bide.db-wal")
        half = log.stat().st_size // 2
        with log.open("r+b") as file:
            if how == "truncated":
                file.truncate(half)
            else:
                file.seek(half)
                file.write(b"\xa5" * half)
        server.process.send_signal(signal.SIGCONT)
        server.await_ready()
        found = server.events("news")
        assert [event["id"] for event in found] == ids[: len(found)]
        assert len(found) < len(ids)
        assert server.publish("news", "goes on") > ids[-1]
        with database(server) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
