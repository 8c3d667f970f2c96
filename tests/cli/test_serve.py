"""`bide serve`: gunicorn, with Bide's settings and worker. An installed one is in tests/test_package.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Run
from tests.support.servers import ROOT, environment
from tests.test_scripts import request, serving


def test_it_serves_with_its_own_worker_and_keeps_its_data_in_the_current_folder(tmp_path: Path) -> None:
    # Those of a client may lie beside a server's settings.
    env = environment(PYTHONPATH=ROOT, BIDE_URL="http://127.0.0.1:9", BIDE_TOKEN="t", BIDE_EVENT_ID=1)
    with serving(*COMMAND, "serve", "--workers", "2", "--", "--access-logfile", "-", cwd=tmp_path, env=env) as (
        port,
        log,
    ):
        assert request(port, "POST", "/publish/news", {"message": "hi"})[0] == 200
        assert (tmp_path / "data/bide.db").exists()
        told = log.read_text()
    assert "Using worker: app.worker.Worker" in told
    assert told.count("Booting worker with pid") == 2
    assert '"POST /publish/news HTTP/1.1" 200' in log.read_text()


def test_the_process_that_was_started_is_gunicorn_itself(tmp_path: Path) -> None:
    """A supervisor's signals must reach it: a reload here."""
    env = environment(PYTHONPATH=ROOT, BIDE_DATA_DIR=tmp_path)
    with serving(*COMMAND, "serve", "--", "--pid", tmp_path / "pid", cwd=tmp_path, env=env) as (port, log):
        assert request(port, "GET", "/healthz")[0] == 200
        pid = int((tmp_path / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert command[1:3] == [b"-m", b"gunicorn"]
        assert Path(f"/proc/{pid}/stat").read_text().split()[5] == str(pid)  # it leads the session that was made for it
    assert "Handling signal: term" in log.read_text()


@pytest.mark.parametrize(
    ("words", "env", "sentence"),
    [
        (("--port", "99999"), {}, "bide: PORT='99999' cannot be used: give a whole number from 1 to 65535; see"),
        (("--workers", "2"), {"BIDE_STORE": "memory://"}, "bide: WEB_CONCURRENCY=2 cannot be used: give 1 with"),
        (
            (),
            {"BIDE_RETENTON": "1"},
            "bide: BIDE_RETENTON is not a setting of this version: did you mean BIDE_RETENTION",
        ),
        ((), {"WEB_CONCURRENCY": "many"}, "bide: WEB_CONCURRENCY='many' cannot be used"),
    ],
)
def test_a_setting_that_cannot_be_used_stops_it_with_one_line(
    run: Run, words: tuple[str, ...], env: dict[str, str], sentence: str
) -> None:
    result = run("serve", *words, env=environment(PYTHONPATH=ROOT, **env))
    assert result.returncode == 2
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1


def test_the_checkouts_configuration_is_the_package_s(tmp_path: Path) -> None:
    """As far as gunicorn tells it."""

    def configured(conf: str) -> list[str]:
        command = [sys.executable, "-m", "gunicorn", "-c", conf, "--print-config", "wsgi:app"]
        env = environment(PYTHONPATH=ROOT, PORT=8123, WEB_CONCURRENCY=3, BIDE_MAX_POLLS=77)
        told = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
        # Functions are told with their addresses, and the file with its own name.
        return [line for line in told.splitlines() if " at 0x" not in line and not line.startswith("config ")]

    own = configured("python:app.gunicorn_conf")
    assert configured("gunicorn.conf.py") == own
    values = dict(line.replace(" ", "").split("=", 1) for line in own if "=" in line)
    assert (values["workers"], values["worker_connections"], values["keepalive"]) == ("3", "1077", "75")
    assert values["bind"] == "['127.0.0.1:8123']"
