"""What a request is answered by docs/protocol.md: the server of these tests without its faults and its sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .store import Following, RefusedError, Store

#: No channel's events end below this, so that no answer is cut for its size here.
MOST_EVENTS = 1000
MOST_SECONDS = 55.0
LONGEST_TARGET = 8_000
NAME = re.compile(r"[A-Za-z0-9_.:@~-]{1,128}")


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def kind(self) -> str:
        return {"subscribe": "poll", "publish": "publish"}.get(self.path.split("/")[1], "other")


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    #: Whether it brings the client on: one that says the time is up does not.
    is_fruitful: bool = True


class Hold:
    """What a poll says of itself while it is held."""

    def __init__(self, gone: Callable[[], bool], ended: Callable[[], bool] = lambda: False) -> None:
        self.gone = gone
        self.ended = ended
        self.following: Following | None = None


class Contract:
    def __init__(self, store: Store) -> None:
        self._store = store

    def answer(self, request: Request, hold: Hold, at_once: bool = False) -> Answer | None:
        """None if the client went away while its poll was held."""
        try:
            return self._route(request, hold, at_once)
        except RefusedError as refused:
            return problem(refused.status, refused.kind, str(refused), refused.param)

    def _route(self, request: Request, hold: Hold, at_once: bool) -> Answer | None:
        if len(request.target) > LONGEST_TARGET:
            raise RefusedError(414, "uri-too-long", "the request line is too long")
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["subscribe", names]:
                return self._poll_by_query(request, names.split(","), hold, at_once)
            case "POST", ["subscribe"]:
                asked = json.loads(request.body)
                seconds = 0.0 if at_once else float(asked.get("timeout", 30))
                return self._poll(asked["channels"], True, seconds, asked.get("limit"), hold)
            case "POST", ["publish", name]:
                return self._publish(request, name)
            case "DELETE", ["channels", name]:
                self._store.delete(name)
                return Answer(204, b"")
            case "GET", ["channels", name] if (entry := self._store.entry(name)) is not None:
                return good(entry)
            case "GET", ["channels", name, "events"]:
                return self._history(name)
        raise RefusedError(404, "not-found", "there is nothing here")

    def _poll_by_query(self, request: Request, names: list[str], hold: Hold, at_once: bool) -> Answer | None:
        if len(set(names)) < len(names) or not all(NAME.fullmatch(name) for name in names):
            raise RefusedError(400, "invalid-parameter", "the names cannot be used", "channel")
        query = parse_qs(urlsplit(request.target).query, keep_blank_values=True)
        for parameter, values in query.items():
            if len(values) > 1 and parameter in ("last_event_id", "timeout", "limit"):
                raise RefusedError(400, "invalid-parameter", f"{parameter} came twice", parameter)
        said = request.headers.get("last-event-id") or query.get("last_event_id", ["0"])[0]
        cursors = said.split(",")
        if len(cursors) == 1 and (len(names) == 1 or said in ("0", "latest")):
            cursors *= len(names)
        if len(cursors) != len(names) or not all(re.fullmatch(r"[0-9]{1,16}|latest", each) for each in cursors):
            raise RefusedError(400, "invalid-parameter", "one cursor for each channel is needed", "last_event_id")
        asked = {name: each if each == "latest" else int(each) for name, each in zip(names, cursors, strict=True)}
        limit = _number(query, "limit", r"[0-9]{1,4}")
        seconds = _number(query, "timeout", r"[0-9]+(\.[0-9]+)?")
        seconds = 0.0 if at_once else 30.0 if seconds is None else seconds
        return self._poll(asked, len(names) > 1, seconds, None if limit is None else int(limit), hold)

    def _poll(
        self, asked: dict[str, Any], several: bool, seconds: float, limit: int | None, hold: Hold
    ) -> Answer | None:
        if limit is not None and not 1 <= limit <= MOST_EVENTS:
            raise RefusedError(400, "invalid-parameter", "limit is 1 to 1,000", "limit")
        hold.following = following = self._store.begin(asked)
        if not self._store.held(following, min(seconds, MOST_SECONDS), hold.gone):
            return None
        hold.following = None
        events = self._store.take(following, limit or 1)
        cursors = list(following.cursors.values())
        cursor = ",".join(map(str, cursors)) if several else cursors[0]
        whose = {"channels": list(asked)} if several else {"channel": next(iter(asked))}
        if limit is not None:
            said = {**({} if events else {"status": "timeout"}), **whose, "events": events, "last_event_id": cursor}
        elif events:
            said = {**events[0], **({**whose, "last_event_id": cursor} if several else {})}
        else:
            said = {"status": "timeout", **whose, "last_event_id": cursor}
        if following.gaps and several:
            said["gaps"] = {name: self._store.oldest(name) for name in asked if name in following.gaps}
        elif following.gaps:
            said |= {"gap": True, "oldest_event_id": self._store.oldest(next(iter(asked)))}
        answer = good(said, bool(events or following.gaps))
        answer.headers |= {"Last-Event-ID": str(cursor), "Cache-Control": "no-store"}
        return answer

    def _publish(self, request: Request, name: str) -> Answer:
        asked = json.loads(request.body)
        messages = asked["messages"] if "messages" in asked else [asked.get("message")]
        if any(message in (None, "") for message in messages):
            raise RefusedError(400, "message-required", "a message is missing", "message")
        key = request.headers.get("idempotency-key")
        known = key is not None and key in self._store.channels[name].keys if name in self._store.channels else False
        ids = self._store.append(name, messages, asked.get("type"), key)
        said: dict[str, Any] = {"status": "published", "channel": name, "event_id": ids[-1]}
        if "messages" in asked:
            said["event_ids"] = ids
        answer = good(said)
        if known:
            answer.headers["Idempotency-Replayed"] = "true"
        return answer

    def _history(self, name: str) -> Answer:
        following = self._store.begin({name: 0})
        events = self._store.take(following, MOST_EVENTS)
        said = {"channel": name, "events": events, "oldest_event_id": self._store.oldest(name), "gap": False}
        return good({**said, "last_event_id": following.cursors[name]})


def good(said: Any, is_fruitful: bool = True) -> Answer:
    body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(200, body, {"Content-Type": "application/json"}, is_fruitful)


def problem(status: int, kind: str, detail: str, param: str | None = None) -> Answer:
    title = kind.replace("-", " ")
    said = {"type": f"/problems/{kind}", "title": title, "status": status, "error": title, "detail": detail}
    if param is not None:
        said["param"] = param
    headers = {"Content-Type": "application/problem+json"}
    return Answer(status, json.dumps(said).encode(), headers, is_fruitful=False)


def _number(query: dict[str, list[str]], name: str, form: str) -> float | None:
    if name not in query:
        return None
    if not re.fullmatch(form, query[name][0]):
        raise RefusedError(400, "invalid-parameter", f"{name} is a number in plain digits", name)
    return float(query[name][0])
