"""The names of everything that the Redis store has on a server, all below one prefix."""

from __future__ import annotations

from typing import Final

#: In the index, below all names of channels, is one name that says when it was begun (`redis_base.lua`).
ABOUT_INDEX: Final = b"-", b"(\x02", b"LIMIT", 0, 1
CHANNELS_FROM: Final = b"[\x02"


class Keys:
    """Names below the prefix, which has neither braces nor colons. The server's databases share their topics: these
    have the database's number in their names."""

    def __init__(self, prefix: str, database: int) -> None:
        self._channel = b"{%b:" % prefix.encode()
        own = b"{%b}" % prefix.encode()
        self.base = own + b":base"
        self.index = own + b":channels"
        self.policy = own + b":policy"
        self.sweeper = own + b":sweeper"
        self.rates = own + b":rates"
        self.revocations = own + b":revoked"
        #: Not keys, but topics of Pub/Sub.
        self.controls = own + b":controls:%d" % database
        self._events = b"}:e%d" % database
        self._to = own + b":to:"

    def of(self, channel: str) -> list[bytes]:
        """A channel's keys, in the order of redis.lua."""
        name = self._channel + channel.encode()
        return [name + b"}:s", name + b"}:h", name + b"}:k", name + b"}:x"]

    def topic(self, channel: str) -> bytes:
        """Where the channel's events are announced."""
        return self._channel + channel.encode() + self._events

    def channel_of(self, topic: bytes) -> str:
        """The channel of a topic."""
        return topic[len(self._channel) : -len(self._events)].decode()

    def to(self, mark: str) -> bytes:
        """The topic that one process hears alone."""
        return self._to + mark.encode()
