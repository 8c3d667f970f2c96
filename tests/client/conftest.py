"""What the tests of the Python client share: a real server, and one that answers what a test says."""

import contextlib
import json
import re
import socket
import threading
from collections import deque

import pytest

from app.client import Client
from tests.support.servers import Server


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def bide(server):
    with Client(server.url) as client:
        yield client


class Puppet:
    """A server that answers each request with the next of `answers`: a pair of status and JSON (or bytes), with headers
    perhaps, or None for what is no HTTP; after the last of them it holds everybody. `asked` are the heads and bodies
    of what came."""

    def __init__(self):
        self.answers = deque()
        self.asked = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._socks = []
        threading.Thread(target=self._accept, daemon=True).start()

    def answer(self, status, body, **headers):
        self.answers.append((status, body, headers))
        return self

    @property
    def lines(self):
        """The first lines of what was asked."""
        return [head.split("\r\n")[0] for head, _ in self.asked]

    def close(self):
        self._listener.close()
        for sock in self._socks:
            sock.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._socks.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _head(self, file):
        """Up to the empty line; nothing where the client has gone."""
        lines = []
        with contextlib.suppress(OSError):
            while (line := file.readline()) not in (b"\r\n", b""):
                lines.append(line)
        return b"".join(lines).decode()

    def _serve(self, sock):
        file = sock.makefile("rb")
        while head := self._head(file):
            (length,) = re.findall(r"\nContent-Length: (\d+)", head) or [0]
            self.asked.append((head, file.read(int(length))))
            if not self.answers:
                continue
            answer = self.answers.popleft()
            if answer is None:
                sock.sendall(b"SSH-2.0-OpenSSH\r\n")
                continue
            status, body, headers = answer
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            told = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            sock.sendall(f"HTTP/1.1 {status} Some Reason\r\nContent-Length: {len(data)}\r\n{told}\r\n".encode() + data)


@pytest.fixture
def puppet():
    puppet = Puppet()
    yield puppet
    puppet.close()


def event(id, message=1, channel="a", **more):
    return {"id": id, "channel": channel, "message": message, "timestamp": id / 1e6, **more}


def page(*ids, cursor=None, **more):
    """A batch of one channel."""
    last = cursor if cursor is not None else ids[-1]
    return {"channel": "a", "events": [event(id) for id in ids], "last_event_id": last, **more}
