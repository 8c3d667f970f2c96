"""A command in a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import time
from pathlib import Path

from tests.support.servers import PATIENCE_SECONDS


def on_terminal(
    command: list[str], env: dict[str, str], *, until: str = "", keys: bytes = b"", cwd: Path | None = None
) -> tuple[int, str]:
    """Its exit code and all that it wrote. The keys are typed once it has written `until`."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            os.chdir(cwd or ".")
            os.execvpe(command[0], command, env | {"TERM": "xterm", "COLUMNS": "100", "LINES": "200"})
        finally:
            os._exit(99)
    found = b""
    deadline = time.monotonic() + PATIENCE_SECONDS * 2
    try:
        while True:
            assert select.select([master], [], [], deadline - time.monotonic())[0], found
            try:
                piece = os.read(master, 65536)
            except OSError:  # as Linux tells the end of a terminal
                piece = b""
            if not piece:
                break
            found += piece
            if keys and until.encode() in found:
                os.write(master, keys)
                keys = b""
    except BaseException:
        os.kill(pid, 9)
        raise
    finally:
        os.close(master)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), found.decode()
