"""The scripts: what they decide, where nothing is really installed; and one server, started for real."""

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = shlex.quote(sys.executable)
OF_BENCH = [ROOT / "scripts/bench" / name for name in ("run", "build", "hostile")]
SCRIPTS = sorted(path for path in [*ROOT.glob("scripts/*"), *OF_BENCH, ROOT / ".ci/run"] if path.is_file())

#: Stand-ins for the two steps that take long. The fake environment has the interpreter that runs the tests.
FAKE_STEPS = f"""
make_venv() {{ echo made; rm -rf "$venv"; mkdir -p "$venv/bin"; ln -s {PYTHON} "$venv/bin/python"; }}
install_lock() {{ echo "installed $1"; }}
"""


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would steer the server, the scripts or Python."""
    ours = ("BIDE_", "PYTHON", "GUNICORN_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    for name in ("HOST", "PORT", "WEB_CONCURRENCY", "CI"):
        kept.pop(name, None)
    return kept | changes


@contextlib.contextmanager
def serving(*command: str | Path, cwd: Path, env: dict[str, str]) -> Iterator[tuple[int, Path]]:
    """Runs a command that ends in gunicorn; gives its port and its log.

    The socket listens from the start, so a request just waits until there is a server. The command alone holds
    it: where that ends early, the request is reset instead of waiting for ever.
    """
    log = cwd / "server.log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as output:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [*command, "-b", f"fd://{listener.fileno()}"],
            cwd=cwd,
            env=env,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield port, log
        process.terminate()
        assert process.wait(timeout=30) == 0
    except BaseException as error:
        error.add_note(log.read_text())
        raise
    finally:
        # The whole group: workers, and whatever a first start was still installing.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def request(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """One HTTP request to this machine, past every proxy setting. It waits for a first start's installing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts and lock files alone, at a path with a space."""
    root = tmp_path / "a checkout"
    for path in SCRIPTS:
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (root / "requirements.lock").write_text("# runtime\n")
    (root / "requirements-dev.lock").write_text("# dev\n")
    return root


