"""The writing end of a channel. Works in any process, with a store and nothing else:

    Publisher(open_store("sqlite:///data/bide.db")).publish("news", {"hello": "world"})

The laws of names and sizes are checked here, once for callers over HTTP and for those that are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .errors import Forbidden, InvalidRequest
from .messages import check_message, check_type, from_value
from .names import CHANNEL_RULE, is_channel, is_own
from .stores import Store
from .stores.base import Appended, Key

MAX_BATCH: Final = 1000
MAX_KEY_CHARACTERS: Final = 255


def check_channel(channel: str, param: str = "channel") -> str:
    """Return a well-formed name of a channel. Raises InvalidRequest."""
    if not is_channel(channel):
        raise InvalidRequest(f"A channel's name is {CHANNEL_RULE}; got {channel[:200]!r}", param=param)
    return channel


class Publisher:
    """Publishes to a store. `max_message_bytes` bounds a message as compact JSON.

    Every call raises InvalidRequest (or one of its kinds), Forbidden, TooLarge, KeyReused, TooManyKeys,
    TooManyChannels or StoreUnavailable, and has then stored nothing.
    """

    def __init__(self, store: Store, max_message_bytes: int = 64 * 1024) -> None:
        self._store = store
        self._max_message_bytes = max_message_bytes

    def publish(
        self, channel: str, message: Any, *, type: str | None = None, idempotency_key: str | None = None
    ) -> int:
        """Publish one event and return its id. `message` is any JSON value but None and the empty string."""
        messages = [from_value(message)]
        return self.append(channel, self.check(channel, messages), type, idempotency_key).last_id

    def publish_batch(
        self,
        channel: str,
        messages: Iterable[Any],
        *,
        type: str | None = None,
        idempotency_key: str | None = None,
    ) -> list[int]:
        """Publish several events in order, all or none, nothing between them; returns their ids."""
        encoded = [from_value(message) for message in messages]
        if not encoded:
            raise InvalidRequest("A batch has at least one message", param="messages")
        appended = self.append(channel, self.check(channel, encoded, batch=True), type, idempotency_key)
        return list(range(appended.first_id, appended.last_id + 1))

    def check(self, channel: str, messages: Sequence[bytes], *, batch: bool = False) -> Sequence[bytes]:
        """Return the messages (compact JSON) if the channel may be published to and takes all of them."""
        self.check_count(channel, len(messages))
        for message in messages:
            check_message(message, self._max_message_bytes, "messages" if batch else "message")
        return messages

    def check_count(self, channel: str, count: int) -> None:
        """Raise if the channel may not be published to, or does not take so many messages at once."""
        check_channel(channel)
        if is_own(channel):
            raise Forbidden(f"Channels that begin with '@bide.' are published by the server alone; {channel} does")
        most = min(MAX_BATCH, self._store.retention(channel).events)
        if count > most:
            raise InvalidRequest(
                f"A batch for {channel} has at most {most:,} messages; this one has {count:,}", param="messages"
            )

    def append(
        self, channel: str, messages: Sequence[bytes], type: str | None, key: str | None, subject: str = ""
    ) -> Appended:
        """Store messages that `check` returned. `subject` is whose idempotency key it is."""
        check_type(type)
        return self._store.append(channel, messages, type, None if key is None else _key(key, subject, messages, type))


def check_key(key: str) -> str:
    """Return a well-formed idempotency key. Raises InvalidRequest."""
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS or not all("!" <= character <= "~" for character in key):
        raise InvalidRequest(
            f"An idempotency key is 1 to {MAX_KEY_CHARACTERS} visible ASCII characters",
            param="Idempotency-Key",
        )
    return key


def _key(key: str, subject: str, messages: Sequence[bytes], type: str | None) -> Key:
    check_key(key)
    digest = hashlib.blake2b(digest_size=16)
    # Lengths before the parts: no two contents run together into the same bytes.
    for part in (b"" if type is None else type.encode(), *messages):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return Key(subject, key, digest.digest())
