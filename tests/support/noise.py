"""Bytes that a server may be sent by anybody, and connections on which they come: each is made of a seed and a number.

A connection is closed, reset, half-closed or left open; of the last two the server's end is awaited.
"""

import contextlib
import random
import re
import selectors
import socket
import time
from collections import Counter

from tests.support.clients import get, post, reset, subscription

#: Nobody else uses it, though a byte that is changed may make another name of it.
CHANNEL = "noise"
#: Connections that are open at once.
AT_ONCE = 200

_STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d) ")
#: What no answer may show.
_INSIDE = re.compile(rb'Traceback|File "|\.py\b')

_PUBLISH = f"POST /publish/{CHANNEL} HTTP/1.1\r\nHost: localhost\r\n"
_CHUNKED = (_PUBLISH + "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n").encode()
_FORM = (_PUBLISH + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nmessage=1").encode()
_UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")

VALID = (
    get("/healthz"),
    get("/"),
    get("/channels?prefix=n&limit=5"),
    get(f"/channels/{CHANNEL}/events?after=0&limit=3"),
    get(f"/channels/{CHANNEL}/subscribers", "X-Client-ID: me"),
    subscription(CHANNEL, 0, 0),
    subscription(f"{CHANNEL},other", "0,latest", 0, 10, "Prefer: wait=1", 'Last-Event-ID: "1"'),
    get(f"/subscribe/{CHANNEL}?last_event_id=latest&timeout=0.2", *_UPGRADE),
    post(f"/publish/{CHANNEL}", {"message": {"a": [1, 2.5e3, "\u00e4\n", None]}, "type": "t"}, "Idempotency-Key: k"),
    post(f"/publish/{CHANNEL}", {"messages": [1, "two", [3]]}, "Expect: 100-continue"),
    post("/publish", {"channels": [CHANNEL, "other"], "message": "both"}, "Origin: http://localhost"),
    post("/subscribe", {"channels": {CHANNEL: 0, "other": "latest"}, "timeout": 0, "limit": 10}),
    _CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n",
    _FORM,
    f"DELETE /channels/{CHANNEL} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS /channels HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://localhost/healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
)
#: What has a meaning in one place, and is put into another.
_WORDS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"\r\n\r\n",
    b"\r\n ",
    b"%",
    b"%00",
    b"\xff",
    b"\xc3",
    b"-1",
    b"9" * 30,
)
_WORDS += (b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"0\r\n\r\n")
_WORDS += (b"HTTP/1.1", b"Host: a\r\n", b"\\ud800", b"[" * 100, b"Connection: close\r\n", b"Expect: 100-continue\r\n")

# Other protocols.
_TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\1\0\0\0\5\0\0\x40\0"
_PROXY = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)
_OTHERS = (_TLS, _HTTP2, *_PROXY, b"\x05\x01\0", b"*1\r\n$4\r\nPING\r\n", b"\0\0\0\x08\x04\xd2\x16\x2f", b"\x80" * 14)


def flipped(chance, data):
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def inserted(chance, data):
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice((*_WORDS, chance.randbytes(3))) + data[place:]


def removed(chance, data):
    place = chance.randrange(len(data))
    return data[:place] + data[place + chance.choice((1, 1, 2, 10)) :]


def doubled(chance, data):
    begin, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[begin:]


def cut(chance, data):
    return data[: chance.randrange(len(data) + 1)]


def swapped(chance, data):
    lines = data.split(b"\r\n")
    chance.shuffle(lines)
    return b"\r\n".join(lines)


_CHANGES = (flipped, flipped, inserted, inserted, removed, doubled, cut, swapped)


def changed(chance):
    """A valid request with some changes."""
    data = chance.choice(VALID)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if data:
            data = chance.choice(_CHANGES)(chance, data)
    return data


def noise(chance):
    return chance.randbytes(chance.choice((1, 10, 100, 1000, 20_000)))


def other_protocol(chance):
    return chance.choice(_OTHERS) + chance.randbytes(chance.choice((0, 1, 100, 508)))


def nulls(chance):
    return bytes(chance.choice((1, 100, 10_000)))