def ready(root: Path, kind: str, *, steps: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """What `venv_ready` says and does, with fake steps and whatever `steps` replaces further."""
    program = f"set -euo pipefail; source scripts/venv.sh; {FAKE_STEPS}\n{steps}\nvenv_ready {kind}"
    return subprocess.run(
        ["bash", "-c", program], cwd=root, env=environment(**env), capture_output=True, text=True, check=False
    )


def did(root: Path, kind: str) -> list[str]:
    """The fake steps that making `kind` ready took."""
    result = ready(root, kind)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_and_can_be_called(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    text = path.read_text()
    if path.name == "venv.sh":  # sourced only
        return
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    assert os.access(path, os.X_OK)


def test_the_second_run_does_nothing(checkout: Path) -> None:
    assert did(checkout, "runtime") == ["made", "installed runtime"]
    assert did(checkout, "runtime") == []


def test_dev_is_laid_on_top_of_runtime_and_serves_for_it(checkout: Path) -> None:
    did(checkout, "runtime")
    assert did(checkout, "dev") == ["installed dev"]
    assert did(checkout, "runtime") == did(checkout, "dev") == []


def test_dev_serves_for_runtime_without_one_before(checkout: Path) -> None:
    assert did(checkout, "dev") == ["made", "installed dev"]
    assert did(checkout, "runtime") == []


def test_a_changed_lock_builds_anew(checkout: Path) -> None:
    did(checkout, "dev")
    (checkout / "requirements-dev.lock").write_text("# dev, changed\n")
    assert did(checkout, "runtime") == []
    assert did(checkout, "dev") == ["made", "installed dev"]
    (checkout / "requirements.lock").write_text("# runtime, changed\n")
    assert did(checkout, "dev") == []
    assert did(checkout, "runtime") == ["made", "installed runtime"]


def test_a_moved_checkout_builds_anew(checkout: Path) -> None:
    did(checkout, "runtime")
    moved = checkout.rename(checkout.with_name("moved here"))
    assert did(moved, "runtime") == ["made", "installed runtime"]


def test_a_lost_interpreter_builds_anew(checkout: Path) -> None:
    did(checkout, "runtime")
    python = checkout / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert did(checkout, "runtime") == ["made", "installed runtime"]


def test_another_version_of_the_interpreter_builds_anew(checkout: Path) -> None:
    did(checkout, "runtime")
    stamp = checkout / ".venv/stamp-runtime"
    stamp.write_text(stamp.read_text().replace(sys.implementation.cache_tag, "cpython-310"))
    assert did(checkout, "runtime") == ["made", "installed runtime"]


def test_an_interrupted_first_run_is_begun_again(checkout: Path) -> None:
    assert ready(checkout, "runtime", steps="install_lock() { kill -KILL $BASHPID; }").returncode != 0
    assert did(checkout, "runtime") == ["made", "installed runtime"]


def test_an_interrupted_dev_is_begun_again_and_leaves_runtime_as_it_was(checkout: Path) -> None:
    did(checkout, "runtime")
    assert ready(checkout, "dev", steps="install_lock() { kill -KILL $BASHPID; }").returncode != 0
    assert did(checkout, "runtime") == []
    assert did(checkout, "dev") == ["made", "installed dev"]


def test_a_failed_install_stops_the_script(checkout: Path) -> None:
    result = ready(checkout, "runtime", steps="install_lock() { false; }")
    assert result.returncode != 0
    assert not (checkout / ".venv/stamp-runtime").exists()


@pytest.mark.skipif(shutil.which("flock") is None and "CI" not in os.environ, reason="two runs are not held apart")
def test_of_two_runs_at_once_one_builds(checkout: Path) -> None:
    gate = checkout / "gate"
    os.mkfifo(gate)

    def start(steps: str) -> subprocess.Popen[str]:
        program = f"set -euo pipefail; source scripts/venv.sh; {FAKE_STEPS}\n{steps}\nvenv_ready runtime"
        return subprocess.Popen(
            ["bash", "-c", program], cwd=checkout, env=environment(), stdout=subprocess.PIPE, text=True
        )

    first = start("install_lock() { echo >gate; cat gate; }")
    gate.read_text()  # It is installing now, and holds the lock until the gate is opened.
    second = start('flock() { echo waiting; command flock "$@"; }')
    assert second.stdout is not None
    assert second.stdout.readline() == "waiting\n"
    gate.write_text("opened\n")
    assert first.communicate(timeout=30)[0].splitlines() == ["made", "opened"]
    assert second.communicate(timeout=30)[0].splitlines() == []
    assert first.returncode == second.returncode == 0


def test_an_unfit_python_is_refused_in_one_line(checkout: Path) -> None:
    program = "set -euo pipefail; source scripts/venv.sh; venv_ready runtime; echo went on"
    unfit = shutil.which("false") or "false"
    env = environment(PYTHON=unfit)
    command = ["bash", "-c", program]
    result = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"Bide needs Python 3.11 or newer, which none of these is: {unfit}. Install it, or name it in PYTHON."
    ]


#: Debian's Python without python3-venv: nothing has ensurepip. `apt-get` says what it was asked for.
BARE_DEBIAN = """
source scripts/venv.sh
policy=$root/policy-rc.d
find_python() { echo "$root/python"; }
install_lock() { echo "installed $1"; }
apt-get() { echo "apt-get $*" >&2; [ "$1" = update ] || sed -i /ensurepip/d python; }
"""


@pytest.fixture
def bare_debian(checkout: Path) -> Path:
    python = checkout / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in *ensurepip*) exit 1 ;; esac\n'
        f'if [ "$2" = venv ]; then mkdir -p "$3/bin"; ln -s {PYTHON} "$3/bin/python"; exit; fi\n'
        f'exec {PYTHON} "$@"\n'
    )
    python.chmod(0o755)
    return checkout


