"""One server for all, and the command as a process of its own; each test takes channels of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import ROOT, Server, environment

COMMAND = [sys.executable, "-m", "app.cli"]
#: No call takes so long, however busy the machine is.
SECONDS = 60

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("cli")) as server:
        yield server


@pytest.fixture
def env(server: Server) -> dict[str, str]:
    return environment(PYTHONPATH=ROOT, BIDE_URL=server.url)


@pytest.fixture
def run(env: dict[str, str], tmp_path: Path) -> Run:
    """Run the command to its end."""

    def call(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"cwd": tmp_path, "env": env, "timeout": SECONDS} | options
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, check=False, **options)

    return call


@pytest.fixture
def start(env: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start the command with pipes; what still runs at the end of the test is killed."""
    with contextlib.ExitStack() as stack:

        def call(*words: object, **options: Any) -> subprocess.Popen[str]:
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            options = {"cwd": tmp_path, "env": env, "bufsize": 1} | pipes | options
            process = subprocess.Popen([*COMMAND, *map(str, words)], text=True, **options)
            stack.enter_context(contextlib.suppress(BrokenPipeError))
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield call
