"""The request body: bounded in bytes and in time, whole or refused; and the messages in it.

What plain WSGI gets wrong is decided here: a chunked body over the bound is refused and not cut, one that is shorter
than it said is an error and not half a message, a chunk that is none is a 400 and not a failure, and a body that
never comes gives its greenlet back after `BODY_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

import gevent
import msgspec
from gunicorn.http.errors import NoMoreData, ParseException

from .. import guard
from ..errors import BodyTimeout, InvalidBody, InvalidRequest, MessageRequired, TooLarge, UnsupportedBody
from ..lifecycle import UNREAD
from ..messages import check_json, check_type, compact, from_text, plain_value
from ..publisher import MAX_BATCH

#: A body has this long to arrive whole.
BODY_SECONDS: Final = 10.0
#: A form has a field or two; more is not ours.
MAX_FIELDS: Final = 100

_ACCEPTED = "application/json, text/plain or application/x-www-form-urlencoded, in UTF-8"


@dataclass(slots=True)
class Publication:
    """What a body asks to publish: compact messages, one type for all, and for several channels their names."""

    messages: list[bytes]
    batch: bool
    type: str | None
    channels: Any = None


class _Publishing(msgspec.Struct):
    message: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_publishing = msgspec.json.Decoder(_Publishing).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read(environ: dict[str, Any], max_bytes: int) -> bytes:
    """Return the whole body, at most `max_bytes`. Raises TooLarge, InvalidBody, BodyTimeout, UnsupportedBody."""
    coding = environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedBody(f"Send the body as it is, without Content-Encoding; got {coding[:40]!r}")
    length = environ.get("CONTENT_LENGTH")
    transfer = environ.get("HTTP_TRANSFER_ENCODING", "")
    if transfer.strip().lower() not in ("", "chunked"):
        raise UnsupportedBody(f"Send the body whole or in chunks, not as {transfer[:40]!r}")
    chunked = not length and transfer != ""
    if not length and not chunked:
        return b""
    declared = int(length) if length else None
    if declared is not None and declared > max_bytes:
        raise TooLarge(f"A body may have {max_bytes:,} bytes (BIDE_MAX_BODY_BYTES); this one says {declared:,}")
    try:
        with gevent.Timeout(BODY_SECONDS):
            body: bytes = environ["wsgi.input"].read(max_bytes + 1 if declared is None else declared)
    except gevent.Timeout:
        raise BodyTimeout(f"A body must arrive within {BODY_SECONDS:g} seconds") from None
    except (NoMoreData, OSError):
        raise InvalidBody("The connection ended within the body") from None
    except ParseException:
        raise InvalidBody("The body is not well-formed chunks (RFC 9112, section 7.1)") from None
    if declared is not None and len(body) < declared:
        raise InvalidBody(f"The body has {len(body):,} bytes where Content-Length says {declared:,}")
    if len(body) > max_bytes:
        raise TooLarge(f"A body may have {max_bytes:,} bytes (BIDE_MAX_BODY_BYTES)")
    environ.pop(UNREAD, None)
    return body


def publication(environ: dict[str, Any], max_bytes: int) -> Publication:
    """Read a body that publishes, in any of its forms. Raises what `read` raises, and MessageRequired."""
    body = read(environ, max_bytes)
    content_type = environ.get("CONTENT_TYPE", "")
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    charset = _charset(parameters)
    if charset not in ("utf-8", "utf8", "us-ascii", ""):
        raise UnsupportedBody(f"Send {_ACCEPTED}; got charset {charset[:40]!r}")
    if media == "application/json" or media.endswith("+json"):
        return _of_json(body, environ.get("gunicorn.socket"))
    if media == "text/plain":
        return Publication([from_text(_decoded(body))], False, None)
    if media == "application/x-www-form-urlencoded":
        return _of_form(body)
    if not media and not body:
        raise MessageRequired(f"Send a body with a message: {_ACCEPTED}", param="message")
    raise UnsupportedBody(f"Send {_ACCEPTED}; got {media[:80]!r}")


def json_object(environ: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """Read a body that is a JSON object and nothing else."""
    body = read(environ, max_bytes)
    media = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise UnsupportedBody(f"Send application/json; got {media[:80]!r}")
    if not isinstance(check_json(body, partial(guard.take_turns, environ.get("gunicorn.socket"))), dict):
        raise InvalidBody("The body is a JSON object")
    value: dict[str, Any] = plain_value(body)
    return value


def _of_json(body: bytes, client: Any) -> Publication:
    if not body.strip():
        raise MessageRequired('Send a JSON object such as {"message": "hello"}', param="message")
    value = check_json(body, pause := partial(guard.take_turns, client))
    pause()
    if not isinstance(value, dict):
        raise InvalidBody('The body is a JSON object such as {"message": "hello"}')
    asked = _decode_publishing(body)
    kind = check_type(value.get("type"))
    channels = value.get("channels")
    message, messages = asked.message, asked.messages
    if message is not msgspec.UNSET and messages is not msgspec.UNSET:
        raise InvalidRequest("Send message or messages, not both", param="messages")
    if messages is not msgspec.UNSET:
        if not isinstance(value["messages"], list) or not value["messages"]:
            raise InvalidRequest("messages is a list of at least one message", param="messages")
        if (count := len(value["messages"])) > MAX_BATCH:
            # Before they are cut out: a body has room for half a million.
            raise InvalidRequest(
                f"A batch has at most {MAX_BATCH:,} messages; this one has {count:,}", param="messages"
            )
        batch = []
        for raw in _decode_list(messages):
            batch.append(compact(bytes(raw)))
            pause()
        return Publication(batch, True, kind, channels)
    if message is msgspec.UNSET:
        raise MessageRequired('Send a JSON object such as {"message": "hello"}', param="message")
    return Publication([compact(bytes(message))], False, kind, channels)


def _of_form(body: bytes) -> Publication:
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except UnicodeDecodeError:
        raise InvalidBody("A form is percent-encoded UTF-8") from None
    except ValueError:
        raise InvalidBody(f"A form has at most {MAX_FIELDS} fields") from None
    named: dict[str, str] = {}
    for name, value in fields:
        if name in ("message", "type") and name in named:
            raise InvalidRequest(f"The field {name} comes twice: send it once", param=name)
        named[name] = value
    if "message" not in named:
        raise MessageRequired(
            "A form has a field named message. To send this body as a text use 'Content-Type: text/plain', "
            "as JSON 'Content-Type: application/json'",
            param="message",
        )
    return Publication([from_text(named["message"])], False, check_type(named.get("type")))


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidBody(f"The body is not UTF-8: byte {error.start} starts no character") from None
