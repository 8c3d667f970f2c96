"""As much of a socket as gunicorn asks for while a greenlet serves a request. Its methods switch greenlets."""

from __future__ import annotations

from typing import Any, Final

from gevent import get_hub

from .. import guard

READ: Final = 1
WRITE: Final = 2


class SocketOfRequest:
    """`sock` is a plain socket that never blocks; `unread` is what came and was not read by anybody yet."""

    __slots__ = ("_held", "_watcher", "came_later", "sock", "unread")

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.unread = b""
        #: The beginning of an answer, until there is more of it; None once some was sent.
        self._held: bytes | None = None
        #: Whether some of the request came only while it was served.
        self.came_later = False
        self._watcher: Any = get_hub().loop.io(sock.fileno(), READ)

    def begin(self) -> None:
        """Another request is served."""
        self._held = b""
        self.came_later = False

    def fileno(self) -> int:
        number: int = self.sock.fileno()
        return number

    def recv(self, size: int) -> bytes:
        data: bytes
        if self.unread:
            data, self.unread = self.unread[:size], self.unread[size:]
            return data
        while True:
            try:
                data = self.sock.recv(size)
            except BlockingIOError:
                get_hub().wait(self._watcher)
            else:
                self.came_later = True
                guard.take_turns(self)
                return data

    def send(self, data: Any) -> int:
        guard.send_all(self, self._send_some, memoryview(data))
        return len(data)

    def sendall(self, data: bytes) -> None:
        """gunicorn writes a head, and then what follows: the head waits for that, and both go at once."""
        if self._held == b"":
            self._held = data
            return
        if self._held is not None:
            data, self._held = self._held + data, None
        guard.send_all(self, self._send_some, memoryview(data))

    def flush(self) -> None:
        held, self._held = self._held, None
        if held:
            guard.send_all(self, self._send_some, memoryview(held))

    def _send_some(self, data: memoryview) -> int:
        while True:
            try:
                sent: int = self.sock.send(data)
            except BlockingIOError:
                writer = get_hub().loop.io(self.fileno(), WRITE)
                try:
                    get_hub().wait(writer)
                finally:
                    writer.stop()
                    writer.close()
            else:
                return sent

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> None:
        file.seek(offset)
        while count is None or count > 0:
            data = file.read(65536 if count is None else min(count, 65536))
            if not data:
                return
            self.sendall(data)
            count = None if count is None else count - len(data)

    def shutdown(self, how: int) -> None:
        """gunicorn's way with an answer that broke off: as much of it as there was is the client's."""
        self.flush()
        self.sock.shutdown(how)

    def setsockopt(self, *arguments: Any) -> None:
        self.sock.setsockopt(*arguments)

    def gettimeout(self) -> float:
        """It never blocks: what gunicorn asks before it writes an error."""
        return 0.0
