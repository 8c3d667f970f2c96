"""From the text of a variable to a setting's value. Each parser raises ValueError, whose text says what would do."""

from __future__ import annotations

import ipaddress
import os.path
import re
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

#: The least that HS256 is safe with (RFC 7518, section 3.2).
MIN_SECRET_BYTES: Final = 32

UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Rate(NamedTuple):
    """At most `amount` in `seconds`."""

    amount: int
    seconds: int


def integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or len(text) > 20 or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        plain = text.isascii() and text.replace(".", "", 1).isdigit()
        if not plain or not low <= float(text) <= high:
            raise ValueError(f"seconds from {low:g} to {high:g}")
        return float(text)

    return parse


def flag(text: str) -> bool:
    if text not in ("0", "1", ""):
        raise ValueError("1 or 0")
    return text == "1"


#: As browsers send it (RFC 6454, section 6.2): another way to write it would never match.
_ORIGIN: Final = re.compile(r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_PORTS: Final = {"http": "80", "https": "443"}


def origins(text: str) -> frozenset[str]:
    origins = frozenset(text.replace(",", " ").split())
    for origin in origins:
        found = _ORIGIN.fullmatch(origin)
        if found is None or found[2] == _PORTS[found[1]]:
            raise ValueError(
                "origins as browsers send them, separated by spaces, such as https://example.com http://localhost:3000 "
                "(in lower case, without a path, without the port that the scheme has by itself)"
            )
    return origins


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        if host.startswith("[") != (":" in host):
            raise ValueError
        return str(ipaddress.ip_address(host.strip("[]"))), integer(1, 65535)(port)
    except ValueError:
        raise ValueError("an IP address and a port, such as 127.0.0.1:8001 or [::1]:8001") from None


def rate(text: str) -> Rate:
    amount, _, unit = text.partition("/")
    try:
        return Rate(integer(1, 1_000_000_000)(amount), UNITS[unit])
    except (ValueError, KeyError):
        raise ValueError("a rate such as 100/second, or per minute, hour or day") from None


def optional_rate(text: str) -> Rate | None:
    return None if text in ("", "off") else rate(text)


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise ValueError("addresses and networks such as 10.0.0.5 192.168.1.0/24, separated by spaces") from None


def given(text: str) -> str:
    """What is not to be left empty by mistake: a server without a key serves anyone."""
    if not text:
        raise ValueError("a value, or leave the variable out")
    return text


def secret(text: str) -> str:
    # What is no UTF-8 comes from the environment as surrogates: whoever signs would have other bytes.
    if len(text.encode(errors="ignore")) < MIN_SECRET_BYTES or any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError(
            f"at least {MIN_SECRET_BYTES} bytes that nobody can guess, such as `openssl rand -base64 32` prints"
        )
    if os.path.isfile(text):
        # As the public key may be given. A path is long enough for a secret, and known to many.
        raise ValueError("what is in that file, not its path")
    return text


def keys_url(text: str) -> str:
    """Of a provider of keys. Keys that somebody on the way could exchange would let anyone in; and they are public, so
    that no password is needed."""
    try:
        parts = urlsplit(text)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        usable = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        usable = usable and (parts.scheme == "https" or (parts.scheme == "http" and local))
    except ValueError:
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("an https:// URL without user and password (http:// for localhost alone)")
    return text
