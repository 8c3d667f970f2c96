"""What travels: an event with its bytes, and the page that answers a poll.

An event is encoded once, when it is first needed, and its bytes answer every poll that asks for it; a page joins
bytes and never touches a JSON encoder for a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

#: Cursors and ids are below this, so that JavaScript's numbers hold them.
MAX_ID = 2**53 - 1

encode = msgspec.json.Encoder().encode


class Event:
    """One message of one channel, immutable.

    `prev` is the id that the channel's head had before it (what proves that nothing lies between two events), `at_us`
    the store's clock at append in microseconds since 1970, `json` the event as clients get it.
    """

    __slots__ = ("at_us", "channel", "id", "json", "prev", "type")

    def __init__(self, channel: str, id: int, prev: int, at_us: int, type: str | None, message: bytes) -> None:
        self.channel = channel
        self.id = id
        self.prev = prev
        self.at_us = at_us
        self.type = type
        tail = b"}" if type is None else b',"type":"%b"}' % type.encode()
        # Neither a channel nor a type can hold a character that JSON escapes.
        self.json = b'{"id":%d,"channel":"%b","message":%b,"timestamp":%b%b' % (
            id,
            channel.encode(),
            message,
            repr(at_us / 1e6).encode(),
            tail,
        )

    def __repr__(self) -> str:
        return f"Event({self.json.decode()})"


def cursor_text(cursors: Iterable[int]) -> str:
    """A list cursor as clients send it back: the channels' cursors in the order asked."""
    return ",".join(map(str, cursors))


@dataclass(slots=True)
class Page:
    """What a poll returns: events oldest first, the next cursor of each channel, and the gaps it met.

    `gaps` maps a channel to the id of its oldest retained event, None where none is retained. `several` and `batch`
    say which of the four forms the client asked for: one channel or a list, one event or up to a limit.
    """

    cursors: dict[str, int]
    events: Sequence[Event] = ()
    gaps: Mapping[str, int | None] = field(default_factory=dict)
    several: bool = False
    batch: bool = False

    @property
    def last_event_id(self) -> str:
        """The cursor to send next."""
        return cursor_text(self.cursors.values())

    def body(self) -> bytes:
        """The answer's JSON."""
        if self.batch:
            joined = b",".join([event.json for event in self.events])
            status = b"" if self.events else b'"status":"timeout",'
            return b'{%b%b,"events":[%b],"last_event_id":%b%b}' % (
                status,
                self._channels(),
                joined,
                self._cursor(),
                self._gap(),
            )
        if not self.events:
            return b'{"status":"timeout",%b,"last_event_id":%b%b}' % (
                self._channels(),
                self._cursor(),
                self._gap(),
            )
        event = self.events[0].json
        if self.several:
            return b'%b,%b,"last_event_id":%b%b}' % (
                event[:-1],
                self._channels(),
                self._cursor(),
                self._gap(),
            )
        return b"%b%b}" % (event[:-1], self._gap()) if self.gaps else event

    def _channels(self) -> bytes:
        if self.several:
            return b'"channels":' + encode(list(self.cursors))
        return b'"channel":"%b"' % next(iter(self.cursors)).encode()

    def _cursor(self) -> bytes:
        text = self.last_event_id.encode()
        return b'"%b"' % text if self.several else text

    def _gap(self) -> bytes:
        if not self.gaps:
            return b""
        if self.several:
            return b',"gaps":' + encode(self.gaps)
        (oldest,) = self.gaps.values()
        return b',"gap":true,"oldest_event_id":' + encode(oldest)
