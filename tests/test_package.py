"""The wheel that others install: it is whole, it is called bide, and it leaves a user's own app alone."""

import configparser
import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.version import VERSION
from tests.test_scripts import environment, request, serving

ROOT = Path(__file__).parent.parent

#: Publishes and subscribes through Flask's test client, beside a user's own package called app.
PROGRAM = """
import app
assert app.SENTINEL == "the user's own", app.__file__

import bide
client = bide.create_app().test_client()
published = client.post("/publish/news", json={"message": "hi"})
assert published.status_code == 200, published.data
polled = client.get("/subscribe/news?timeout=0")
assert polled.status_code == 200, polled.data
assert polled.json["message"] == "hi", polled.json
assert polled.json["id"] == published.json["event_id"], polled.json
"""


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder with a package called app of its own."""
    folder = tmp_path / "project"
    (folder / "app").mkdir(parents=True)
    (folder / "app/__init__.py").write_text('SENTINEL = "the user\'s own"\n')
    return folder


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    suffixes = {".py", ".sql", ".typed", ".html", ".js", ".css", ".lua", ".yaml"}
    files = {path.relative_to(ROOT / "app") for path in (ROOT / "app").rglob("*") if path.suffix in suffixes}
    names = zipfile.ZipFile(wheel).namelist()
    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == {f"bide/{path.as_posix()}" for path in files}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    text = archive.read(metadata).decode()
    assert f"\nName: bide\nVersion: {VERSION}\n" in text
    assert "\nLicense-Expression: Apache-2.0\n" in text
    assert (ROOT / "README.md").read_text().strip() in text


@pytest.mark.parametrize("store", ["memory://", None], ids=["memory", "the default"])
def test_the_wheel_publishes_and_polls_beside_a_user_s_own_app(
    installed: Path, project: Path, tmp_path: Path, store: str | None
) -> None:
    env = environment(BIDE_DATA_DIR=str(tmp_path / "data"))
    if store is not None:
        env["BIDE_STORE"] = store
    command: list[str | Path] = [installed, "-c", PROGRAM]
    result = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert any((tmp_path / "data").glob("*.db")) is (store is None)


def test_plain_gunicorn_serves_the_wheel(installed: Path, project: Path, tmp_path: Path) -> None:
    env = environment(BIDE_DATA_DIR=str(tmp_path / "data"))
    # The control socket has one path per user: two servers would fight over it.
    options = ["-k", "gevent", "--no-control-socket"]
    command: list[str | Path] = [installed, "-m", "gunicorn", "bide:create_app()", *options]
    with serving(*command, cwd=project, env=env) as (port, _):
        status, published = request(port, "POST", "/publish/news", {"message": "hi"})
        assert status == 200, published
        status, polled = request(port, "GET", "/subscribe/news?timeout=0")
        assert status == 200, polled
        assert json.loads(polled)["message"] == "hi"
        assert json.loads(polled)["id"] == json.loads(published)["event_id"]


def test_the_command_serves_the_wheel_and_asks_it(installed: Path, project: Path, tmp_path: Path) -> None:
    env = environment(BIDE_DATA_DIR=str(tmp_path / "data"))
    bide = installed.parent / "bide"
    with serving(bide, "serve", "--", cwd=project, env=env) as (port, log):
        env["BIDE_URL"] = f"http://127.0.0.1:{port}"
        told = {"env": env, "cwd": project, "capture_output": True, "text": True, "check": True, "timeout": 60}
        id = subprocess.run([bide, "publish", "news"], input="hi\n", **told).stdout
        assert subprocess.run([bide, "subscribe", "news", "--count", "1"], **told).stdout == "hi\n"
        assert f"\t{id.strip()}\t" in subprocess.run([bide, "channels"], **told).stdout
        subprocess.run([bide, "backup", tmp_path / "copy.db"], **told)
    assert "Using worker: bide.worker.Worker" in log.read_text()
    assert (tmp_path / "copy.db").exists()


def pins(name: str) -> dict[str, str]:
    """The versions that a lock file names, each of which must have a hash."""
    text = (ROOT / name).read_text()
    found = re.findall(r"^([\w.-]+)==(\S+)(?: ;.*?)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+", text, re.M)
    assert len(found) == len(re.findall(r"^\w", text, re.M))
    return {canonicalize_name(package): version for package, version in found}


def test_the_locks_fit_setup_cfg_and_each_other() -> None:
    """`scripts/lock` was run after the last change of a requirement."""
    config = setup_cfg()
    runtime = pins("requirements.lock")
    locks = {kind: pins(f"requirements-{kind}.lock") for kind in ("dev", "bench")}
    assert all(runtime.items() <= pinned.items() for pinned in locks.values())
    lines = {
        "runtime": (runtime, config["options"]["install_requires"]),
        **{kind: (pinned, config["options.extras_require"][kind]) for kind, pinned in locks.items()},
    }
    for kind, (pinned, text) in lines.items():
        for line in filter(None, text.splitlines()):
            wanted = Requirement(line)
            version = pinned.get(canonicalize_name(wanted.name))
            assert version is not None, f"{line} is not in the {kind} lock"
            assert wanted.specifier.contains(version), f"{line}, but the {kind} lock has {version}"
