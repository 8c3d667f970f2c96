"""The lock files: what is not as they say is not installed, and what scripts/audit says of the packages they name."""

import hashlib
import json
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_scripts import checkout, environment  # noqa: F401  # a fixture

#: The files of the smallest wheel there is.
WHEEL = {
    "tiny.py": "",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/RECORD": "tiny.py,,\n",
}


def installed(root: Path, lock: str) -> bool:
    """Whether `install_lock`, the real one, installs the wheel of the lock."""
    (root / "requirements.lock").write_text(lock)
    program = f"set -euo pipefail; source scripts/venv.sh; venv={shlex.quote(sys.prefix)}; install_lock runtime"
    # Into a folder of its own, so that the environment that runs this stays as it is.
    env = environment(PIP_NO_INDEX="1", PIP_FIND_LINKS=".", PIP_TARGET="target", PIP_CONFIG_FILE="/dev/null")
    result = subprocess.run(["bash", "-c", program], cwd=root, env=env, capture_output=True, text=True, check=False)
    found = (root / "target/tiny.py").exists()
    assert (result.returncode == 0) is found, result.stderr
    assert found or "hash" in result.stderr.lower(), result.stderr
    return found


def test_a_package_that_is_not_the_one_of_the_lock_is_not_installed(checkout: Path) -> None:  # noqa: F811
    wheel = checkout / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in WHEEL.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert not installed(checkout, f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    assert not installed(checkout, "tiny==1.0\n")
    assert installed(checkout, f"tiny==1.0 --hash=sha256:{digest}\n")


def audited(root: Path, said: str, code: int = 0) -> tuple[int, list[str]]:
    """What scripts/audit exits with and says where pip-audit says this."""
    tool = root / "bin/pip-audit"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(f"#!/bin/sh\necho \"$@\" >>asked\ncat <<'EOF'\n{said}\nEOF\necho it failed >&2\nexit {code}\n")
    tool.chmod(0o755)
    env = environment()
    env["PATH"] = f"{tool.parent}:{env['PATH']}"
    command = [root / "scripts/audit", "-s", "osv"]
    result = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    return result.returncode, (result.stdout + result.stderr).splitlines()


def told(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


FINE: dict[str, object] = {"name": "flask", "version": "3.1", "vulns": []}
KNOWN: dict[str, object] = {**FINE, "vulns": [{"id": "CVE-1", "fix_versions": ["3.2"], "aliases": []}]}
LEFT_OUT: dict[str, object] = {"name": "gevent", "skip_reason": "Dependency not found on PyPI"}
LEFT_OUT_SENTENCE = "Of 2 packages 1 were not audited: gevent"


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        (told(FINE), 0, (0, ["1 packages audited, 0 known vulnerabilities"])),
        (
            told(KNOWN),
            1,
            (1, ["flask 3.1: CVE-1, mended in 3.2", "1 packages audited, 1 known vulnerabilities"]),
        ),
        # What pip-audit calls "No known vulnerabilities found", and 0.
        (told(LEFT_OUT, LEFT_OUT), 0, (3, ["Nothing was audited: no service answered for any package."])),
        (told(FINE, LEFT_OUT), 0, (3, ["1 packages audited, 0 known vulnerabilities", LEFT_OUT_SENTENCE])),
        ("", 1, (3, ["Nothing was audited: no service answered. pip-audit says: it failed"])),
    ],
    ids=["nothing is known", "something is known", "nobody answers for any", "not for all", "nobody answers"],
)
def test_an_audit_says_plainly_whether_anybody_was_asked(
    checkout: Path,  # noqa: F811
    said: str,
    code: int,
    expected: tuple[int, list[str]],
) -> None:
    assert audited(checkout, said, code) == expected
    asked = (checkout / "asked").read_text()
    assert "-s osv" in asked
    assert "--requirement requirements-dev.lock --requirement requirements-bench.lock" in asked
