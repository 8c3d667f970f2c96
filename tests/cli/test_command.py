"""What holds for every command: its help, how it tells what is wrong, and what it does not load."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from app.cli.group import COMMANDS, bide
from app.client import Client
from tests.cli.conftest import Run
from tests.support.servers import ROOT, environment

ASKING = ("publish", "subscribe", "channels", "history")
every_command = pytest.mark.parametrize("name", COMMANDS)


def called(*words: str, **env: str) -> Result:
    return CliRunner().invoke(bide, words, env=env, prog_name="bide")


@every_command
def test_help_has_an_example_and_begins_with_what_the_list_says(name: str) -> None:
    result = called(name, "--help")
    assert result.exit_code == 0
    assert re.search(rf"^    .*bide {name}", result.stdout, re.M)
    command = bide.get_command(click.Context(bide), name)
    assert command is not None
    assert " ".join((command.help or "").split()).startswith(COMMANDS[name].rstrip("."))


def test_the_list_of_commands_is_that_of_the_modules() -> None:
    """Who adds a module adds a line."""
    modules = (path for path in (ROOT / "app/cli").glob("*.py") if "@click.command()" in path.read_text())
    assert sorted(path.stem for path in modules) == sorted(COMMANDS)


@pytest.mark.parametrize("name", ASKING)
def test_a_token_is_never_shown(name: str) -> None:
    assert "geheim" not in called(name, "--help", BIDE_TOKEN="geheim").output
    for token in ("ge\nheim", "geh€im"):
        words = ("news", "x") if name == "publish" else () if name == "channels" else ("news",)
        result = called(name, *words, BIDE_TOKEN=token, BIDE_URL="http://127.0.0.1:9")
        assert result.exit_code == 2
        assert "geh" not in result.output
        assert "heim" not in result.output
        assert "token" in result.output


@pytest.mark.parametrize("token", ["ge\nheim", "geh€im", "geheim\r"])
def test_a_client_refuses_a_token_that_there_cannot_be_without_showing_it(token: str) -> None:
    """What http.client raises for a header has the header in it."""
    with pytest.raises(ValueError, match="token") as caught:
        Client("http://127.0.0.1:9", token=token)
    assert "heim" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["publish"],
        ["publish", "a/b", "x"],
        ["publish", "news", ""],
        ["publish", "news", "{", "--json"],
        ["publish", "news", "x", "--batch", "2"],
        ["publish", "news", "x", "--url", "localhost:8000"],
        ["publish", "news", "x", "--url", "http://user:geheim@localhost"],
        ["publish", "news", "x", "--patience", "long"],
        ["subscribe"],
        ["subscribe", "news", "news"],
        ["subscribe", "news", "--since", "yesterday"],
        ["subscribe", "news", "--count", "0"],
        ["history", "news", "--limit", "1001"],
        ["backup"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_is_one_sentence_and_the_exit_code_2(words: list[str]) -> None:
    result = called(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"bide: .+; see bide.* --help\n", result.stderr), result.stderr
    assert "geheim" not in result.stderr


def test_a_defect_of_its_own_is_one_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("app.cli.backup.back_up_store", fail)
    result = called("backup", "copy.db")
    assert (result.exit_code, result.stderr) == (1, "bide: RuntimeError: a defect\n")


def test_a_server_that_refuses_is_told_with_its_own_words(run: Run) -> None:
    result = run("publish", "news", "x", "--type", "error")
    assert result.returncode == 1
    assert re.fullmatch(r"bide: http://\S+/publish/news says 400: .*\n", result.stderr)


def loaded(*words: str) -> set[str]:
    """The modules that a call has loaded at its end."""
    program = (
        "import atexit, sys; from app.cli import main; sys.argv[0] = 'bide'; "
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    env = environment(PYTHONPATH=ROOT)
    result = subprocess.run(
        [sys.executable, "-c", program, *words], env=env, capture_output=True, text=True, timeout=60
    )
    return set(result.stderr.split())


def test_only_what_a_command_needs_is_loaded() -> None:
    server = {"gevent", "flask", "gunicorn", "msgspec", "sqlite3"}
    listing, publishing = (
        loaded("--help"),
        loaded("publish", "news", "x", "--url", "http://127.0.0.1:9", "--patience=0"),
    )
    assert "click" in listing
    assert not listing & (server | {"requests", "rich"})
    assert "requests" in publishing
    assert not publishing & (server | {"rich"})


@pytest.mark.parametrize(("module", "code"), [("click", -signal.SIGINT), ("requests", 130)])
def test_ctrl_c_leaves_no_trace_while_a_command_is_still_loading(module: str, code: int) -> None:
    """As from a terminal: a shell sees the same in both."""
    program = (
        "import os, signal, sys, importlib.abc\n"
        "class Early(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Early())\n"
        "from app.cli import main; main()"
    )
    env = environment(PYTHONPATH=ROOT)
    command = [sys.executable, "-c", program, "publish", "news", "x"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr.strip()) == (code, "")
