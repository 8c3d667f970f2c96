"""The server of the cases keeps the protocol's word: it passes what Bide itself is asked on cursors and gaps."""

import subprocess
import sys

import pytest

from .program import ROOT
from .server import Server

#: Of the others only what is no oddity: whose names are none, HEAD, more than a hundred channels.
WHOLE = ["test_cursors.py", "test_gaps.py"]
PART = ["test_several_channels.py", "-k", "not refused and not head"]


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.mark.parametrize("asked", [WHOLE, PART], ids=["one channel", "several channels"])
def test_it_passes_what_bide_is_asked(server, asked):
    files = [f"tests/conformance/{each}" if each.endswith(".py") else each for each in asked]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "--url", server.url]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-5000:]
    assert server.defects == []
