"""A grant: what one request may wait for, and how it is answered, once nothing else of the request is kept.

The view understands a poll, allows and counts it, and then writes down here all that is needed later. Whoever answers
looks at nothing else: no request, no environ, no token.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from gunicorn import util

from .events import Page
from .poll import Poll

log = logging.getLogger("bide")


class Framing(Protocol):
    """How pages become bytes on the wire: `POLL` below, others for streams."""

    #: Whether the grant waits on after an answer, or its request is over with it.
    lives_on: bool

    def frame(self, grant: Grant, page: Page, closes: bool) -> bytes:
        """The bytes of one answer."""


class _Poll:
    lives_on = False

    def frame(self, grant: Grant, page: Page, closes: bool) -> bytes:
        body = page.body()
        return b"%bConnection: %b\r\nDate: %b\r\nLast-Event-ID: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            grant.head,
            b"close" if closes else b"keep-alive",
            _date(),
            page.last_event_id.encode(),
            len(body),
            body,
        )


#: One answer with one page, as JSON.
POLL = _Poll()


class Request(NamedTuple):
    """What the access log tells of a request: gunicorn's response, the environ, and when it was asked."""

    response: Any
    environ: dict[str, Any]
    begun: datetime


class Grant:
    """Made by the view for a poll that found nothing yet. The poll holds channels, cursors and the client's identity.

    `head` is the answer's head as far as it is known already: status line and header fields, those that `after_request`
    functions added too. `expires_at` is when the right to wait ends, on the clock of `time.monotonic`. Allowances are
    kept by `empty`, called when an answer without an event is sent, or its client has left, and `ended`, called once,
    however the grant came to its end; both by the event loop: they may not switch greenlets. `closes`: the connection
    ends with the answer. `request` is kept only where there is an access log.
    """

    __slots__ = ("closes", "empty", "ended", "expires_at", "framing", "head", "poll", "request")

    def __init__(
        self,
        poll: Poll,
        *,
        framing: Framing = POLL,
        expires_at: float | None = None,
        empty: Callable[[], None] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self.poll = poll
        self.framing = framing
        self.expires_at = expires_at
        self.empty = empty
        self.ended = ended
        self.head = b""
        self.closes = False
        self.request: Request | None = None

    @property
    def shares(self) -> Hashable:
        """What the bytes of the answer depend on, None where no other poll can have the same. To be read at parking."""
        # An answer that is shared has events: none of them is `empty`.
        is_common = self.framing is POLL and self.expires_at is None and self.request is None
        standing = self.poll.standing if is_common else None
        return standing and (standing, self.head, self.closes)

    @property
    def wake_at(self) -> float:
        """When to look at it although nothing was announced, on the clock of `time.monotonic`."""
        wake_at = self.poll.wake_at
        return wake_at if self.expires_at is None else min(wake_at, self.expires_at)

    @property
    def has_ended(self) -> bool:
        """Whether it may wait no longer, whatever there is."""
        if self.expires_at is not None and time.monotonic() >= self.expires_at:
            return True
        return self.poll.waiter.ending == "revoked"

    def end(self) -> None:
        """Let go of the poll. Called once, by who has the grant, whose connection has to go on whatever fails here."""
        try:
            self.poll.close()
            if self.ended is not None:
                self.ended()
        except Exception:
            log.exception("a poll could not be let go of")


class _Date:
    second = 0
    text = b""


def _date() -> bytes:
    """The time as HTTP tells it (RFC 9110, section 5.6.7); worked out once a second."""
    now = int(time.time())
    if now != _Date.second:
        _Date.second, _Date.text = now, util.http_date(now).encode()
    return _Date.text
