"""An attacker that holds connections and asks nothing: `-m tests.support.slow_heads PORT KIND COUNT`.

It keeps so many, with new ones for those that the server ends, until its input is closed; then it tells as JSON how
many it has, how many it had, and how many answers it got. It is a process of its own, so that well-behaved clients
beside it are not slowed by sharing its time.
"""

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import time

from tests.support.servers import ROOT, environment

#: By kind: what each connection begins with, and what it goes on with, byte by byte.
KINDS = {
    "slow-heads": (
        b"GET /subscribe/news HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer eyJhbGciOi",
        b"JIUzI1NiJ9",
    ),
    "silent": (b"", b""),
    # As far as a client's first words in TLS go, of which it says that 508 bytes are to come.
    "slow-handshakes": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0"),
}
#: A byte is added to each connection so often.
DRIP_SECONDS = 2.0
#: The same work is done in so many steps, so that it does not come as one burst; and so many connections are made in
#: each at most, two thousand in a second: it is an attack that holds connections, not one that makes them.
STEPS, AT_ONCE = 40, 100


class Attacker:
    """Runs one for the time of a `with` block, which begins when all its connections are there."""

    def __init__(self, port, kind, count):
        command = [sys.executable, "-m", "tests.support.slow_heads", str(port), kind, str(count)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.told = None

    def __enter__(self):
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_):
        try:
            out, _ = self._process.communicate(timeout=30)
        finally:
            self._process.kill()
            self._process.wait()
        self.told = json.loads(out)


class _Connections:
    def __init__(self, port, begin, drip):
        self._port = port
        self._begin = begin
        self._drip = drip
        self._selector = selectors.DefaultSelector()
        self.open = {}
        self.had = 0
        self.answers = 0

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.send(self._begin)
        self._selector.register(sock, selectors.EVENT_READ)
        self.open[sock] = self.had
        self.had += 1

    def read(self, seconds):
        """Notice for so long what the server says or ends."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                self._read(key.fileobj)

    def _read(self, sock):
        try:
            data = sock.recv(4096)
        except OSError:
            data = b""
        self.answers += data.startswith(b"HTTP/")
        if not data:
            self._selector.unregister(sock)
            sock.close()
            del self.open[sock]

    def drip(self, step):
        if self._drip:
            for sock, number in self.open.items():
                if number % STEPS == step:
                    with contextlib.suppress(OSError):
                        sock.send(self._drip[number % len(self._drip) :][:1])


def main(port, kind, count):
    connections = _Connections(port, *KINDS[kind])
    stopping = selectors.DefaultSelector()
    stopping.register(sys.stdin, selectors.EVENT_READ)
    step, is_ready = 0, False
    while not stopping.select(0):
        for _ in range(min(count - len(connections.open), AT_ONCE)):
            connections.connect()
        if not is_ready and len(connections.open) == count:
            print("ready", flush=True)
            is_ready = True
        connections.drip(step % STEPS)
        connections.read(DRIP_SECONDS / STEPS)
        step += 1
    print(json.dumps({"open": len(connections.open), "had": connections.had, "answers": connections.answers}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