def test_a_missing_venv_module_is_installed_by_root(bare_debian: Path) -> None:
    result = ready(bare_debian, "runtime", steps=BARE_DEBIAN + "id() { echo 0; }")
    assert result.returncode == 0, result.stderr
    package = f"python3.{sys.version_info.minor}-venv"
    updated, installed = (line for line in result.stderr.splitlines() if line.startswith("apt-get"))
    assert updated.startswith("apt-get update")
    assert installed.startswith("apt-get install")
    assert installed.endswith(package)
    assert result.stdout.splitlines() == ["installed runtime"]


@pytest.mark.parametrize("theirs", [None, "#!/bin/sh\nexit 0\n"], ids=["no policy", "a policy"])
def test_what_apt_installs_starts_no_service_and_a_policy_of_the_machine_stays(
    bare_debian: Path, theirs: str | None
) -> None:
    policy = bare_debian / "policy-rc.d"
    if theirs is not None:
        policy.write_text(theirs)
        policy.chmod(0o755)
    # Asked as Debian asks it, while something is installed.
    asks = 'apt-get() { code=0; "$policy" nginx start || code=$?; echo "asked: $code"; } >&2\n'
    steps = BARE_DEBIAN + asks + "id() { echo 0; }\napt_install nginx"
    result = ready(bare_debian, "runtime", steps=steps)
    answer = 101 if theirs is None else 0
    assert result.stderr.splitlines()[:3] == ["installing nginx with apt-get", f"asked: {answer}", f"asked: {answer}"]
    assert (policy.read_text() if policy.exists() else None) == theirs


def test_a_missing_venv_module_is_named_to_others(bare_debian: Path) -> None:
    result = ready(bare_debian, "runtime", steps=BARE_DEBIAN + "id() { echo 1000; }")
    assert result.returncode != 0
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.endswith(f"apt-get install python3.{sys.version_info.minor}-venv")


@pytest.fixture
def tools(checkout: Path) -> Path:
    """A checkout that is ready, whose tools only write down that they ran, and fail where FAIL names them."""
    did(checkout, "dev")
    python = checkout / ".venv/bin/python"
    python.unlink()
    note = 'echo "$tool $*" >>"${0%/bin/*}/../ran"; [ "$tool" != "${FAIL:-}" ]\n'
    python.write_text(f'#!/bin/sh\n[ "$1" != -ISc ] || exec {PYTHON} "$@"\ntool=$2; shift 2\n{note}')
    (checkout / ".venv/bin/shellcheck").write_text(f"#!/bin/sh\ntool=shellcheck\n{note}")
    for path in (python, checkout / ".venv/bin/shellcheck"):
        path.chmod(0o755)
    return checkout


def ran(root: Path, script: str, *arguments: str, fail: str = "", status: bool = True) -> list[str]:
    """The tools that a script ran with what they were given, once it ended as `status` says."""
    (root / "ran").unlink(missing_ok=True)
    result = subprocess.run(
        [root / script, *arguments], env=environment(FAIL=fail), capture_output=True, text=True, check=False
    )
    assert (result.returncode == 0) is status, result.stderr
    return (root / "ran").read_text().splitlines()


def test_the_checks_come_before_the_tests(tools: Path) -> None:
    lint, layout, types, shell, tests = ran(tools, "scripts/test", "--long")
    assert (lint, layout) == ("ruff check", "ruff format --check")
    assert (types.strip(), tests) == ("mypy", "pytest -n 3 --dist loadfile --no-loadscope-reorder --long")
    for path in SCRIPTS:
        assert str(path.relative_to(ROOT)) in shell.split()