def pipelined(chance):
    """Some requests one behind the other, most of them whole."""
    return b"".join(changed(chance) if chance.random() < 0.3 else chance.choice(VALID) for _ in range(4))


def chunks(chance):
    """Chunks that say something else than they are."""
    sizes = (
        b"5",
        b"05",
        b"6",
        b"4",
        b"0",
        b"-5",
        b"0x5",
        b"",
        b"5 ",
        b"ffffffff",
        b"f" * 20,
        b"5;" + b"a" * 300,
        b"\0",
    )
    body = b"".join(
        chance.choice(sizes)
        + chance.choice((b"\r\n", b"\r\n", b"\n"))
        + b"hello"
        + chance.choice((b"\r\n", b"\r\n", b""))
        for _ in range(chance.randrange(1, 5))
    )
    return _CHUNKED + body + chance.choice((b"0\r\n\r\n", b"0\r\n", b"", b"0\r\nX: 1\r\n\r\n", chance.choice(VALID)))


KINDS = (changed, changed, changed, pipelined, chunks, noise, other_protocol, nulls)
ENDINGS = ("closed", "reset", "half-closed", "left open")


class Sent:
    """One connection: what it sent, and what came."""

    def __init__(self, seed, number):
        self.name = f"{seed} {number}"
        chance = random.Random(self.name)
        self.kind = chance.choice(KINDS)
        self.data = self.kind(chance)
        self.ending = chance.choice(ENDINGS)
        #: In how many pieces it is sent.
        self.cuts = sorted(chance.randrange(len(self.data) + 1) for _ in range(chance.choice((0, 0, 0, 1, 2))))
        self.received = bytearray()
        self.since = 0.0

    @property
    def statuses(self):
        return [int(status) for status in _STATUS.findall(self.received)]

    def fault(self):
        """What must not have come of it, None where nothing is wrong."""
        allowed = {501} if b"transfer-encoding" in self.data.lower() else set()
        wrong = [status for status in self.statuses if status >= 500 and status not in allowed]
        if wrong or _INSIDE.search(self.received):
            return f"{self.name}, {self.kind.__name__}: {bytes(self.data[:2000])!r} got {bytes(self.received[:1000])!r}"
        return None


class Noise:
    """Sends what the seed says on so many connections, and takes what comes."""

    def __init__(self, server, seed, within):
        self._server = server
        self._seed = seed
        #: After so many seconds a connection that the server did not end is a fault.
        self._within = within
        self._selector = selectors.DefaultSelector()
        self._number = 0
        self.done = Counter()
        self.faults = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def send(self, count):
        """Use so many connections, each once; returns when all have come to their end."""
        last = self._number + count
        while self._number < last or self._selector.get_map():
            while self._number < last and len(self._selector.get_map()) < AT_ONCE:
                self._open(Sent(self._seed, self._number))
                self._number += 1
            for key, _ in self._selector.select(0.05):
                self._read(key.fileobj, key.data)
            self._look(time.monotonic())

    def _open(self, sent):
        sock = self._server.connect()
        sent.since = time.monotonic()
        with contextlib.suppress(ConnectionError, BrokenPipeError):  # refused half-way
            for begin, end in zip([0, *sent.cuts], [*sent.cuts, len(sent.data)], strict=True):
                sock.sendall(sent.data[begin:end])
        self.done[f"{sent.kind.__name__}, {sent.ending}"] += 1
        if sent.ending == "closed":
            sock.close()
        elif sent.ending == "reset":
            reset(sock)
        else:
            if sent.ending == "half-closed":
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, sent)

    def _read(self, sock, sent):
        try:
            data = sock.recv(262144)
        except ConnectionError:
            data = b""
        sent.received += data
        if not data:
            self._end(sock, sent)

    def _look(self, now):
        for key in list(self._selector.get_map().values()):
            if now > key.data.since + self._within:
                self.faults.append(f"{key.data.name} is still open: {bytes(key.data.data[:2000])!r}")
                self._end(key.fileobj, key.data)

    def _end(self, sock, sent):
        self._selector.unregister(sock)
        sock.close()
        self.done.update(f"status {status}" for status in sent.statuses)
        if (fault := sent.fault()) is not None:
            self.faults.append(fault)
