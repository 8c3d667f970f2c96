"""Each promise is held by a test: broken on purpose, by a patch named for it, the test named in the patch fails.

A patch begins with the promise in a sentence and a line `Red: path::test` for each test that must fail; the rest is a
unified diff, as small as it can be. It is applied to a copy of the checkout, and the tests run there, with --long: it
takes minutes, and says something of the tests alone. Every run sees that the patches apply. When one no longer does the
code has moved on: write the patch anew, so that it breaks the same promise.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PATCHES = sorted(Path(__file__).parent.glob("*.patch"))

#: The tests that run in a copy need no more than this.
NEEDED = ("app", "tests", "setup.cfg", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "mutations", "conformance", "gunicorn")

#: pytest's exit codes: all passed; some failed. Any other is that they could not even run.
PASSED, FAILED = 0, 1

#: Each run is a process that mostly starts; two at a time keep a small machine busy and its clocks right.
AT_ONCE = 2


def red(patch):
    """The tests that a patch must turn red."""
    return re.findall(r"^Red: (\S+)$", patch.read_text(), re.M)


def make_copy(folder):
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)
        else:
            shutil.copy(ROOT / name, folder)


def apply(patch, copy, *options):
    """Apply a patch to the copy, where git finds no repository: inside of one it passes over what lies elsewhere."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_CEILING_DIRECTORIES"] = str(copy.parent)
    command = ["git", "apply", *options, str(patch)]
    return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)


def run(tests, copy):
    """Run tests in the copy, up to the first that fails; without pytest's retelling of assertions, which takes long."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--assert=plain", *tests]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=60)


def break_promise(patch, copy):
    """Returns what git said, and what pytest said if it came to that."""
    make_copy(copy)
    applied = apply(patch, copy)
    return applied, run(red(patch), copy) if applied.returncode == 0 else None


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """The outcome of each patch that this run asks for, as soon as it is there."""
    asked = [item.callspec.params["patch"] for item in request.session.items if is_of_a_patch(item)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {patch: pool.submit(break_promise, patch, tmp_path_factory.mktemp(patch.stem)) for patch in asked}
        pool.shutdown(cancel_futures=True)


def is_of_a_patch(item):
    return item.path == Path(__file__) and hasattr(item, "callspec")


def test_every_patch_applies_and_names_tests_that_there_are(tmp_path):
    make_copy(tmp_path)
    for patch in PATCHES:
        applied = apply(patch, tmp_path, "--check")
        assert applied.returncode == 0, f"{patch.name} no longer applies, write it anew:\n{applied.stderr}"
        assert red(patch), f"{patch.name} names no test: begin a line with 'Red: '"
        for test in red(patch):
            file, *names = test.partition("[")[0].split("::")
            for name in names:
                text = (ROOT / file).read_text()
                assert re.search(rf"^ *(def|class) {name}\b", text, re.M), f"{patch.name}: there is no {test}"


@pytest.mark.long
def test_with_every_promise_kept_the_named_tests_pass(tmp_path):
    make_copy(tmp_path)
    result = run(sorted({test for patch in PATCHES for test in red(patch)}), tmp_path)
    assert result.returncode == PASSED, result.stdout + result.stderr


@pytest.mark.long
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_broken_promise_turns_its_tests_red(patch, outcomes):
    applied, result = outcomes[patch].result()
    assert applied.returncode == 0, applied.stderr
    assert result.returncode == FAILED, f"{patch.name} turns nothing red:\n{result.stdout}{result.stderr}"
    assert "1 failed" in result.stdout, result.stdout
