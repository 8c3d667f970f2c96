"""Messages: JSON as the publisher sent it, checked once, kept as one line of compact text.

Numbers keep their text: 1.0 stays 1.0 and an integer of forty digits loses none, because the text is stored and
never a value that was parsed and printed again. What no client could read back is refused: lone surrogates (no
UTF-8), numbers that overflow a double, two members of one name, nesting that overruns a parser's stack.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final, NoReturn

import msgspec

from .errors import InvalidBody, InvalidRequest, MessageRequired, TooLarge
from .names import TYPE_RULE, is_type

MAX_DEPTH: Final = 64

_WHITE = b" \t\r\n"
_SPACE = re.compile(rb"[ \t\r\n]").search
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]").search
#: Brackets as the steps that they are, as signed bytes; everything else goes.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidBody(f"JSON has no {name}: send a finite number, null or a string")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise InvalidBody(f"The number {text[:40]} is beyond what a double can hold: send a finite number or a string")
    return value


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise InvalidBody("An object has two members of one name: send each name once")
    return value


# `len` stands for int(): the value of an integer is never used, and int() gives up at 4,300 digits.
_decoder = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_float=_finite, parse_int=len, parse_constant=_refuse_constant
)
_plain_decoder = json.JSONDecoder(parse_int=lambda text: int(text) if len(text) < 20 else text)
_encode = msgspec.json.Encoder().encode


def _cut_at_quotes(text: bytes) -> list[bytes]:
    """Accepted JSON cut into what is outside of strings, inside, outside, and so on.

    Without a step of Python's for each of them: a text of short strings held the worker for a third of a second. What
    is escaped is bytes instead that UTF-8 does not have. The first of several backslashes begins an escape.
    """
    return text.replace(rb"\\", b"\xff").replace(rb"\"", b"\xfe").split(b'"')


def _check_depth(text: bytes, bound: int) -> None:
    if text.count(b"[") + text.count(b"{") <= bound:
        return
    steps = b"".join(_cut_at_quotes(text)[::2]).translate(_STEPS, _NO_BRACKETS)
    if max(accumulate(memoryview(steps).cast("b")), default=0) > bound:
        raise InvalidBody(f"A message may be nested {MAX_DEPTH} deep")


def check_json(body: bytes, pause: Callable[[], None] = lambda: None) -> Any:
    """Return the value of a JSON text after every check but the bounds in bytes; integers in it are not their values.

    A body may nest two levels more than a message: its own object, and the list of a batch. `pause` is called between
    two steps, each of which takes some tens of milliseconds for a mebibyte of brackets. Raises InvalidBody.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidBody(f"The body is not UTF-8: byte {error.start} starts no character") from None
    try:
        value = _decoder.decode(text)
    except RecursionError:
        raise InvalidBody(f"A message may be nested {MAX_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        raise InvalidBody(f"The body is not JSON: {error.msg} at character {error.pos}") from None
    pause()
    # Only now: it counts on strings that end.
    _check_depth(body, MAX_DEPTH + 2)
    if _SURROGATE_ESCAPE(text):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidBody("A string has half a surrogate pair: send whole characters") from None
    return value


def plain_value(body: bytes) -> Any:
    """The value of a JSON text that `check_json` accepted; an integer too long to mean anything to us stays text."""
    return _plain_decoder.decode(body.decode("utf-8"))


def compact(text: bytes) -> bytes:
    """The same JSON without the space between its tokens. Expects text that `check_json` accepted."""
    if not _SPACE(text):
        return text
    pieces = _cut_at_quotes(text)
    pieces[::2] = b'"'.join(pieces[::2]).translate(None, _WHITE).split(b'"')
    return b'"'.join(pieces).replace(b"\xfe", rb"\"").replace(b"\xff", rb"\\")


def from_text(text: str) -> bytes:
    """A plain text as a JSON string."""
    try:
        return _encode(text)
    except UnicodeEncodeError:
        raise InvalidBody("The text has half a surrogate pair: send whole characters") from None


def from_value(value: Any) -> bytes:
    """Any JSON value of Python's as compact text. Raises InvalidBody for what JSON cannot say."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidBody("A string has half a surrogate pair: send whole characters") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidBody(f"The message is not JSON: {error}") from None
    check_json(encoded)
    return encoded


def check_message(message: bytes, max_bytes: int, param: str = "message") -> bytes:
    """Return a compact message that has content and fits. Raises MessageRequired, TooLarge, InvalidBody."""
    if message in (b"null", b'""'):
        raise MessageRequired("A message may be any JSON value but null and the empty string", param=param)
    if len(message) > max_bytes:
        raise TooLarge(
            f"A message may have {max_bytes:,} bytes as compact JSON; this one has {len(message):,}",
            param=param,
        )
    _check_depth(message, MAX_DEPTH)
    return message


def check_type(kind: Any) -> str | None:
    """Return a well-formed event type, or None where none is given. Raises InvalidRequest."""
    if kind is None:
        return None
    if not isinstance(kind, str) or not is_type(kind):
        raise InvalidRequest(f"A type is {TYPE_RULE}", param="type")
    return kind
