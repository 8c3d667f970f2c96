"""`bide subscribe --exec`: a worker of a shell script. What it did not do well it does again, and skips nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Start
from tests.support.servers import Server, await_that

#: As a shell takes it: a checkout may lie below a name with spaces.
PYTHON = shlex.quote(sys.executable)


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[], list[str]]:
    """What the command has written to the file `log` so far."""
    log = tmp_path / "log"
    log.touch()
    return lambda: log.read_text().splitlines()


def kept(tmp_path: Path, channel: str) -> int:
    return int(json.loads((tmp_path / "cursor").read_text())[channel])


def test_the_command_gets_the_message_and_what_else_there_is(
    server: Server, run: Run, env: dict[str, str], lines: Callable[[], list[str]]
) -> None:
    status, _, _ = server.request("POST", "/publish/told", {"message": {"a": 1}, "type": "kind"})
    assert status == 200
    server.publish("told", "text")
    command = f"{PYTHON} -c 'import os, sys; print([os.environ.get(n) for n in sys.argv[1:]], sys.stdin.read())'"
    names = "BIDE_CHANNEL BIDE_EVENT_ID BIDE_TYPE BIDE_TIMESTAMP"
    # As below another one's --exec, whose variables are not its own.
    env["BIDE_TYPE"] = "another's"
    result = run("subscribe", "told", "--exec", f"{command} {names}", "--count", "2", "--since", "0")
    assert (result.returncode, result.stderr) == (0, "")
    first, second = server.events("told")
    assert result.stdout == (
        f"['told', '{first['id']}', 'kind', '{first['timestamp']}'] {{\"a\":1}}\n\n"
        f"['told', '{second['id']}', None, '{second['timestamp']}'] text\n\n"
    )


def test_an_event_whose_command_fails_is_done_again_before_the_next(
    server: Server, run: Run, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    first, second = server.publish_all("failing", ["a", "b"])
    command = 'cat >> log; [ "$(wc -l < log)" -ge 3 ] || exit 9'
    result = run("subscribe", "failing", "--exec", command, "--count", "2", "--cursor", "cursor")
    assert (result.returncode, lines(), kept(tmp_path, "failing")) == (0, ["a", "a", "a", "b"], second)
    told = result.stderr.splitlines()
    assert len(told) == 2
    assert all(line.startswith(f"bide: event {first} of failing: the command ended with 9; again in ") for line in told)


def test_a_command_that_is_killed_in_the_middle_is_run_again(
    server: Server, start: Start, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    first, second = server.publish_all("killed", ["a", "b"])
    command = 'read -r job; echo "$job $$" >> log; [ -e go ] || exec sleep 100'
    process = start("subscribe", "killed", "--exec", command, "--count", "2", "--cursor", "cursor")
    await_that(lines)
    assert kept(tmp_path, "killed") == 0
    (tmp_path / "go").touch()
    os.kill(int(lines()[0].split()[1]), signal.SIGKILL)
    assert process.wait(60) == 0
    assert [line.split()[0] for line in lines()] == ["a", "a", "b"]
    assert kept(tmp_path, "killed") == second
    assert "was ended by SIGKILL" in process.stderr.read()
    assert first < second


def test_a_command_that_is_ended_by_a_signal_without_a_name_is_run_again(
    server: Server, run: Run, lines: Callable[[], list[str]]
) -> None:
    server.publish("nameless", "a")
    command = f'cat >> log; [ "$(wc -l < log)" -ge 2 ] || exec {PYTHON} -c "import os; os.kill(os.getpid(), 40)"'
    result = run("subscribe", "nameless", "--exec", command, "--count", "1", "--cursor", "cursor")
    assert (result.returncode, lines()) == (0, ["a", "a"])
    assert "the command was ended by signal 40; again in" in result.stderr


def test_sigterm_lets_the_command_end_and_keeps_what_it_did(
    server: Server, start: Start, run: Run, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    first, _ = server.publish_all("ended", ["a", "b"])
    command = "cat >> log; while [ ! -e go ]; do sleep 0.05; done"
    process = start("subscribe", "ended", "--exec", command, "--cursor", "cursor")
    await_that(lines)
    process.terminate()
    with pytest.raises(Exception, match="timed out"):
        process.wait(0.5)
    (tmp_path / "go").touch()
    assert process.wait(60) == 0
    assert (lines(), kept(tmp_path, "ended"), process.stderr.read()) == (["a"], first, "")
    assert run("subscribe", "ended", "--exec", command, "--cursor", "cursor", "--count", "1").returncode == 0
    assert lines() == ["a", "b"]


def test_sigterm_ends_the_pause_after_a_failure_and_the_event_comes_again(
    server: Server, start: Start, run: Run, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    id = server.publish("pausing", "a")
    process = start("subscribe", "pausing", "--exec", "cat >> log; exit 1", "--cursor", "cursor")
    failures = 1
    while float(process.stderr.readline().split()[-2]) < 2:  # they are of random length, and longer and longer
        failures += 1
    process.terminate()
    assert process.wait(60) == 0
    assert (lines(), kept(tmp_path, "pausing") < id) == (["a"] * failures, True)
    assert run("subscribe", "pausing", "--exec", "cat >> log", "--cursor", "cursor", "--count", "1").returncode == 0
    assert (set(lines()), kept(tmp_path, "pausing")) == ({"a"}, id)


def test_a_second_signal_does_not_wait_for_the_command(
    server: Server, start: Start, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    server.publish("twice", "a")
    command = "echo $$ >> log; exec sleep 100"
    process = start("subscribe", "twice", "--exec", command, "--cursor", "cursor")
    await_that(lines)
    try:
        process.terminate()
        await_that(lambda: "0000000000000000" in signals(process.pid))
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
        assert kept(tmp_path, "twice") == 0
    finally:
        os.kill(int(lines()[0]), signal.SIGKILL)


def signals(pid: int) -> str:
    """Which signals a process has handlers for, without SIGINT and SIGTERM as 16 digits of nothing else."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    mask = int(line.split()[1], 16)
    return f"{mask & (1 << (signal.SIGTERM - 1) | 1 << (signal.SIGINT - 1)):016x}"


def test_without_a_cursor_it_says_what_the_next_start_does(server: Server, run: Run) -> None:
    server.publish("forgetful", "a")
    result = run("subscribe", "forgetful", "--exec", "true", "--count", "1")
    assert result.stderr == "bide: without --cursor FILE the next start begins with the oldest event again\n"
