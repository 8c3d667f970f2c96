"""A start that cannot be is refused with one line that says what to do, and one that can be works from anywhere."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from tests.support.servers import ROOT, Server, await_that, command, environment
from tests.support.starts import refused

STARTS = pytest.mark.parametrize("conf", [pytest.param(True, id="conf"), pytest.param(False, id="plain")])


def left_nothing(folder):
    """Whether a refused start has made no data folder."""
    return not (folder / "data").exists()


# The plain start reads them in the worker; three of them tell that it says the same.
@pytest.mark.parametrize(
    ("conf", "variable", "value", "wanted"),
    [
        (True, "PORT", "http", "a whole number from 1 to 65535"),
        (True, "WEB_CONCURRENCY", "0", "a whole number from 1"),
        (True, "BIDE_RETENTION_EVENTS", "-1", "a whole number from 1"),
        (True, "BIDE_RETENTION_SECONDS", "1 day", "seconds from 1"),
        (True, "BIDE_DRAIN_SECONDS", "nan", "seconds from 0"),
        (True, "BIDE_RETENTION", "jobs.*=many", "jobs.*=10000/604800"),
        (True, "BIDE_CORS_ORIGINS", "*", "https://example.com"),
        (True, "BIDE_INSECURE", "yes", "1 or 0"),
        (True, "BIDE_STORE", "postgres://localhost/bide", "sqlite:///relative/path"),
        (False, "PORT", "http", "a whole number from 1 to 65535"),
        (False, "BIDE_MAX_POLLS", "1e4", "a whole number from 1"),
        (False, "BIDE_STORE", "postgres://localhost/bide", "sqlite:///relative/path"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_value_and_what_would_do(
    tmp_path, conf, variable, value, wanted
):
    line = refused(tmp_path, conf, **{variable: value})
    assert variable in line
    assert value in line
    assert wanted in line
    assert left_nothing(tmp_path)


@STARTS
def test_a_misspelt_setting_is_named_with_the_one_that_was_meant(tmp_path, conf):
    line = refused(tmp_path, conf, BIDE_RETENTION_EVENT="5")
    assert "BIDE_RETENTION_EVENT " in line
    assert "BIDE_RETENTION_EVENTS?" in line


def test_settings_that_contradict_one_another_are_both_named(tmp_path):
    line = refused(tmp_path, True, BIDE_DEFAULT_TIMEOUT_SECONDS="50", BIDE_MAX_TIMEOUT_SECONDS="40")
    assert "BIDE_DEFAULT_TIMEOUT_SECONDS=50" in line
    assert "BIDE_MAX_TIMEOUT_SECONDS (40)" in line


def test_a_memory_store_with_several_workers_is_refused(tmp_path):
    line = refused(tmp_path, True, BIDE_STORE="memory://", WEB_CONCURRENCY="2")
    assert "WEB_CONCURRENCY=2" in line
    assert "memory://" in line


def test_a_memory_store_with_several_workers_by_gunicorn_s_own_option_is_refused(tmp_path):
    """Each of them kept its own events, and a client met whichever took its connection."""
    server = Server(tmp_path, conf=False, env={"BIDE_STORE": "memory://"}, options=["-w", "2"])
    with contextlib.closing(server), pytest.raises(AssertionError, match="it ended with"):
        server.start()
    lines = [line for line in server.output().splitlines() if line.startswith("bide: ")]
    assert lines
    assert "2 workers cannot be used: start one with BIDE_STORE=memory://" in lines[0]
    assert server.process.returncode > 0


@STARTS
def test_a_file_that_a_newer_version_wrote_is_refused_and_left_as_it_is(tmp_path, conf):
    folder = tmp_path / "data"
    with Server(tmp_path) as server:
        server.publish("news", "kept")
        assert server.terminate()[0] == 0
    database = sqlite3.connect(folder / "bide.db")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    database.execute(f"PRAGMA user_version = {version + 1}")
    database.close()
    before = (folder / "bide.db").read_bytes()
    line = refused(tmp_path, conf)
    assert str(folder / "bide.db") in line
    assert f"schema {version + 1}" in line
    assert (folder / "bide.db").read_bytes() == before


@STARTS
def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path, conf):
    path = tmp_path / "theirs.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.execute("INSERT INTO bookmarks VALUES ('https://example.com')")
    database.commit()
    database.close()
    before = path.read_bytes()
    line = refused(tmp_path, conf, BIDE_STORE=f"sqlite:///{path}")
    assert str(path) in line
    assert "BIDE_STORE" in line
    # Not a byte, not even the mode of its journal.
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.glob("theirs.db*")) == ["theirs.db"]


@pytest.mark.parametrize("version", [1, 57], ids=["at our version", "at a version that we do not have yet"])
def test_a_database_that_another_program_has_versioned_is_refused_as_that(tmp_path, version):
    path = tmp_path / "theirs.db"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {version}")
    database.execute("PRAGMA application_id = 7")
    database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.close()
    before = path.read_bytes()
    line = refused(tmp_path, True, BIDE_STORE=f"sqlite:///{path}")
    assert str(path) in line
    assert "another program" in line
    assert path.read_bytes() == before


@STARTS
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path, conf):
    path = tmp_path / "notes.txt"
    path.write_text("these are notes\n" * 500)
    before = path.read_bytes()
    assert str(path) in refused(tmp_path, conf, BIDE_STORE=f"sqlite:///{path}")
    assert path.read_bytes() == before


@STARTS
def test_a_data_folder_that_cannot_be_made_is_said_in_one_line(tmp_path, conf):
    (tmp_path / "file").write_text("")
    line = refused(tmp_path, conf, BIDE_DATA_DIR=tmp_path / "file" / "data")
    assert str(tmp_path / "file" / "data") in line


def test_a_reload_that_cannot_be_is_tried_again_until_it_can(tmp_path):
    """A store that has become one of a newer version since the start is refused by a worker, and by the next."""

    def become(version):
        with contextlib.closing(sqlite3.connect(server.database)) as database:
            database.execute(f"PRAGMA user_version = {version}")

    with Server(tmp_path) as server:
        with contextlib.closing(sqlite3.connect(server.database)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
        become(99)
        server.process.send_signal(signal.SIGHUP)
        await_that(lambda: server.output().count("exited with code 1") == 2)
        output = server.output()
        assert output.count("schema 99") == output.count("bide: ") >= 2
        assert "Traceback" not in output
        become(version)
        server.await_ready()


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6() and "CI" not in os.environ, reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_is_served(tmp_path, host):
    """On a port of its own: who else takes it meanwhile makes it try another one."""
    for _ in range(5):
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            command(),
            cwd=ROOT,
            env=environment(HOST=host, PORT=port, BIDE_DATA_DIR=tmp_path / "data"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            served = await_that(lambda process=process, port=port: answers("::1", port) or process.poll() is not None)
            if process.poll() is None:
                assert served == {"status": "ready"}
                process.terminate()
                assert process.wait(30) == 0
                return
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    pytest.fail("it did not start")


def answers(host, port):
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def test_started_from_another_folder_it_serves_and_keeps_its_data_where_it_is_told(tmp_path):
    elsewhere = tmp_path / "else where"
    with Server(elsewhere, conf=False, env={"BIDE_DATA_DIR": "relative/data"}) as server:
        id = server.publish("news", "from elsewhere")
        assert (elsewhere / "relative" / "data" / "bide.db").exists()
        server.kill9()
        server.start()
        (event,) = server.events("news")
        assert event["id"] == id


def test_without_a_data_folder_it_is_beside_the_checkouts_wsgi_file_wherever_it_is_started_from(tmp_path):
    """In a copy, since this is where a real server's data may lie."""
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(ROOT / "app", copy / "app", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, copy / name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            command("-b", f"fd://{listener.fileno()}", conf=False),
            cwd=elsewhere,
            env=environment(PYTHONPATH=copy, XDG_RUNTIME_DIR=tmp_path),
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        port = listener.getsockname()[1]
    try:
        await_that(lambda: answers("127.0.0.1", port))
        assert (copy / "data" / "bide.db").exists()
        assert list(elsewhere.iterdir()) == []
        begun = time.monotonic()
        process.terminate()
        assert process.wait(30) == 0
        assert time.monotonic() - begun < 4
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
