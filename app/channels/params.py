"""What a request asks: each parameter a value in bounds, or an InvalidRequest that says what would be accepted.

Numbers are plain ASCII digits: `int()` and `float()` take signs, blanks, underscores, exponents, "nan" and digits of
every script, so the text is judged before they see it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from ..config import Settings
from ..errors import InvalidRequest
from ..events import MAX_ID
from ..names import MAX_CHANNEL_CHARACTERS, is_client_id
from ..poll import Cursor
from ..publisher import check_channel

MAX_CHANNELS_OF_A_POLL: Final = 100
MAX_LIMIT: Final = 1000

#: So that an opaque client id does not tell the address that it stands for.
_SECRET = secrets.token_bytes(16)

_DIGITS = re.compile(r"[0-9]{1,16}\Z").match
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?\Z").match
_PREFER_WAIT = re.compile(r"(?:\A|,)\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?=\Z|,|;)", re.IGNORECASE).search
_PREFIX = re.compile(r"[A-Za-z0-9_.:@~-]+\Z").match


@dataclass(slots=True)
class Asked:
    """A poll as it was asked for. `preference` is the `Prefer` that was followed, to be echoed (RFC 7240)."""

    cursors: dict[str, Cursor]
    timeout: float
    limit: int | None
    several: bool
    preference: str | None = None


class Query:
    """The parameters of a query string. Each may be given once; those that nobody asks for are ignored."""

    __slots__ = ("_repeated", "_values")

    def __init__(self, text: str) -> None:
        # By hand: Werkzeug's MultiDict costs more than the rest of a poll's parsing.
        values: dict[str, str] = {}
        self._repeated: dict[str, int] = {}
        escaped = "%" in text or "+" in text
        for pair in text.split("&") if text else ():
            name, _, value = pair.partition("=")
            if escaped:
                name, value = unquote_plus(name), unquote_plus(value, errors="replace")
            if name in values:
                self._repeated[name] = self._repeated.get(name, 1) + 1
            else:
                values[name] = value
        self._values = values

    def get(self, name: str) -> str | None:
        if name in self._repeated:
            raise InvalidRequest(f"{name} is given {self._repeated[name]} times: give it once", param=name)
        return self._values.get(name)


def integer(name: str, text: str, low: int, high: int) -> int:
    """A whole number from `low` to `high` in plain digits."""
    if not _DIGITS(text) or not low <= int(text) <= high:
        raise InvalidRequest(f"{name} is a whole number from {low} to {high}; got {text[:40]!r}", param=name)
    return int(text)


def limit(query: Query, default: int | None = None) -> int | None:
    text = query.get("limit")
    return default if text is None else integer("limit", text, 1, MAX_LIMIT)


def event_id(query: Query, name: str) -> int | None:
    text = query.get(name)
    return None if text is None else integer(name, text, 0, MAX_ID)


def prefix(query: Query) -> str:
    text = query.get("prefix")
    if text is None:
        return ""
    if not _PREFIX(text) or len(text) > MAX_CHANNEL_CHARACTERS:
        raise InvalidRequest(f"prefix begins a channel's name; got {text[:40]!r}", param="prefix")
    return text


def after_channel(query: Query) -> str:
    text = query.get("after")
    return "" if text is None else check_channel(text, "after")


def seconds(text: str, settings: Settings) -> float:
    """A hold in seconds, decimals allowed; above the maximum it is cut to it."""
    if not _DECIMAL(text):
        raise InvalidRequest(
            f"timeout is a number of seconds, 0 or more, such as 25 or 0.5; got {text[:40]!r}",
            param="timeout",
        )
    return min(float(text), settings.max_timeout_seconds)


def channel_list(text: str) -> list[str]:
    """The channels of a poll: 1 to 100 distinct names, separated by commas."""
    return distinct([check_channel(name) for name in text.split(",")], "channel")


def distinct(names: list[str], param: str = "channels") -> list[str]:
    """The names, if they are 1 to 100 and no two are alike."""
    if not 1 <= len(names) <= MAX_CHANNELS_OF_A_POLL:
        raise InvalidRequest(f"Give 1 to {MAX_CHANNELS_OF_A_POLL} channels; got {len(names)}", param=param)
    if len(set(names)) != len(names):
        raise InvalidRequest("Name each channel once", param=param)
    return names


def cursor(text: str) -> Cursor:
    if text == "latest":
        return "latest"
    if not _DIGITS(text) or int(text) > MAX_ID:
        raise InvalidRequest(
            f"last_event_id is an event's id, 0 for the oldest event, or latest; got {text[:40]!r}",
            param="last_event_id",
        )
    return int(text)


def cursors(channels: list[str], text: str | None) -> dict[str, Cursor]:
    """The cursor of each channel: one value each, in the channels' order, or 0 or `latest` for all."""
    if text is None:
        return dict.fromkeys(channels, 0)
    values = [cursor(value) for value in text.split(",", len(channels))]
    if len(values) == len(channels):
        return dict(zip(channels, values, strict=True))
    if len(values) == 1 and values[0] in (0, "latest"):
        return dict.fromkeys(channels, values[0])
    raise InvalidRequest(
        f"last_event_id is 0, latest, or {len(channels)} values separated by commas, one for each channel in order: "
        f"an event's id is no cursor for other channels; got {text[:40]!r}",
        param="last_event_id",
    )


