"""A real nginx for a test, with the very deploy/nginx.conf that users get.

Only what belongs to a machine is replaced in it, see `PLACES`: where Bide listens, where nginx does, and where it
writes. The proxy's socket is bound before nginx starts and inherited by it, so that any number of them run side by
side; no right is needed that a user of the machine does not have.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from .servers import PATIENCE_SECONDS, ROOT, START_SECONDS, STOP_SECONDS, environment

# Debian has it where only root's path leads.
NGINX = shutil.which("nginx", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin") or "nginx"

CONF = ROOT / "deploy" / "nginx.conf"

# What nginx keeps on the disk where it buffers, which this file makes it never do; it makes the folders all the same.
SPOOLS = "".join(f" {kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))

# What is replaced, how often it is there, and by what.
PLACES = [
    ("server 127.0.0.1:8000;", 2, "server {upstream};"),
    ("listen 80;", 1, "listen {address};"),
    ("error_log /var/log/nginx/error.log;", 1, "error_log error.log;"),
    ("http {", 1, "http {{" + SPOOLS),
]


def adapted(upstream, address):
    """deploy/nginx.conf for another place."""
    text = CONF.read_text()
    for ours, times, theirs in PLACES:
        assert text.count(ours) == times, f"{CONF.name} must say {ours!r} {times} times"
        text = text.replace(ours, theirs.format(upstream=upstream, address=address))
    return text


class Proxy:
    """nginx in front of `upstream`, as host:port; a context manager. It must end with 0."""

    def __init__(self, folder, upstream):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "error.log"
        self._upstream = upstream
        self.process = None

    def __enter__(self):
        # nginx alone may hold it in the end: who asks a dead one is refused instead of waiting.
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
            # nginx takes it as it is; a worker woken for a connection that another took must not wait in accept.
            listener.setblocking(False)
            self.address = listener.getsockname()
            self._start(listener.fileno())
        try:
            self._await_ready()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        finally:
            self._kill()
        assert code == 0, f"exit code {code}\n{self.output()}"

    def _start(self, number):
        place = "{}:{}".format(*self.address)
        self.url = f"http://{place}"
        conf = self.folder / "nginx.conf"
        conf.write_text(adapted(self._upstream, place))
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [NGINX, "-p", self.folder, "-c", conf, "-e", self.log, "-g", "daemon off; pid nginx.pid;"],
                # It finds the socket as if it were its own successor in an upgrade, by the address that it is bound to.
                env=environment(NGINX=f"{number};"),
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _await_ready(self):
        """Wait until one of its workers has accepted a connection; the socket itself listens from the start."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}\n{self.output()}"
            assert time.monotonic() < deadline, f"it was not ready in time\n{self.output()}"
            with contextlib.suppress(OSError), self.connect(timeout=2) as sock:
                # Answered by nginx itself, whether or not anyone is behind it.
                sock.sendall(b"no request\r\n\r\n")
                if sock.recv(100).startswith(b"HTTP/1.1 400"):
                    return

    def output(self):
        """All that nginx wrote."""
        logs = (self.folder / "output", self.log)
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def connect(self, timeout=PATIENCE_SECONDS):
        """A bare connection."""
        sock = socket.create_connection(self.address, timeout=timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
