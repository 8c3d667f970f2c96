"""Requests that can be ended from outside.

A poll waits for half a minute in a `recv` of its thread. To end it at once another thread shuts its socket down, which
requests has no way to do. So the connections are made here: each keeps a second descriptor of its socket, by which it
is reached while it connects, shakes hands or waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Mapping
from http.client import BadStatusLine, RemoteDisconnected
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

from ..version import VERSION
from .answers import Answer, answer_of
from .errors import ClientError, Unreachable

CONNECT_SECONDS: Final = 5.0
#: Whoever rests looks so often whether that is over.
REST_SECONDS: Final = 1.0


def check_url(url: str) -> None:
    """Raises ValueError for what is no server's URL."""
    try:
        parts = urlsplit(url)
        is_usable = (
            parts.scheme in ("http", "https") and parts.port != 0 and bool((parts.hostname or "").encode("idna"))
        )
    except ValueError:  # such as for a port that there cannot be, or a name that is none
        is_usable = False
    if "@" in url:
        # It is not repeated: it may be a password, which would not be sent, and would be told wherever the URL is.
        raise ValueError("A server's URL names nobody: who asks is told by the token (BIDE_TOKEN)")
    if not is_usable or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no server's URL: give one such as http://127.0.0.1:8000")


class Wire:
    """A session with one server. `connections` is how many it keeps open between requests. Raises ValueError for a URL
    or a token that there cannot be."""

    def __init__(self, url: str, token: str | None, client_id: str, connections: int = 1) -> None:
        check_url(url)
        if token is not None and not (token.isascii() and token.isprintable()):
            # It is not shown.
            raise ValueError("The token has characters that no token has, such as the end of a line")
        self._url = url.rstrip("/")
        self._token = token
        self._id = client_id
        self._connections = connections
        self._begin(is_over=False)
        _wires.add(self)

    def _begin(self, is_over: bool) -> None:
        """In a process that was forked too: it must not use its parent's connections, where it would be given the
        answers to the other's requests, nor end them, nor wait for locks that threads held which it has not."""
        self._is_over = is_over
        #: Re-entrant, and so what waits on it: a signal's handler may cut the wire, amid whatever its thread does.
        self._lock = threading.RLock()
        self._over = threading.Condition(self._lock)
        self._handles: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": f"bide-client/{VERSION}", "X-Client-ID": self._id})
        # As an auth: else requests would put a password of ~/.netrc in the header's place.
        self._session.auth = _Bearer(self._token)
        adapter = _Adapter(self, self._connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    @property
    def is_cut(self) -> bool:
        return self._is_over

    def cut(self) -> None:
        """End what is on its way, and everything from now on. May be called by any thread or greenlet, and by a
        signal's handler."""
        self._is_over = True
        with self._lock:
            self._over.notify_all()
            handles = list(self._handles)
        for handle in handles:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connections, once nothing is on its way."""
        self._session.close()

    def rest(self, seconds: float) -> None:
        """Wait so long, or until the wire is cut."""
        ends_at = time.monotonic() + seconds
        with self._lock:
            while not self._is_over and (left := ends_at - time.monotonic()) > 0:
                # No longer at once: a handler that comes between the look and the wait wakes nobody.
                self._over.wait(min(left, REST_SECONDS))

    def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 10.0,
    ) -> Answer:
        """One request, with `content` as JSON where it is not None; its answer is waited for so many seconds. Raises
        ClientError, and ValueError or TypeError for a content that is no JSON."""
        return answer_of(self.send(method, path, params, content, headers, seconds))

    def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 10.0,
    ) -> requests.Response:
        """The same, whatever the answer is. Raises Unreachable where there is none."""
        sent = dict(headers or {})
        data = None
        if content is not None:
            data = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            sent["Content-Type"] = "application/json"
        try:
            # What redirects does so for a reason that a person has to see; and a POST would become a GET.
            response = self._session.request(
                method,
                self._url + path,
                params,
                data,
                sent,
                timeout=(CONNECT_SECONDS, seconds),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            if self.is_cut:
                raise ClientError("The client was closed") from error
            if isinstance(error, ValueError):  # as the URL is one that cannot be used
                raise ClientError(f"{self._url} cannot be asked: {error}") from error
            raise Unreachable(f"{self._url} does not answer: {_reason(error, seconds)}") from error
        if self.is_cut:
            raise ClientError("The client was closed")
        return response

    def connect(self, host: str, port: int, seconds: Any, options: Any) -> tuple[socket.socket, socket.socket]:
        """A connected socket, and a second descriptor of it. Raises OSError."""
        trouble: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = handle = None
            try:
                sock = socket.socket(family, kind, protocol)
                for option in options or ():
                    sock.setsockopt(*option)
                sock.settimeout(seconds)
                handle = sock.dup()
                with self._lock:
                    self._handles.add(handle)
                # In this order: who cuts the wire now finds the handle, or has set the flag before.
                if self.is_cut:
                    raise OSError("The client was closed")
                sock.connect(address)
                return sock, handle
            except OSError as error:
                trouble = error
                for each in (sock, handle):
                    if each is not None:
                        each.close()
        raise trouble or OSError(f"{host} has no address")


_wires: weakref.WeakSet[Wire] = weakref.WeakSet()


def _begin_all() -> None:
    for wire in list(_wires):
        wire._begin(wire.is_cut)


os.register_at_fork(after_in_child=_begin_all)


class _Bearer(AuthBase):
    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Adapter(HTTPAdapter):
    """Makes connections by the wire."""

    def __init__(self, wire: Wire, connections: int) -> None:
        self._wire = wire
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        _use(self._wire, self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        _use(self._wire, manager)
        return manager


def _use(wire: Wire, manager: PoolManager) -> None:
    class Reached(HTTPConnection):
        _handle: socket.socket | None = None

        def _new_conn(self) -> socket.socket:
            try:
                sock, self._handle = wire.connect(self.host, self.port, self.timeout, self.socket_options)
            except TimeoutError as error:
                raise ConnectTimeoutError(self, "connecting took too long") from error
            except OSError as error:
                # As urllib3 does: of a bare reset it thinks that the server has answered already, and reads from None.
                raise NewConnectionError(self, str(error)) from error
            return sock

        def close(self) -> None:
            super().close()
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    class ReachedHTTPS(Reached, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Reached

    class PoolHTTPS(HTTPSConnectionPool):
        ConnectionCls = ReachedHTTPS

    manager.pool_classes_by_scheme = {"http": Pool, "https": PoolHTTPS}


def _reason(error: requests.RequestException, seconds: float) -> str:
    """Why there was no answer, as a sentence can tell it."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "reason", None) or (seen.args[-1] if seen.args else None)
        if isinstance(seen, NewConnectionError):
            inner = seen.__cause__
        if not isinstance(inner, BaseException):
            break
        seen = inner
    if isinstance(seen, ConnectTimeoutError):
        return f"no connection within {CONNECT_SECONDS:g} s"
    if isinstance(seen, ReadTimeoutError | TimeoutError):
        return f"nothing came for {seconds:.3g} s"
    if isinstance(seen, RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(seen, BadStatusLine):
        return "what it says is no HTTP"
    if isinstance(seen, ssl.SSLCertVerificationError):
        told = seen.verify_message.rstrip(".")
        hint = "" if "mismatch" in told else "; REQUESTS_CA_BUNDLE names a file of those that are"
        return f"its certificate is not trusted ({told}{hint})"
    return str(getattr(seen, "strerror", None) or str(seen) or type(seen).__name__)
