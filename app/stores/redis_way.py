"""One connection to a Redis server. redis-py's connections do the protocol, TLS and passwords."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import gevent
from gevent import socket
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError, RedisError, ResponseError

#: The scripts ask `redis.acl_check_cmd`.
OLDEST: Final = 7


# A fork has the event loop of the process that it came from, and one that opens a store of its own would wait in it for
# ever: nothing else says so to gevent where nothing is patched.
os.register_at_fork(after_in_child=gevent.reinit)


class _Tcp(Connection):
    """Its socket is gevent's whether or not the process is patched: a server waits in many greenlets at once."""

    def _connect(self) -> Any:
        client = socket.create_connection((self.host, self.port), self.socket_connect_timeout)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(self.socket_timeout)
        return client


class _Unix(UnixDomainSocketConnection):
    def _connect(self) -> Any:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(self.socket_connect_timeout)
        client.connect(self.path)
        client.settimeout(self.socket_timeout)
        return client


#: TLS is left as it is: a gunicorn worker is patched.
KINDS: Final[dict[Any, Any]] = {
    Connection: _Tcp,
    UnixDomainSocketConnection: _Unix,
    SSLConnection: SSLConnection,
}


class Way:
    """One connection, and the run of the server that it leads to: another after a restart, on another server, and on
    one that was a replica in between, whose data are then another server's."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._closed = False
        self.run = ""
        try:
            connection.connect()
            about = self.many([(b"INFO", b"server"), (b"INFO", b"replication")])
        except BaseException:
            self.close()
            raise
        for line in b"".join(about).split(b"\r\n"):
            name, _, text = line.partition(b":")
            if name in (b"run_id", b"master_replid"):
                self.run += text[:16].decode()
            elif name == b"redis_version" and int(text.partition(b".")[0]) < OLDEST:
                self.close()
                raise ResponseError(f"it is of version {text.decode()}, and must be of {OLDEST} or later")

    def send(self, *words: Any) -> None:
        if self._closed:
            raise ConnectionError("It was closed")  # redis-py would make another, unasked
        self._connection.send_command(*words, check_health=False)

    def receive(self) -> Any:
        """The next answer. Raises TimeoutError of redis-py where none came in time."""
        try:
            return self._connection.read_response(disable_decoding=True)
        except Exception as error:
            if self._closed:  # by another greenlet: redis-py meets that in many ways
                raise ConnectionError("It was closed") from error
            raise

    def call(self, *words: Any) -> Any:
        self.send(*words)
        return self.receive()

    def many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """What each of several commands answers that are sent at once; ResponseError where one of them failed."""
        for words in commands:
            self.send(*words)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(self.receive())
            except ResponseError as error:
                answers.append(error)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    @property
    def is_stale(self) -> bool:
        """Whether the server closed it, or said something unasked, while nobody used it."""
        try:
            return bool(self._connection.can_read(timeout=0))
        except (RedisError, OSError):
            return True

    def close(self) -> None:
        self._closed = True
        self._connection.disconnect()
