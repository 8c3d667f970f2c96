"""The fault-injecting server: threads and sockets around contract.py. It counts what comes and keeps what it did.

Each connection has a thread. A request that no fault hits is answered by the contract; for one that is hit, the fault
(faults.py) decides what goes over the wire, and notes that it did.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from .contract import Answer, Contract, Hold, Request
from .store import LOOK_SECONDS, Store

#: So many answers that bring nothing, within one second, are a hot loop.
MOST_FRUITLESS = 20
LONGEST_HEAD = 65_536


@dataclass
class Seen:
    """One request, as the server saw it."""

    request: Request
    number: int
    connection: int
    at: float
    answered: float | None = None
    status: int | None = None
    is_fruitful: bool = True
    #: By this clock the client was asked not to come back before.
    not_before: float | None = None
    hit_by: str = ""
    hold: Hold | None = None

    def __str__(self) -> str:
        name = f"{self.request.kind} {self.number} on connection {self.connection}: {self.request.target}"
        return f"{self.at:.3f} {name} -> {self.status or 'nothing'} {self.hit_by}"


class GoneError(Exception):
    """The connection is over."""


class Connection:
    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        #: Set by others: the thread that serves it resets it, wherever it is.
        self.cut = False
        self._read = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self) -> Request:
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, rest = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        self._read = rest
        while len(self._read) < length:
            self._more()
        body, self._read = self._read[:length], self._read[length:]
        return Request(method, target, headers, body)

    def is_gone(self) -> bool:
        """Whether the client closed, or somebody cut it; what a client sends ahead stays unread."""
        if self.cut:
            return True
        if not select.select([self.sock], [], [], 0)[0]:
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def pause(self, seconds: float) -> None:
        """Wait, unless the connection ends before."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.is_gone():
                raise GoneError
            time.sleep(min(left, LOOK_SECONDS))

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise GoneError from error

    def reset(self) -> None:
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> None:
        while not select.select([self.sock], [], [], LOOK_SECONDS)[0]:
            if self.cut:
                raise GoneError
        try:
            data = self.sock.recv(65_536)
        except OSError as error:
            raise GoneError from error
        if not data or len(self._read) > LONGEST_HEAD * 20:
            raise GoneError
        self._read += data


class Exchange:
    """One request and what is done about it: what a fault works with."""

    def __init__(self, server: Server, connection: Connection, seen: Seen) -> None:
        self.server = server
        self.connection = connection
        self.seen = seen
        self.stays = True

    def answer(self, at_once: bool = False) -> Answer:
        """By the contract, which may hold it."""
        self.seen.hold = Hold(self.connection.is_gone)
        answer = self.server.contract.answer(self.seen.request, self.seen.hold, at_once)
        self.seen.hold = None
        if answer is None:
            raise GoneError
        return answer

    def send(self, answer: Answer) -> None:
        data = encoded(answer)
        self.server.note_answer(self.seen, answer, data)
        self.connection.send(data)

    def reset(self) -> None:
        self.stays = False
        self.connection.reset()

    def close(self) -> None:
        self.stays = False
        self.connection.sock.close()


def encoded(answer: Answer) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} .", *(f"{name}: {value}" for name, value in headers.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body


@dataclass
class Server:
    """`faults` is asked for what hits a request: faults.Faults."""

    faults: object = None
    store: Store = field(default_factory=Store)

    def __post_init__(self) -> None:
        self.contract = Contract(self.store)
        self.requests: list[Seen] = []
        self.connections: list[Connection] = []
        self.sent: dict[tuple[str, int], bytes] = {}
        self.is_hot = False
        self.defects: list[Exception] = []
        self._lock = threading.Lock()
        self._fillers: list[socket.socket] = []
        self._is_stopped = False
        self._deaf = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self._accept_in_a_thread()

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            self._listener.close()
            for filler in self._fillers:
                filler.close()
        self.cut()

    def of(self, kind: str) -> list[Seen]:
        return [seen for seen in list(self.requests) if seen.request.kind == kind]

    def is_settled(self) -> bool:
        """Whether the client has had everything and waits for more."""
        holds = [seen.hold for seen in self.of("poll")[-1:]]
        followed = [hold.following for hold in holds if hold is not None]
        return any(following is not None and self.store.is_at_head(following) for following in followed)

    def cut(self) -> None:
        """Reset every connection, whatever is going on with it."""
        for connection in list(self.connections):
            connection.cut = True

    def go_down(self, seconds: float) -> None:
        """Refuse whoever connects, until the time is over."""
        with self._lock:
            self._listener.close()
        self.cut()
        threading.Timer(seconds, self._come_up).start()

    def go_dead(self) -> None:
        """From now on connecting takes for ever: the queue of those who wait to be accepted is full."""
        with self._lock:
            self._listener.listen(0)
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(self.address)
                self._fillers.append(filler)
            # Never given back: nobody is accepted any more.
            self._deaf = True

    def note_answer(self, seen: Seen, answer: Answer, data: bytes) -> None:
        with self._lock:
            seen.answered, seen.status, seen.is_fruitful = time.monotonic(), answer.status, answer.is_fruitful
            self.sent[seen.request.kind, seen.number] = data

    def _come_up(self) -> None:
        with self._lock:
            if not self._is_stopped:
                self._listener = socket.create_server(self.address, backlog=64)
                self._accept_in_a_thread()

    def _accept_in_a_thread(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            with suppress(OSError, ValueError):  # closed meanwhile
                select.select([listener], [], [], LOOK_SECONDS)
            with self._lock:
                if listener.fileno() < 0 or self._deaf:
                    return
                if not select.select([listener], [], [], 0)[0]:
                    continue
                connection = Connection(listener.accept()[0], len(self.connections) + 1)
                self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        try:
            while True:
                seen = self._note(connection, connection.request())
                exchange = Exchange(self, connection, seen)
                if self.faults is None or not self.faults.hit(exchange):
                    exchange.send(exchange.answer())
                if not exchange.stays:
                    return
        except GoneError:
            pass
        except Exception as error:
            # A fault that broke, or a request that the contract cannot read: the case must not pass for it.
            self.defects.append(error)
        finally:
            if connection.cut:
                connection.reset()
            connection.sock.close()

    def _note(self, connection: Connection, request: Request) -> Seen:
        with self._lock:
            now = time.monotonic()
            seen = Seen(request, len(self.of(request.kind)) + 1, connection.number, now)
            self.requests.append(seen)
            fruitless = [each for each in self.requests if not each.is_fruitful and now - each.at < 1]
            self.is_hot = self.is_hot or len(fruitless) > MOST_FRUITLESS
            return seen
