"""Where a request comes from, so that limits count the client and not the proxy in front of it.

Whoever sends a request may write anything into `X-Forwarded-For`; each proxy adds at its end whom it was asked by. So
the list is read from its end, for as long as those who wrote are trusted (`BIDE_FORWARDED_ALLOW_IPS`): the first entry
that is not a trusted proxy's own is the client. `Forwarded` (RFC 7239) is not read: proxies that write the one pass on
what the client has put into the other.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from ..knobs import Network

#: Lists that are remembered, with what they led to; longer ones are read each time.
KNOWN: Final = 2000
KNOWN_CHARACTERS: Final = 256
#: No chain of proxies is longer: a list of thousands would be read at the cost of all clients.
MOST_HOPS: Final = 32
#: One household or machine has all the addresses of such a network.
IPV6_PREFIX: Final = 64
#: The clients of a unix socket, as long as no proxy tells more.
UNIX: Final = "unix"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Addresses:
    """Finds out where requests come from. `trusted` are the networks of the proxies whose word is taken."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)
        self._remembered = lru_cache(KNOWN)(self._find)

    def of(self, environ: Mapping[str, Any]) -> str:
        """The client's address: of IPv4, or of the IPv6 network that counts as one client."""
        peer: str = environ.get("REMOTE_ADDR", "")
        told: str = environ.get("HTTP_X_FORWARDED_FOR", "")
        return self._remembered(peer, told) if len(told) <= KNOWN_CHARACTERS else self._find(peer, told)

    def _find(self, peer: str, told: str) -> str:
        address = parsed(peer)  # none of a unix socket, whose other end is on this machine and was let in by its mode
        if told and (address is None or self._trusts(address)):
            for entry in reversed(told.rsplit(",", MOST_HOPS)):
                if not (entry := entry.strip(" \t")):
                    continue  # RFC 9110, section 5.6.1.2: a list may have empty elements
                hop = parsed(entry)
                if hop is None:
                    break  # whoever wrote that hides whom it was asked by, and answers for it
                address = hop
                if not self._trusts(hop):
                    break
        return UNIX if address is None else _counted(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parsed(text: str) -> Address | None:
    """The address of an entry, which may have a port, and brackets around one of IPv6; None where it is none."""
    host, port = text, ":0"
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port or ":0"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        port = f":{port}"
    if port[0] != ":" or not (port[1:].isascii() and port[1:].isdigit()) or (text.startswith("[") and "]" not in text):
        return None
    try:
        address = ipaddress.ip_address(host.partition("%")[0])  # without its zone
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _counted(address: Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
