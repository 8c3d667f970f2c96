"""Lines of standard input as messages, in the groups in which they are published."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from typing import Any, Final, NoReturn

#: No server takes a longer message.
LINE_BYTES: Final = 64 * 1024 * 1024
PIECE_BYTES: Final = 64 * 1024


def groups(number: int, most: int, *, is_exact: bool) -> Iterator[list[bytes]]:
    """The lines that can be read from a descriptor, without their ends: `most` at a time, and fewer at its end. Where
    it is not `is_exact` nothing waits for lines that have not come yet. A line may be cut after LINE_BYTES."""
    waiting: list[bytes] = []
    rest = bytearray()
    while piece := os.read(number, PIECE_BYTES):
        *whole, last = piece.split(b"\n")
        if whole:
            waiting += [bytes(rest) + whole[0], *whole[1:]]
            rest = bytearray(last)
        elif len(rest) > LINE_BYTES:
            break
        else:
            rest += last
        while len(waiting) >= most or (waiting and not is_exact):
            yield waiting[:most]
            del waiting[:most]
    if rest:
        waiting.append(bytes(rest))
    if waiting:
        yield waiting


def message_of(line: bytes, *, is_json: bool) -> Any:
    """What a line says. Raises ValueError, whose text goes on after "line 3"."""
    if len(line) > LINE_BYTES:
        raise ValueError(f"has more than {LINE_BYTES} bytes")
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if not text:
        raise ValueError("is empty")
    if not is_json:
        return text
    message = parsed(text)
    if message is None or message == "":
        raise ValueError("is no message: neither null nor an empty text can be one")
    return message


def parsed(text: str) -> Any:
    """JSON by the server's rules, as far as Python would forget what was wrong with it. Raises ValueError."""
    try:
        found = json.loads(
            text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite, parse_int=_integer
        )
        json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError:
        raise ValueError("is no JSON that a server takes: half a surrogate pair is no character") from None
    except RecursionError:
        raise ValueError("is no JSON that a server takes: it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} at character {error.pos + 1}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("has a name twice in one object")
    return found


def _finite(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError(f"is no JSON that a server takes: the number {text[:40]} is too large")
    return found


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"has an integer of {len(text)} digits, which are too many") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"is no JSON: there is no {name}")
