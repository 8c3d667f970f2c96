"""A start that must be refused: it ends by itself, and says why in one line."""

import contextlib
import re
import socket
import subprocess

from tests.support.servers import ROOT, command, environment

#: A refused start takes a second; gunicorn must not try it again and again.
REFUSED_SECONDS = 30


def refused(folder, conf=True, prepare=None, words=None, fds=(), **env):
    """Start a server that must not start; returns the one line that it says. `prepare` runs in its process first.

    `words` are the whole command, where it is not gunicorn on a socket of this machine's own, and `fds` the descriptors
    that it inherits.
    """
    env = {"BIDE_DATA_DIR": folder / "data", **env}
    with contextlib.ExitStack() as stack:
        if words is None:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            words, fds = command("-b", f"fd://{listener.fileno()}", conf=conf), [listener.fileno()]
        ended = subprocess.run(
            words,
            cwd=folder,
            env=environment(PYTHONPATH=ROOT, XDG_RUNTIME_DIR=folder, **env),
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=REFUSED_SECONDS,
            preexec_fn=prepare,
        )
    said = ended.stdout + ended.stderr
    assert ended.returncode > 0, "it ends by itself, by no signal, and says that it failed"
    assert "Traceback" not in said
    assert 'File "' not in said
    # What gunicorn logs of itself begins with the time.
    lines = [line for line in said.splitlines() if line and not re.match(r"\[\d{4}-\d\d-\d\d ", line)]
    assert len(lines) == 1, said
    assert lines[0].startswith("bide: ")
    return lines[0]
