"""A listening socket: has connections made of who comes, a few in each turn of the event loop."""

from __future__ import annotations

import _socket
import errno
import logging
import time
from typing import Any, Final, Protocol

from gevent import get_hub

from .plain import PlainRequests

log = logging.getLogger("bide")

READ: Final = 1
#: Accepted in one turn of the loop. One where several workers listen, so that who has nothing to do is there first.
ACCEPTED: Final = 64
#: Accepted at most when the worker stops: as many as the backlog holds (gunicorn.conf.py).
LAST: Final = 4096
#: How long nobody is accepted after the process, or the system, had no descriptor or memory left for it.
REST_SECONDS: Final = 1.0
#: And how seldom that is said.
SAY_SECONDS: Final = 10.0
OUT_OF: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Door(Protocol):
    """Who takes connections: the worker."""

    def may_enter(self, listener: Listener) -> bool: ...

    def enter(self, client: Any, address: Any, listener: Listener) -> None: ...


class Listener:
    """One of gunicorn's listening sockets. `open` is how many connections of it there are, `plain` reads their plain
    requests where any are read so."""

    def __init__(self, door: Door, sock: Any, plain: PlainRequests | None, *, shared: bool) -> None:
        self.open = 0
        self.plain = plain
        self._said_at = -SAY_SECONDS
        self._name = sock.getsockname()
        self._door = door
        # Not gevent's: what the loop calls must not wait.
        self._sock: Any = _socket.socket(sock.family, sock.type, sock.proto, sock.detach())
        self._sock.setblocking(False)
        self._batch = 1 if shared else ACCEPTED
        self._watcher: Any = get_hub().loop.io(self._sock.fileno(), READ)
        self._rest: Any = None
        self.resume()

    def getsockname(self) -> Any:
        """Its address, also when it is closed."""
        return self._name

    def resume(self) -> None:
        """Accept who comes."""
        if self._rest is not None:
            self._rest.close()
            self._rest = None
        if not self._watcher.active:
            self._watcher.start(self.on_readable)

    def close(self) -> None:
        """Accept who has come already, and nobody any more: to him who waits in the backlog it would be a reset."""
        for _ in range(LAST):
            if not self._accept():
                break
        self._watcher.stop()
        self._watcher.close()
        if self._rest is not None:
            self._rest.close()
        self._sock.close()

    def on_readable(self) -> None:
        for _ in range(self._batch):
            if not self._accept():
                break

    def _accept(self) -> bool:
        """Accept one; whether there may be another."""
        if not self._door.may_enter(self):
            self._watcher.stop()  # until one has left
            return False
        try:
            descriptor, address = self._sock._accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in OUT_OF:
                self._take_rest(error)
                return False
            return True  # who came has gone already
        client = _socket.socket(self._sock.family, self._sock.type, self._sock.proto, descriptor)
        client.setblocking(False)
        self._door.enter(client, address, self)
        return True

    def _take_rest(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._said_at > SAY_SECONDS:
            self._said_at = now
            log.warning("nobody can be accepted: %s; trying again each second, and whenever one leaves", error.strerror)
        self._watcher.stop()
        self._rest = get_hub().loop.timer(REST_SECONDS)
        self._rest.start(self.resume)
