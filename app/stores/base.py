"""The contract of a store: it keeps events, numbers them, and tells every process that listens.

What every store promises, and `tests/stores/contract.py` holds it to:

- `append` is one atomic step: number, keep, trim, remember the idempotency key. When it returns the events are as
  durable as the store's URL says, and every process that listens has been told or will be within 100 ms.
- An id is `max(head + 1, now_us)`; a batch has consecutive ids. Ids only grow within a channel, and no id is given
  that is not above every cursor handed out before (as long as the clock steps back by less than 60 s).
- A read is one moment of the store: head, floor and events belong together.
- Retention is by count and by age, and a read never shows more, whatever is still inside. By age the retained
  events are those from the first that is young enough: a clock that stepped back never tears a hole.
- A head outlives its events for `Retention.head_seconds` after the last append, and longer while a process that
  listens says that its channel has a subscriber. A channel that was forgotten, or never was, has no head; its floor
  is then the store's `base`: the greatest id that any forgotten channel may have had, at first the moment at which
  the store was made. So a cursor from before is told of a gap: once too often at times, never once too few.

Calls may switch greenlets (a busy file, a network); a store may be used by any greenlet of the process that opened
it, and by no thread or fork of it: each opens its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

from ..config import Policy, Retention
from ..errors import TooManyRevocations
from ..events import Event

Clock = Callable[[], float]

#: Who asks waits so long for the other processes.
ASK_SECONDS: Final = 0.5
#: A revocation is kept for so long after the end of its tokens: clocks differ, and tokens are let in for a moment
#: longer than they say.
REVOKED_SECONDS: Final = 60


class Key(NamedTuple):
    """An idempotency key: whose it is, its text, and a digest of the content that it stands for."""

    subject: str
    text: str
    digest: bytes


class Appended(NamedTuple):
    """What an append did: the ids are `first_id … last_id`. `replayed`: an earlier call did it, nothing was stored."""

    first_id: int
    last_id: int
    replayed: bool = False


class Reading(NamedTuple):
    """A channel at one moment, and its events after the id that was asked for.

    `head` is the greatest id that the channel gave; where `known` is false it never gave one (or was forgotten) and
    `head` and `floor` are the store's base. Everything after `floor` is retained; `oldest` is the first such event.
    """

    known: bool
    head: int
    floor: int
    oldest: int | None
    events: list[Event]


class ChannelInfo(NamedTuple):
    """A channel as it is listed. `last_event_id` is its head, `last_published_at` in Unix seconds."""

    channel: str
    events: int
    oldest_event_id: int | None
    last_event_id: int | None
    last_published_at: float | None


class Revocation(NamedTuple):
    """Tokens that are refused: those of a subject (`sub`) that were issued up to a moment or do not say when, or the
    one with a `jti`. Times are whole Unix seconds; `until` is when all of them will have expired."""

    claim: Literal["sub", "jti"]
    value: str
    issued_until: int
    until: int

    @property
    def tokens(self) -> tuple[str, str]:
        """Which they are: what two revocations of the same have in common."""
        return self.claim, self.value

    def joined(self, other: Revocation | None) -> Revocation:
        """This one and another of the same tokens: what either refuses, for as long as either does."""
        if other is None:
            return self
        return self._replace(
            issued_until=max(self.issued_until, other.issued_until), until=max(self.until, other.until)
        )

    def is_kept(self, now: float) -> bool:
        """Whether it is to be remembered yet, at a time in Unix seconds."""
        return now < self.until + REVOKED_SECONDS


def too_many_revocations(most: int) -> TooManyRevocations:
    """What is raised where so many are kept and there would be one more."""
    return TooManyRevocations(
        f"At most BIDE_MAX_REVOCATIONS ({most:,}) are kept: give each its exp, after which it is forgotten, "
        "or revoke a subject in place of its tokens"
    )


class Answers(NamedTuple):
    """What processes answered, this one first. `partial`: one that lives was silent, or could not be asked."""

    answers: list[Any]
    partial: bool


class Counters(Protocol):
    """Numbers by name that all processes add to. Raises StoreUnavailable."""

    def incr(self, key: str, expiry: int, amount: int) -> int:
        """Add to a number, and return what it is then. It is gone `expiry` seconds after it was first added to."""


class Listener(Protocol):
    """Who is told, in this process, of what any process did. The calls must not switch greenlets."""

    def hears(self, channel: str) -> bool:
        """Whether events of the channel matter here; others are not announced."""

    def announce(self, events: Sequence[Event]) -> None:
        """Events were appended. Within a channel they come in order; one may come again, and one is missed only if
        it was deleted by then, or `lost` is called."""

    def control(self, kind: str, data: dict[str, object]) -> None:
        """Something else happened: `deleted` with `channel` and `to`, the id up to which nothing is left; `revoked`
        with what a `Revocation` has, which may come again."""

    def lost(self) -> None:
        """Announcements may have been missed: what was learnt from them must be read again."""

    def missed_controls(self) -> None:
        """Likewise of controls alone, and of these not `deleted`; or the store lost what they told of."""

    def subscribed(self, channels: Iterable[str]) -> Iterable[str]:
        """Those of the channels that have a subscriber here, so that their heads must be kept."""

    def answer(self, question: dict[str, object]) -> object:
        """This process's answer to a question that some process asked, as JSON."""


