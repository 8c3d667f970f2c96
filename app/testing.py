"""A server of one's own for the tests of programs that use Bide: real processes, to be killed and started again.

    from bide.testing import Server

    with Server(folder) as server:
        ...                      # server.url
        server.restart()         # kill -9, and up again with what it had stored

Under pytest the fixtures of `bide.pytest_plugin` make it. Run as a program this module is that server: gunicorn, which
ends when whoever started it does, however that came about.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

#: A cold start on a machine that is busy with other tests; half a second is usual.
START_SECONDS: Final = 60.0
#: A stop takes a second or two, and twelve where a body is still coming.
STOP_SECONDS: Final = 20.0
#: How much of the log is told of a server that did not start.
LOG_LINES: Final = 20

#: Of the caller's environment: what would lead the server elsewhere, to the store of a production perhaps.
_STRANGE: Final = ("BIDE_", "GUNICORN_")
_STRANGE_NAMES: Final = ("HOST", "PORT", "WEB_CONCURRENCY")


class ServerNotStarted(Exception):
    """Its text ends in the last lines of the server's log."""


class Server:
    """A Bide server on a free port of this machine. As a context manager it is started, and killed at the end.

    It keeps its store and its log in `folder`; `settings` are environment variables as docs/operations.md has them,
    such as {"BIDE_RETENTION_EVENTS": 10}. Nothing else of the caller's environment steers it. While it is away its port
    is kept for it, and whoever connects is refused.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, object] | None = None) -> None:
        self._folder = Path(folder).resolve()
        self._settings = dict(settings or {})
        #: What the server wrote, from its first start on.
        self.log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._place: socket.socket | None = _bound(0)
        self._port: int = self._place.getsockname()[1]
        #: Where it is reached, without a slash at the end.
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it on its port, with what it has stored, and wait until it serves; nothing where it runs. Raises
        ServerNotStarted."""
        if self._process is not None:
            return
        place = self._place = self._place or _bound(self._port)
        begun_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    __name__,
                    *("--config", f"python:{__package__}.gunicorn_conf"),
                    f"--bind=fd://{place.fileno()}",
                    f"{__package__}:create_app()",
                ],
                # Its own folder, which Python looks for modules in.
                cwd=self._folder,
                env=self._environment(),
                pass_fds=[place.fileno()],
                stdin=subprocess.PIPE,  # whose end tells it that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # The port is the server's now: who would hold it too, here, would keep it open when the server is killed.
        place.close()
        self._place = None
        try:
            self._await_ready(self._process)
        except BaseException as error:
            self.kill()
            if isinstance(error, ServerNotStarted):
                with self.log.open("rb") as log:
                    log.seek(begun_at)
                    lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
                raise ServerNotStarted("\n".join([str(error), *lines])) from None
            raise

    def stop(self) -> None:
        """End it as a deployment does: polls are answered, connections closed. Takes a second or two."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """End it as a crash does, in the middle of whatever it does (kill -9)."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            # Master and workers; it leads a group of its own.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None
        # Those of the group that are not our children cannot be waited for. The port is free when they are gone.
        self._place = _bound(self._port, STOP_SECONDS)

    def restart(self) -> None:
        """Kill it, and start it again on the same store and port."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Kill it, and give its port away."""
        self.kill()
        if self._place is not None:
            self._place.close()
            self._place = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(_STRANGE)}
        for name in _STRANGE_NAMES:
            env.pop(name, None)
        env["BIDE_DATA_DIR"] = str(self._folder / "data")
        return env | {name: str(value) for name, value in self._settings.items()}

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if process.poll() is not None:
                raise ServerNotStarted(f"Bide did not start, but ended with {process.returncode}. Its log:")
            if time.monotonic() > deadline:
                raise ServerNotStarted(f"Bide was not ready within {START_SECONDS:g} seconds. Its log:")
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False


def _bound(port: int, seconds: float = 0.0) -> socket.socket:
    """Keeps the port, 0 for a free one, without listening there; waits so long for one that is in use."""
    deadline = time.monotonic() + seconds
    place = socket.socket()
    # Connections of the server that is gone may still be on their way out.
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        try:
            place.bind(("127.0.0.1", port))
            return place
        except OSError:
            if time.monotonic() > deadline:
                place.close()
                raise
            time.sleep(0.001)


if __name__ == "__main__":
    if os.fork() == 0:
        # Nobody ever writes there. It ends with whoever holds its other end, and so does everything in this group.
        os.closerange(3, 1024)
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)

    from gunicorn.app.wsgiapp import run

    run("gunicorn")
