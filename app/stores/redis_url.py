"""The URL of a Redis store: what of it is redis-py's, and what is ours."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import SettingsError

#: What the URL may set, and whatever begins with ssl_. redis-py takes more: what would be ignored, or is no text.
OPTIONS: Final = "prefix", "db", "username", "password", "client_name", "socket_timeout", "socket_connect_timeout"


def split(url: str) -> tuple[str, str]:
    """The URL without what is ours in it, and the prefix of all names. Raises SettingsError."""
    try:
        parts = urlsplit(url)
        is_usable = parts.port != 0 and not parts.fragment  # raises ValueError where it is no port
    except ValueError:
        is_usable = False
    if not is_usable or not (
        not parts.hostname and len(parts.path) > 1 if parts.scheme == "unix" else re.fullmatch(r"/?[0-9]*", parts.path)
    ):
        # Nothing of it is shown: a password with a slash in it is taken for something else.
        raise SettingsError(
            "BIDE_STORE cannot be used: give redis://[[user]:password@]host[:port][/database] or "
            "unix://[[user]:password@]/path[?db=database], with the password percent-encoded"
        )
    options: list[tuple[str, Any]] = [*parse_qsl(parts.query, keep_blank_values=True)]
    given = dict(options)
    if len(given) < len(options) or not all(name in OPTIONS or name.startswith("ssl_") for name in given):
        raise SettingsError(
            f"An option in BIDE_STORE cannot be used: give each of {', '.join(OPTIONS)} and, after rediss://, "
            "of redis-py's that begin with ssl_, once at most"
        )
    prefix = given.get("prefix", "bide")
    if not prefix or not prefix.isascii() or not prefix.isprintable() or set(prefix) & set("{}: "):
        raise SettingsError("The prefix in BIDE_STORE cannot be used: it has no braces, colons or spaces")
    rest = urlencode([(name, value) for name, value in options if name != "prefix"])
    # Not urlunsplit: it takes the slashes of unix:///path away.
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{rest}" if rest else ""), prefix