class Store(ABC):
    """Keeps events and announces appends; see the module for what it promises.

    Any call raises StoreUnavailable when the store cannot be reached, is locked or full; nothing was stored then.
    """

    @property
    @abstractmethod
    def policy(self) -> Policy:
        """What is kept. It may change while the store is open: processes that share a store share its policy."""

    def retention(self, channel: str) -> Retention:
        """How much of the channel is kept, at this moment."""
        return self.policy.retention(channel)

    @abstractmethod
    def now_us(self) -> int:
        """The store's clock in microseconds since 1970. It may step back."""

    @abstractmethod
    def append(
        self, channel: str, messages: Sequence[bytes], type: str | None = None, key: Key | None = None
    ) -> Appended:
        """Store one event for each message (compact JSON), in order, nothing between them, all or none.

        With a key that was used for the same content within `Policy.idempotency_seconds` nothing is stored and the
        first call's ids are returned. Raises KeyReused, TooManyKeys, TooManyChannels, StoreUnavailable.
        """

    @abstractmethod
    def read(self, channel: str, after: int, limit: int, max_bytes: int) -> Reading:
        """The channel's retained events after an id, oldest first: at most `limit`, ended before their JSON exceeds
        `max_bytes`, but at least one where there is one and `limit` is not 0."""

    @abstractmethod
    def read_before(self, channel: str, before: int, limit: int, max_bytes: int) -> Reading:
        """The newest retained events below an id, oldest first, bounded as in `read` (the newest are kept)."""

    @abstractmethod
    def info(self, channel: str) -> ChannelInfo | None:
        """The channel as it is listed, or None where it has neither events nor a head."""

    @abstractmethod
    def channels(self, prefix: str, after: str, limit: int) -> list[ChannelInfo]:
        """The channels with events or a head, by code point: those that begin with `prefix`, above `after`."""

    @abstractmethod
    def delete(self, channel: str) -> None:
        """Remove every event of the channel, keep its head, and announce the control `deleted`, whether or not there
        was anything: polls that wait for the channel's first event are to be answered too."""

    @abstractmethod
    def revoke(self, revocation: Revocation) -> Revocation:
        """Keep it, joined with an earlier one of the same tokens, and announce the control `revoked`. Returns what is
        kept now. Raises TooManyRevocations for one more than `Policy.max_revocations`."""

    @abstractmethod
    def revocations(self) -> list[Revocation]:
        """All that are kept."""

    @abstractmethod
    def announce_control(self, kind: str, data: dict[str, object]) -> None:
        """Tell every process that listens, this one too. `data` must be JSON."""

    @abstractmethod
    def ask(self, question: dict[str, object]) -> Answers:
        """Ask every process that listens, this one too, which must listen itself. `question` must be JSON.

        Waits for the others for `ASK_SECONDS` from when the question is out, which may be one such time later. Never
        raises StoreUnavailable: what is missing is told as `partial`.
        """

    @abstractmethod
    def listen(self, listener: Listener) -> None:
        """Tell the listener of what any process does from now on, until `close`. One listener a store."""

    @abstractmethod
    def catch_up(self) -> None:
        """Tell the listener now of what was done before this call, by any process. Raises nothing: where the store
        cannot be read, or there is too much to tell, the listener is told later."""

    def counters(self) -> Counters | None:
        """Numbers that all processes share, for limits; None where each can only count for itself."""
        return None

    @abstractmethod
    def check(self) -> None:
        """Return when the store is reachable and its listener hears. Raises StoreUnavailable."""

    @abstractmethod
    def sweep(self) -> bool:
        """One small step of housekeeping: drop what retention has ended. Returns whether the round goes on.

        Called again and again by the server; nothing that a read shows depends on it.
        """

    @abstractmethod
    def close(self) -> None:
        """End listening and let go of what is open. Further calls are errors of the caller."""
