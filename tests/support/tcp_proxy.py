"""A way to a server that can be spoilt: a proxy of TCP connections with faults that a test switches on and off.

It runs in threads of the test. What it does to the bytes of a connection is looked up for each piece that passes:

- `delay` is how many seconds each piece is held back, up to that by chance;
- `swallows` names what gets lost without a word, while the connections stay open: "up" to the server, "down" from it;
- `only_pubsub` restricts that to connections on which something was subscribed, which are told by their first bytes;
- `truncates` is with which chance a piece is cut short, and its connection ended amid it.
"""

import contextlib
import random
import socket
import struct
import threading
import time


class TcpProxy:
    """To be used as a context manager; `port` leads to the server's."""

    def __init__(self, target_port, seed=0):
        self.target_port = target_port
        self.delay = 0.0
        self.truncates = 0.0
        self.swallows = frozenset()
        self.only_pubsub = False
        #: What was done to how many pieces; how many connections were cut, and how many there were.
        self.delayed = self.truncated = self.swallowed = self.cuts = self.opened = 0
        self._chance = random.Random(f"proxy {seed}")
        self._pairs = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut(1)

    def cut(self, chance):
        """End each connection with that chance, with a reset or in the usual way."""
        with self._lock:
            pairs = sorted(self._pairs, key=id)
        for pair in pairs:
            if self._chance.random() < chance:
                self.cuts += 1
                self._end(pair, reset=self._chance.random() < 0.5)

    def heal(self):
        """Spoil nothing from now on. What was swallowed is gone, and connections stay as they are."""
        self.delay, self.truncates, self.swallows, self.only_pubsub = 0.0, 0.0, frozenset(), False

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            except OSError:
                client.close()
                continue
            self.opened += 1
            server.settimeout(None)
            pair = _Pair(client, server)
            with self._lock:
                self._pairs.add(pair)
            for way in ("up", "down"):
                threading.Thread(target=self._pass_on, args=(pair, way), daemon=True).start()

    def _pass_on(self, pair, way):
        source, sink = (pair.client, pair.server) if way == "up" else (pair.server, pair.client)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if way == "up" and b"SUBSCRIBE" in data[:200]:
                    pair.is_pubsub = True
                if way in self.swallows and (pair.is_pubsub or not self.only_pubsub):
                    pair.holed.add(way)
                if way in pair.holed:  # for good: what comes later would not follow
                    self.swallowed += 1
                    continue
                if self.delay:
                    self.delayed += 1
                    time.sleep(self._chance.uniform(0, self.delay))
                if self.truncates and self._chance.random() < self.truncates:
                    self.truncated += 1
                    sink.sendall(data[: self._chance.randrange(len(data))])
                    break
                sink.sendall(data)
        self._end(pair)

    def _end(self, pair, reset=False):
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.remove(pair)
        for sock in (pair.client, pair.server):
            with contextlib.suppress(OSError):
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
            sock.close()


class _Pair:
    """A connection from a client and the one to the server that belongs to it."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.is_pubsub = False
        self.holed = set()
