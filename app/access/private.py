"""The private address (`BIDE_PRIVATE_ADDRESS`): tells of the server and its channels, and carries no events.

gunicorn gives each address connections of its own. Where clients have taken all those of the server's address, whoever
runs it still learns at the private one whether it lives, and who holds them; so nothing that a client may keep busy is
served there.
"""

from __future__ import annotations

from collections.abc import Iterable
from socket import socket

from flask import Flask, request

from ..config import bindable
from ..errors import NotAtThisAddress, SettingsError

#: What clients of channels use, by their endpoints.
OF_CLIENTS = frozenset(
    ["channels.publish", "channels.publish_several", "channels.subscribe", "channels.subscribe_several"]
)


def register(app: Flask, address: tuple[str, int]) -> None:
    """Refuse publishes and polls that come by this address, host and port of the listening socket."""
    name, port = address[0], str(address[1])

    def check_request() -> None:
        environ = request.environ
        # gunicorn's are the listening socket's own, whatever the request says.
        if environ["SERVER_PORT"] == port and environ["SERVER_NAME"] == name and request.endpoint in OF_CLIENTS:
            raise NotAtThisAddress(
                "This is BIDE_PRIVATE_ADDRESS, which tells of the server: publish and poll at the server's own address"
            )

    app.before_request(check_request)


def check(address: tuple[str, int], listeners: Iterable[socket]) -> None:
    """Raise SettingsError where none of the listening sockets is at the address."""
    for listener in listeners:
        if listener.getsockname()[:2] == address:
            return
    place = bindable(*address)
    raise SettingsError(
        f"BIDE_PRIVATE_ADDRESS={place} cannot be used: "
        f"this server does not listen there; leave gunicorn's -b out, or give -b {place} too"
    )
