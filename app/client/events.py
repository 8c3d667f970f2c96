"""What a client hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import BadAnswer


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `message` is the JSON that was published, `timestamp` Unix seconds by the server's clock. Ids only
    grow within a channel; nothing else orders events."""

    id: int
    channel: str
    message: Any
    timestamp: float
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of the channel after the id `after` may have existed that nobody can have any more. `oldest_event_id` is
    the first that is left, None where none is."""

    channel: str
    after: int
    oldest_event_id: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a channel's history, oldest first. `last_event_id` is the cursor from which it goes on; `gap`: events
    between the id that was asked for and the first of these may have existed."""

    events: list[Event]
    oldest_event_id: int | None
    last_event_id: int
    gap: bool


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel as the server lists it. `subscribers` is how many there are, None where the server does not tell."""

    channel: str
    subscribers: int | None
    events: int
    oldest_event_id: int | None
    last_event_id: int | None
    last_published_at: float | None


def event_of(found: Any) -> Event:
    """An event from its JSON object, whose other members are ignored. Raises BadAnswer."""
    if not isinstance(found, Mapping) or not isinstance(found.get("id"), int) or "message" not in found:
        raise BadAnswer("The answer has something in it that is no event")
    channel, timestamp, type = found.get("channel"), found.get("timestamp"), found.get("type")
    if not isinstance(channel, str) or not isinstance(timestamp, int | float):
        raise BadAnswer("The answer has an event without a channel or a timestamp")
    return Event(found["id"], channel, found["message"], float(timestamp), type if isinstance(type, str) else None)
