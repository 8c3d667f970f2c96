"""`bide channels` and `bide history`: lines for pipes, tables on a terminal. And `bide backup`."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Run, Start
from tests.cli.terminal import on_terminal
from tests.support.servers import ROOT, Server, environment


def test_channels_are_lines_with_tabs(server: Server, run: Run) -> None:
    first, second = server.publish("listed.a", 1), server.publish_all("listed.b", [1, 2])[-1]
    result = run("channels", "--prefix", "listed.")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[:4] for row in rows] == [["listed.a", "0", "1", str(first)], ["listed.b", "0", "2", str(second)]]
    assert all(row[4].startswith("20") for row in rows)


def test_watched_channels_are_told_again_until_it_is_interrupted(server: Server, start: Start) -> None:
    server.publish("watched.a", 1)
    process = start("channels", "--watch", "--prefix", "watched.")
    assert process.stdout.readline().startswith("watched.a\t0\t1\t")
    server.publish("watched.a", 2)
    while not process.stdout.readline().startswith("watched.a\t0\t2\t"):
        pass
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_watching_goes_on_over_a_server_that_is_away(start: Start) -> None:
    process = start("channels", "--watch", "--patience", "0", "--url", "http://127.0.0.1:9")
    assert "Connection refused; trying again until it works" in process.stderr.readline()
    assert process.poll() is None


def test_history_is_all_that_is_kept_oldest_first_however_many_pages_it_is(server: Server, run: Run) -> None:
    ids = [server.publish("kept", f"{number} {'x' * 60_000}") for number in range(40)]  # more than a page's mebibyte
    result = run("history", "kept", "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ids
    assert [int(line.split()[0]) for line in run("history", "kept").stdout.splitlines()] == list(range(40))


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--limit 2", "5 6"),
        ("--after {2} --limit 2", "3 4"),
        ("--after {5}", "6"),
        ("--before {3}", "1 2"),
        ("--before {5} --limit 2", "3 4"),
        ("--after {2} --before {5}", "3 4"),
    ],
)
def test_history_is_cut_where_it_is_asked_to_be(server: Server, run: Run, words: str, wanted: str) -> None:
    ids = [event["id"] for event in server.events("cut")] or server.publish_all("cut", range(1, 7))
    result = run("history", "cut", *words.format(0, *ids).split())
    assert result.stdout.split() == wanted.split(), result.stderr


def test_a_reader_that_leaves_ends_it_without_a_word(server: Server, start: Start) -> None:
    server.publish("left-history", "x")
    process = start("history", "left-history")
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


def test_a_terminal_gets_a_table_and_no_message_steers_it(server: Server, env: dict[str, str]) -> None:
    id = server.publish("drawn.a", "a\x1b[31mred [bold]x[/bold]")
    status, text = on_terminal([*COMMAND, "channels", "--prefix", "drawn."], env)
    assert status == 0
    assert "subscribers" in text
    assert str(id) in text
    status, text = on_terminal([*COMMAND, "history", "drawn.a"], env)
    assert str(id) in text
    assert r"a\x1b[31mred [bold]x[/bold]" in text
    status, text = on_terminal([*COMMAND, "subscribe", "drawn.a", "--count", "1"], env)
    assert text == "a\\x1b[31mred [bold]x[/bold]\r\n"


def test_a_watched_table_gives_the_terminal_back(server: Server, env: dict[str, str]) -> None:
    server.publish("given-back", 1)
    status, text = on_terminal([*COMMAND, "channels", "--watch"], env, until="given-back", keys=b"\x03")
    assert status == 0
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown again
    assert "Traceback" not in text


def test_a_long_publish_draws_how_far_it_has_come(server: Server, env: dict[str, str], tmp_path: Path) -> None:
    program = '(echo a; sleep 1.5; echo b; sleep 0.5; echo c) | "$@" > ids'
    status, text = on_terminal(["bash", "-c", program, "-", *COMMAND, "publish", "bar"], env, cwd=tmp_path)
    assert status == 0
    assert "2 events" in text
    assert len((tmp_path / "ids").read_text().split()) == 3


def test_backup_copies_the_store_of_the_current_folder(run: Run, tmp_path: Path) -> None:
    env = environment(PYTHONPATH=ROOT)
    make = "from app import Publisher, open_store; Publisher(open_store('sqlite:///data/bide.db')).publish('news', 1)"
    (tmp_path / "data").mkdir()
    subprocess.run([COMMAND[0], "-c", make], cwd=tmp_path, env=env, check=True, timeout=60)
    result = run("backup", "copy.db", env=env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("SELECT count(*) FROM events").fetchone() == (1,)
    again = run("backup", "copy.db", env=env)
    assert (again.returncode, again.stderr) == (1, "bide: copy.db exists already: give another name, or remove it\n")
    other = run("backup", "other.db", "copy.db", env=env | {"BIDE_STORE": "redis://:secret@127.0.0.1"})
    assert other.returncode == 0
    none = run("backup", "none.db", env=env | {"BIDE_STORE": "redis://:secret@127.0.0.1"})
    assert (none.returncode, none.stderr) == (1, "bide: BIDE_STORE=redis:… has no file: give the store's file\n")
