"""Who subscribes to what in this process: a client with a poll open, or that had one some seconds ago.

A long-polling client is away between two polls, so a client that leaves lingers for `BIDE_PRESENCE_SECONDS`. Nothing
is written anywhere: it is the memory of this worker. Shared by all greenlets; no call switches them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from sortedcontainers import SortedDict

#: Clients that linger in one worker; above it those that left first are forgotten early.
LINGERING = 100_000


class Subscriber(NamedTuple):
    """A client of a channel. `since` is in Unix seconds."""

    client_id: str
    transport: str
    since: float


class _Client:
    __slots__ = ("left_at", "open", "since", "transport")

    def __init__(self, transport: str) -> None:
        self.since = time.time()
        self.transport = transport
        self.open = 0
        self.left_at = 0.0


class Presence:
    """The subscribers of this process; `seconds` is how long a client lingers."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._channels: SortedDict[str, dict[str, _Client]] = SortedDict()
        self._left: deque[tuple[float, str, str]] = deque()

    def counts(self) -> dict[str, int]:
        """How much there is of everything that could be left behind."""
        return {"present": sum(map(len, self._channels.values())), "lingering": len(self._left)}

    def clients(self, channel: str) -> Collection[str]:
        """The ids of the channel's subscribers, good until greenlets are switched."""
        self.expire()
        return self._channels.get(channel, {}).keys()

    def subscribers(self, channel: str) -> list[Subscriber]:
        """The channel's subscribers, those who came first at the front."""
        self.expire()
        clients = self._channels.get(channel, {})
        return [Subscriber(client_id, client.transport, client.since) for client_id, client in clients.items()]

    def subscribed(self, channels: Iterable[str]) -> list[str]:
        """Those of the channels that have a subscriber."""
        self.expire()
        return [channel for channel in channels if channel in self._channels]

    def channels(self, prefix: str, after: str) -> Iterator[str]:
        """Names of channels with a subscriber, by code point, that begin with `prefix` and are above `after`."""
        self.expire()
        for name in self._channels.irange(max(prefix, after)):
            if not name.startswith(prefix):
                return
            if name > after:
                yield name

    def expire(self) -> None:
        """Forget who left too long ago."""
        now = time.monotonic()
        while self._left and (self._left[0][0] + self._seconds <= now or len(self._left) > LINGERING):
            left_at, channel, client_id = self._left.popleft()
            clients = self._channels.get(channel)
            client = clients.get(client_id) if clients else None
            # It may have come back since, or left once more.
            if clients is None or client is None or client.open or client.left_at != left_at:
                continue
            del clients[client_id]
            if not clients:
                del self._channels[channel]

    def enter(self, channels: Iterable[str], client_id: str, transport: str) -> None:
        """Note the client as a subscriber of the channels, until `leave` with the same ones and a moment after."""
        for channel in channels:
            clients = self._channels.get(channel)
            if clients is None:
                clients = self._channels[channel] = {}
            client = clients.get(client_id)
            if client is None:
                client = clients[client_id] = _Client(transport)
            client.open += 1
            client.transport = transport

    def leave(self, channels: Iterable[str], client_id: str) -> None:
        """The client has one request less for the channels."""
        now = time.monotonic()
        for channel in channels:
            client = self._channels[channel][client_id]
            client.open -= 1
            client.left_at = now
            self._left.append((now, channel, client_id))
        self.expire()
