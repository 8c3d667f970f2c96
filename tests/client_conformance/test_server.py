"""The server of the cases keeps the protocol's word: it passes what Bide itself is asked on cursors and gaps."""

import subprocess
import sys

from .program import ROOT
from .server import Server

#: Of several channels only what is no oddity: names that are none, more than a hundred, HEAD.
FILES = ["test_cursors.py", "test_gaps.py", "test_several_channels.py"]
PART = "not (test_several_channels and (refused or head))"


def test_it_passes_what_bide_is_asked():
    server = Server()
    files = [f"tests/conformance/{file}" for file in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", PART, "--url", server.url]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    server.stop()
    assert result.returncode == 0, result.stdout[-5000:]
    assert server.defects == []
