"""What a server's answer says: its JSON, or in a sentence why there is none."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import requests

from .backoff import retry_after_of
from .errors import BadAnswer, NotAllowed, Refused, Unavailable

#: Statuses below 500 after which the same request may be tried again.
TRANSIENT: Final = frozenset({408, 425, 429})


class Answer(NamedTuple):
    """What a server said: `body` is its JSON, an object."""

    headers: Mapping[str, str]
    body: dict[str, Any]


def answer_of(response: requests.Response) -> Answer:
    """Raises ClientError for one that is not what was asked for."""
    status = response.status_code
    if status == 204:
        return Answer(response.headers, {})
    body = json_of(response.content)
    if 200 <= status < 300:
        if not isinstance(body, dict):
            raise BadAnswer(f"{_place(response)} does not answer as Bide does: what it says is no JSON object", status)
        return Answer(response.headers, body)
    told = body if isinstance(body, dict) else {}
    text = told.get("detail") or told.get("error") or response.reason or "no reason given"
    sentence = f"{_place(response)} says {status}: {text}"
    if status in TRANSIENT or status >= 500:
        raise Unavailable(sentence, status, retry_after_of(response.headers.get("Retry-After")))
    if 300 <= status < 400 and "Location" in response.headers:
        sentence = f"{_place(response)} leads to {response.headers['Location']}: give the client that server's URL"
    param = told.get("param")
    kind = NotAllowed if status in (401, 403) else Refused
    raise kind(sentence, status, param if isinstance(param, str) else None, by_bide="error" in told)


def _place(response: requests.Response) -> str:
    """Where it was asked, without the query."""
    return str(response.url).partition("?")[0]


def json_of(content: bytes) -> Any:
    """What a body says, None where it is no JSON. An integer of more digits than Python takes stays a text, as
    sys.set_int_max_str_digits has it: whoever published it must not hold up all that follows."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(content)
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(content, parse_int=_integer)
    return None


def _integer(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text