def poll(environ: dict[str, Any], text: str, settings: Settings) -> Asked:
    """A poll by GET: channels from the path, the rest from query and headers."""
    channels = channel_list(text) if "," in text else [check_channel(text)]
    query = Query(environ.get("QUERY_STRING", ""))
    # The header wins: an EventSource that connects again keeps the URL, and cursor, that it began with.
    last = query.get("last_event_id")
    asked = Asked(
        cursors(channels, environ.get("HTTP_LAST_EVENT_ID", last)),
        settings.default_timeout_seconds,
        limit(query),
        len(channels) > 1,
    )
    return _hold(asked, query.get("timeout"), environ, settings)


def poll_of_body(environ: dict[str, Any], body: dict[str, Any], settings: Settings) -> Asked:
    """A poll by POST: `{"channels": {name: cursor}, "timeout", "limit"}`, for more than a URL holds."""
    named = body.get("channels")
    if not isinstance(named, dict):
        raise InvalidRequest('channels is an object such as {"news": 0, "user.42": "latest"}', param="channels")
    distinct([check_channel(name) for name in named])
    asked = Asked(
        {name: cursor(_number_text(value)) for name, value in named.items()},
        settings.default_timeout_seconds,
        None,
        several=True,
    )
    if body.get("limit") is not None:
        asked.limit = integer("limit", _number_text(body["limit"]), 1, MAX_LIMIT)
    timeout = body.get("timeout")
    return _hold(asked, None if timeout is None else _number_text(timeout), environ, settings)


def client_id(environ: dict[str, Any], subject: str | None = None) -> str:
    """The subject of the client's token, and the client's name for itself, if it gives a well-formed one. Without
    either an opaque one, made of its connection."""
    text: str = environ.get("HTTP_X_CLIENT_ID", "")
    if is_client_id(text):
        return text if subject is None else f"{subject}/{text}"
    if subject is not None:
        return subject
    port = environ.get("REMOTE_PORT")
    if port is None and (client := environ.get("gunicorn.socket")) is not None:
        port = client.fileno()  # the clients of a unix socket have no address
    address = f"{environ.get('REMOTE_ADDR')}:{port}"
    return hashlib.blake2b(address.encode(), digest_size=8, key=_SECRET).hexdigest()


def _hold(asked: Asked, timeout: str | None, environ: dict[str, Any], settings: Settings) -> Asked:
    prefer = environ.get("HTTP_PREFER")
    if timeout is not None:
        asked.timeout = seconds(timeout, settings)
    elif prefer is not None and (wanted := _PREFER_WAIT(prefer)):
        asked.timeout = seconds(wanted[1], settings)
        asked.preference = f"wait={wanted[1]}"
    if environ["REQUEST_METHOD"] == "HEAD":
        asked.timeout = 0
    return asked


def _number_text(value: Any) -> str:
    """A JSON value as the text that a query would have had; what is no number or text becomes one that is refused."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return repr(value)
    text = str(value)
    # Python writes 0.00001 with an exponent, however it was sent.
    return f"{value:f}" if isinstance(value, float) and "e" in text else text
