"""Nobody opens a server to a network without saying who may do what.

It looks at the sockets that are really bound, whatever was asked for: a worker that was started by hand at another
address than HOST is seen as well. Where there are none to be seen, in an embedding application or behind another
server, `origins.py` serves localhost alone.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable
from socket import socket

from ..config import Settings, bindable
from ..errors import SettingsError

log = logging.getLogger("bide")


def check(settings: Settings, listeners: Iterable[socket]) -> None:
    """Raise SettingsError where a listening socket is open to others than this machine, and neither is there a key nor
    was it said that anyone may come; say in the log where that was said."""
    if settings.has_key:
        return
    for listener in listeners:
        name = listener.getsockname()
        if isinstance(name, tuple) and not is_local(name[0]):
            place = bindable(name[0], name[1])
            if not settings.insecure:
                raise SettingsError(
                    f"{place} is not served without a key, since others than this machine reach it: "
                    "set BIDE_JWT_SECRET, BIDE_JWT_PUBLIC_KEY or BIDE_JWKS_URL, "
                    "or BIDE_INSECURE=1 to let anyone publish and read"
                )
            log.warning("whoever reaches %s publishes and reads everything (BIDE_INSECURE=1)", place)


def is_local(host: str) -> bool:
    """Whether nobody but this machine reaches a socket that is bound to the address."""
    # An IPv6 address may come with its zone.
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
