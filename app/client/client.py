"""A server as its clients see it."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

from .backoff import Backoff
from .errors import BadAnswer, ClientError, Unavailable
from .events import ChannelInfo, Event, Gap, Page, event_of
from .listening import Listening
from .places import Places, Since
from .subscription import Subscription
from .wire import Wire

Asked = TypeVar("Asked")

log = logging.getLogger("bide.client")

#: One try of a call, and the longest pause between two.
CALL_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 5.0
#: Calls of several threads at once that keep their connections.
CONNECTIONS: Final = 10


class Client:
    """Publishes to the server at `url` and follows its channels. May be shared by threads and greenlets.

    `token` goes with every request as a bearer token. `client_id` names this client among the subscribers (1 to 64 of
    `A-Z a-z 0-9 _ . : -`); without one it gets a random name. A call is tried again for `patience` seconds while the
    server cannot be reached or is not well. Raises ValueError for a URL or a token that there cannot be.
    """

    def __init__(
        self, url: str, *, token: str | None = None, client_id: str | None = None, patience: float = 30.0
    ) -> None:
        self._url = url
        self._token = token
        self._id = client_id or f"python-{uuid.uuid4().hex[:12]}"
        self._patience = patience
        self._wire = self._new_wire(CONNECTIONS)
        self._wires: weakref.WeakSet[Wire] = weakref.WeakSet()
        #: Re-entrant: a signal's handler may close the client.
        self._lock = threading.RLock()

    # -- publishing

    def publish(self, channel: str, message: Any, *, type: str | None = None, key: str | None = None) -> int:
        """Publish one event and return its id. It is stored once however often it had to be sent: it has an
        idempotency key, of its own unless `key` is one (1 to 255 visible ASCII characters), which the server remembers
        for ten minutes.

        Raises Unavailable where it was not acknowledged in time (it may be stored all the same: publish it again with
        the same key), Refused, and ValueError or TypeError for a message that is no JSON.
        """
        return self._publish(channel, {"message": message}, type, key)[-1]

    def publish_many(
        self, channel: str, messages: Sequence[Any], *, type: str | None = None, key: str | None = None
    ) -> list[int]:
        """Publish a batch, all of it or none, with nothing between its events; see `publish`. Returns their ids."""
        return self._publish(channel, {"messages": list(messages)}, type, key)

    def _publish(self, channel: str, content: dict[str, Any], type: str | None, key: str | None) -> list[int]:
        if type is not None:
            content["type"] = type
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        path = f"/publish/{quote(channel, safe='')}"

        def publish(seconds: float) -> list[int]:
            body = self._wire.ask("POST", path, None, content, headers, seconds).body
            ids = body.get("event_ids", [body.get("event_id")])
            # Within what is tried again: whoever said 200 without an id has stored nothing that we know of.
            if not isinstance(ids, list) or not ids or not all(isinstance(id, int) for id in ids):
                raise BadAnswer("What answers the publish does not tell its id, as Bide does")
            return ids

        return self._insist(publish)

    # -- subscribing

    def subscribe(
        self,
        *channels: str,
        since: Since | Mapping[str, Since] = "oldest",
        cursor_file: str | os.PathLike[str] | None = None,
        on_gap: Callable[[Gap], object] | None = None,
        hold: float = 30.0,
        limit: int = 100,
    ) -> Subscription:
        """The events of some channels (100 at most), to be iterated: for ever, or until it or the client is closed.

        `since`: "oldest", "latest", or an id after which it begins; for single channels as a mapping. With a
        `cursor_file` it goes on where the last one with that file had come to; it is of one subscription at a time.
        `on_gap` is called before the events that follow a gap; without it a warning is logged. `hold` is how many
        seconds a poll waits (1 at least; the server has a bound of its own), `limit` how many events come at once.

        Raises ValueError for what cannot be asked, ClientError for a file that cannot be used.
        """
        return self._subscription(channels, since, cursor_file, on_gap, hold, limit)[0]

    def listen(
        self,
        callback: Callable[[Event], object],
        *channels: str,
        since: Since | Mapping[str, Since] = "oldest",
        cursor_file: str | os.PathLike[str] | None = None,
        on_gap: Callable[[Gap], object] | None = None,
        hold: float = 30.0,
        limit: int = 100,
    ) -> Listening:
        """The same in a thread, which calls `callback` with each event."""
        return Listening(callback, *self._subscription(channels, since, cursor_file, on_gap, hold, limit))

    def _subscription(
        self,
        channels: Sequence[str],
        since: Since | Mapping[str, Since],
        cursor_file: str | os.PathLike[str] | None,
        on_gap: Callable[[Gap], object] | None,
        hold: float,
        limit: int,
    ) -> tuple[Subscription, Wire]:
        if not hold >= 1:
            raise ValueError(f"A poll is held for 1 second at least, not {hold}")
        if not 1 <= limit <= 1000:
            raise ValueError(f"Between 1 and 1000 events come at once, not {limit}")
        wire = self._new_wire(1)
        subscription = Subscription(wire, Places(channels, since, cursor_file), on_gap, hold, limit)
        with self._lock:
            self._wires.add(wire)
        if self._wire.is_cut:  # looked at last: who closes the client now finds the wire
            raise ClientError("The client was closed")
        return subscription, wire

    # -- what there is

    def history(
        self, channel: str, *, after: int | None = None, before: int | None = None, limit: int | None = None
    ) -> Page:
        """Events that are kept, oldest first: those after an id, or the last ones before one; 100 unless told."""
        given = {"after": after, "before": before, "limit": limit}
        body = self._get(f"/channels/{quote(channel, safe='')}/events", given)
        try:
            events = [event_of(each) for each in body["events"]]
            return Page(events, body["oldest_event_id"], int(body["last_event_id"]), bool(body["gap"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadAnswer("The server does not answer with a page of history") from error

    def channels(self, prefix: str = "") -> Iterator[ChannelInfo]:
        """The channels whose names begin so, by name; the server is asked page by page."""
        after: str | None = None
        while True:
            body = self._get("/channels", {"prefix": prefix or None, "after": after, "limit": 1000})
            try:
                for each in body["channels"]:
                    told = [each.get(name) for name in ("oldest_event_id", "last_event_id", "last_published_at")]
                    yield ChannelInfo(each["channel"], each.get("subscribers"), each["events"], *told)
            except (KeyError, TypeError, AttributeError) as error:
                raise BadAnswer("The server does not answer with a list of channels") from error
            after = body.get("next")
            if after is None:
                return

    def delete(self, channel: str) -> None:
        """Remove all events of a channel; whoever follows it is told of a gap."""
        path = f"/channels/{quote(channel, safe='')}"
        self._insist(lambda seconds: self._wire.ask("DELETE", path, seconds=seconds))

    def _get(self, path: str, params: Mapping[str, object]) -> dict[str, Any]:
        sent = {name: str(value) for name, value in params.items() if value is not None}
        return self._insist(lambda seconds: self._wire.ask("GET", path, sent, seconds=seconds)).body

    # -- the rest

    def close(self) -> None:
        """End every subscription and call that is on its way, from any thread or greenlet."""
        self._wire.cut()
        with self._lock:
            wires = list(self._wires)
        for wire in wires:
            wire.cut()
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _new_wire(self, connections: int) -> Wire:
        return Wire(self._url, self._token, self._id, connections)

    def _insist(self, ask: Callable[[float], Asked]) -> Asked:
        """Ask until there is an answer, with so many seconds for each; no longer than there is patience."""
        ends_at = time.monotonic() + self._patience
        backoff = Backoff(PAUSE_SECONDS)
        is_told = False
        while True:
            left = ends_at - time.monotonic()
            try:
                return ask(min(CALL_SECONDS, max(left, 1.0)))
            except Unavailable as error:
                left = ends_at - time.monotonic()
                wait = backoff.seconds(error.retry_after)
                if left <= 0 or (error.retry_after or 0) > left:
                    raise
                if not is_told:
                    is_told = True
                    log.warning("%s; trying again for up to %.0f s", error, left)
            # The last try is when the time is over.
            self._wire.rest(min(wait, left))
            if self._wire.is_cut:
                raise ClientError("The client was closed")
