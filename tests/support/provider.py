"""A provider of keys, as an identity provider is one: a small HTTP server that tells a JWK Set, or anything."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.support.signing import minted, private

ALGORITHMS = {"RSA 2048": "RS256", "P-256": "ES256", "Ed25519": "EdDSA"}


def jwk(kind: str, number: int = 0, *, secret: bool = False, **more: Any) -> dict[str, Any]:
    """A key of tests as an entry of a set, its private part too where asked for; a member of None is left out."""
    key = private(kind, number) if secret else private(kind, number).public_key()
    makers = {"R": RSAAlgorithm, "E": OKPAlgorithm}
    entry: dict[str, Any] = makers.get(kind[0], ECAlgorithm).to_jwk(key, as_dict=True)  # type: ignore[attr-defined]
    entry.pop("key_ops", None)
    return {name: value for name, value in (entry | more).items() if value is not None}


def of_key(kind: str, number: int = 0, kid: str | None = None, **claims: Any) -> str:
    """A token that was signed with a key of tests."""
    return minted(private(kind, number), ALGORITHMS[kind], kid, **claims)


class Provider:
    """`asked` counts the requests; `answer` is called with the handler of each and sends whatever it likes."""

    def __init__(self, server: ThreadingHTTPServer, scheme: str) -> None:
        self.asked = 0
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: None
        self.url = f"{scheme}://localhost:{server.server_port}/keys?for=whom"
        self.tells()

    def tells(self, *entries: Any) -> None:
        """A set of these keys."""
        self.says(json.dumps({"keys": entries}).encode())

    def says(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Any answer."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.answer = answer


@contextlib.contextmanager
def providing(*entries: Any, tls: tuple[Any, Any] | None = None) -> Iterator[Provider]:
    """A provider that tells these keys, over TLS where there is a certificate with its key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked += 1
            with contextlib.suppress(OSError):  # the client has enough
                provider.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that does not trust its certificate

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    provider = Provider(server, "http" if tls is None else "https")
    provider.tells(*entries)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
