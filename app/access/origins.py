"""Keeps a server without a key safe from web pages and open proxies.

Without a key anyone who reaches the port may publish, and a browser on the same machine reaches it for every page
that is open in it. Two rules stand against that:

- Only requests for localhost that no proxy forwarded are served. A page whose name was rebound to 127.0.0.1 asks for
  its own name, and a proxy that was opened to the world says so in its headers. A key lifts this rule, since tokens
  say then who may do what, and so does `BIDE_INSECURE=1`.
- What changes something (POST, DELETE, an upgrade) is refused to pages of other origins than the request's own and
  those of `BIDE_CORS_ORIGINS`, and to requests that the browser itself calls cross-site. This rule always holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from ..config import Settings
from ..dispatch import current_environ
from ..errors import ForeignHost, ForeignOrigin

LOCAL_NAMES = frozenset(["localhost", "127.0.0.1", "[::1]"])
DEFAULT_PORTS = {"http": "80", "https": "443"}


def register(app: Flask, settings: Settings) -> None:
    """Check every request to the app before anything else sees it."""

    knows_nobody = not settings.insecure and not settings.has_key

    def check() -> None:
        environ = current_environ()
        target = environ.get("RAW_URI", "/")
        if target[:1] not in "/*":
            # RFC 9112, section 3.2.2: a target that names a host is meant for that one, whatever Host says.
            environ["HTTP_HOST"] = urlsplit(target).netloc
        if knows_nobody:
            check_host(environ)
        if environ["REQUEST_METHOD"] in ("POST", "DELETE") or "HTTP_UPGRADE" in environ:
            check_origin(environ, settings.cors_origins)

    app.before_request(check)


def check_host(environ: Mapping[str, Any]) -> None:
    """Refuse a request for another name than localhost, or one that a proxy forwarded. Raises ForeignHost."""
    host: str = environ.get("HTTP_HOST", "")
    name, port = split_host(host)
    if name.lower() not in LOCAL_NAMES or not (port == "" or (port.isascii() and port.isdigit())):
        raise ForeignHost(
            f"Without a key only localhost, 127.0.0.1 and [::1] are served, not {host[:200]!r}: "
            "set a key (BIDE_JWT_SECRET), or BIDE_INSECURE=1 to let anyone who reaches this server publish and read"
        )
    # One search in one text: a look at each of thirty names would cost every poll ten times as much.
    names = " ".join(environ)
    if "HTTP_FORWARDED" in names or "HTTP_X_FORWARDED_" in names:
        raise ForeignHost(
            "Without a key requests that a proxy forwarded (Forwarded, X-Forwarded-*) are not served: "
            "set a key (BIDE_JWT_SECRET), or BIDE_INSECURE=1 to let anyone who reaches the proxy publish and read"
        )


def check_origin(environ: Mapping[str, Any], listed: frozenset[str]) -> None:
    """Refuse what a page of a foreign origin sends. Raises ForeignOrigin."""
    origin: str | None = environ.get("HTTP_ORIGIN")
    if origin in listed:
        return
    if environ.get("HTTP_SEC_FETCH_SITE") == "cross-site" or (origin is not None and not _is_own(origin, environ)):
        raise ForeignOrigin(
            f"A page of {(origin or 'another site')[:200]!r} may not do that: list its origin in BIDE_CORS_ORIGINS"
        )


def require_origin(environ: Mapping[str, Any], listed: frozenset[str]) -> None:
    """As `check_origin`, and refuse what does not say from where it comes. Raises ForeignOrigin."""
    if "HTTP_ORIGIN" not in environ:
        raise ForeignOrigin("By cookie that needs an Origin, the server's own or one of BIDE_CORS_ORIGINS")
    check_origin(environ, listed)


def split_host(host: str) -> tuple[str, str]:
    """Name and port of a Host header; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        return host, ""
    return name, port


def _is_own(origin: str, environ: Mapping[str, Any]) -> bool:
    """Whether the origin is the request's own: the same host and port. It may be https for plain HTTP, since a proxy in
    front may speak TLS to the browser; not the other way round: what speaks for a page without TLS may be anybody."""
    scheme, _, place = origin.partition("://")
    if scheme not in DEFAULT_PORTS or not place or (scheme == "http" and environ.get("wsgi.url_scheme") == "https"):
        return False
    name, port = split_host(place.lower())
    own_name, own_port = split_host(environ.get("HTTP_HOST", "").lower())
    return name == own_name and (port or DEFAULT_PORTS[scheme]) == (own_port or DEFAULT_PORTS[scheme])