def test_what_the_tests_use_is_installed_while_the_code_is_read_and_before_they_run(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, venv = tools / "scripts/test", tools / "scripts/venv.sh"
    script.write_text(re.sub('(?m)^packages=".*"$', 'packages="of-no-machine"', script.read_text()))
    venv.write_text(venv.read_text().replace("policy=/usr/sbin/policy-rc.d", "policy=$root/policy-rc.d"))
    programs = tmp_path / "programs"
    programs.mkdir()
    ran_file = shlex.quote(str(tools / "ran"))
    install = (
        f"for n in $(seq 500); do grep -qs mypy {ran_file} && break; sleep 0.01; done; echo apt-get $* >>{ran_file}"
    )
    for name, body in {"id": "echo 0", "apt-get": f'[ "$1" = update ] && exit; {install}'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    lines = ran(tools, "scripts/test")
    (installed,) = (number for number, line in enumerate(lines) if line.startswith("apt-get install"))
    assert lines[installed].endswith(" of-no-machine")
    assert lines[2].startswith("mypy")
    assert 2 < installed < len(lines) - 1
    assert lines[-1].startswith("pytest")


def test_a_part_of_the_tests_goes_without_the_checks(tools: Path) -> None:
    ran_once = ["pytest -n 3 --dist loadfile --no-loadscope-reorder -k one or two"]
    assert ran(tools, "scripts/test", "-k", "one or two") == ran_once


@pytest.mark.parametrize("tool", ["ruff", "mypy", "shellcheck", "pytest"])
def test_ci_fails_where_anything_fails(tools: Path, tool: str) -> None:
    before = ["ruff", "ruff", "mypy", "shellcheck"]
    expected = [*before, "pytest"] if tool == "pytest" else before
    assert [line.split()[0] for line in ran(tools, ".ci/run", fail=tool, status=False)] == expected
    assert [line.split()[0] for line in ran(tools, ".ci/run")] == [*before, "pytest"]


def test_conformance_takes_a_url(tools: Path) -> None:
    url = "http://localhost:8000"
    assert ran(tools, "scripts/conformance", url, "-x") == [f"pytest tests/conformance --url={url} -x"]
    result = subprocess.run([tools / "scripts/conformance"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "URL" in result.stderr


SITE_PACKAGES = shlex.quote(sysconfig.get_path("purelib"))
#: A real environment, which has what the one has that runs the tests. CI has just installed that by the same script.
LENT_STEPS = f"""
make_venv() {{ {PYTHON} -m venv --without-pip "$venv"; }}
install_lock() {{ echo {SITE_PACKAGES} >"$(echo "$venv"/lib/python*/site-packages)/lent.pth"; }}
"""


@pytest.mark.parametrize("starts", [["second"], pytest.param(["first", "second"], marks=pytest.mark.long)], ids=len)
@pytest.mark.timeout(300)  # The first installs what the server needs, once.
def test_the_server_starts_in_a_long_path_with_a_space(tmp_path: Path, starts: list[str]) -> None:
    root = tmp_path / "a folder with a space"
    root /= "x" * max(10, 160 - len(str(root)))
    ignored = (".git", ".venv*", "build", "data", "tests", "docs", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*ignored))
    env = environment(BIDE_DATA_DIR=str(tmp_path / "data"))

    if "first" not in starts:
        result = ready(root, "runtime", steps=LENT_STEPS)
        assert result.returncode == 0, result.stderr

    for start in starts:
        with serving(root / "scripts/server", cwd=root, env=env) as (port, log):
            assert request(port, "GET", "/healthz")[0] == 200
        assert ("installing" in log.read_text()) is (start == "first")

    program = "set -euo pipefail; source scripts/venv.sh; venv_ready runtime"
    began = time.monotonic()
    subprocess.run(["bash", "-c", program], cwd=root, env=env, check=True)
    assert time.monotonic() - began < 1  # Measured: 0.03 s. All that the script adds to gunicorn's own start.


def test_the_benchmark_has_an_environment_of_its_own(checkout: Path) -> None:
    (checkout / "requirements-bench.lock").write_text("# bench\n")
    did(checkout, "runtime")
    steps = "venv=$root/.venv-bench"
    assert ready(checkout, "bench", steps=steps).stdout.splitlines() == ["made", "installed bench"]
    assert ready(checkout, "bench", steps=steps).stdout == ""
    assert did(checkout, "runtime") == []
