"""The names that clients give to things, and which of them are well formed.

channel     1 to 128 of  A-Z a-z 0-9 _ . : @ ~ -   but not only dots (a path of dots is no path)
type        1 to 64 of   A-Z a-z 0-9 _ . : -       but not what transports use for themselves
client id   1 to 64 of   A-Z a-z 0-9 _ . : -
pattern     a channel, or a prefix of one that ends in `*`
subject     1 to 255 printable characters: whose a token is
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Channels that begin so are the server's own: published by it alone, listed and matched only when named so.
OWN_PREFIX = "@bide."

#: Stands for a token's subject in a pattern of its claims.
SUBJECT = "{sub}"

MAX_CHANNEL_CHARACTERS = 128
MAX_SUBJECT_CHARACTERS = 255
CHANNEL_RULE = "1 to 128 of A-Z a-z 0-9 _ . : @ ~ - and not only dots"
TYPE_RULE = "1 to 64 of A-Z a-z 0-9 _ . : - and neither 'error', 'open' nor beginning with 'bide.'"

_CHANNEL = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.:@~-]{1,128}\Z").match
_PART = re.compile(r"[A-Za-z0-9_.:@~-]{1,128}\Z").match
_TYPE = re.compile(r"(?!error\Z|open\Z|bide\.)[A-Za-z0-9_.:-]{1,64}\Z").match
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z").match
_PATTERN = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.:@~-]{1,128}\Z|[A-Za-z0-9_.:@~-]{0,127}\*\Z").match


def is_channel(text: str) -> bool:
    return _CHANNEL(text) is not None


def is_part(text: str) -> bool:
    """Whether it can be a part of a channel's name: only dots too, which are no channel."""
    return _PART(text) is not None


def is_type(text: str) -> bool:
    return _TYPE(text) is not None


def is_client_id(text: str) -> bool:
    return _CLIENT_ID(text) is not None


def is_pattern(text: str) -> bool:
    return _PATTERN(text) is not None


def is_subject(text: str) -> bool:
    return 1 <= len(text) <= MAX_SUBJECT_CHARACTERS and text.isprintable()


def is_own(channel: str) -> bool:
    return channel.startswith(OWN_PREFIX)


def pattern_matches(pattern: str, channel: str) -> bool:
    """Whether the channel is named by the pattern; the server's own channels only by patterns that name them."""
    if not pattern.endswith("*"):
        return pattern == channel
    if channel.startswith(OWN_PREFIX) and not pattern.startswith(OWN_PREFIX):
        return False
    return channel.startswith(pattern[:-1])


def resolved(pattern: str, subject: str) -> str:
    """The pattern with the subject in the place of `{sub}`, letter by letter.

    Empty, which is no pattern, where the subject could not be part of a channel's name, and where it would make it a
    pattern of the server's own channels.
    """
    if SUBJECT not in pattern:
        return pattern
    found = pattern.replace(SUBJECT, subject) if is_part(subject) else ""
    return found if is_own(pattern) or not is_own(found) else ""


class Patterns:
    """Several patterns at once. What is no pattern matches nothing."""

    __slots__ = ("_names", "_own_prefixes", "_prefixes", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = [text for text in texts if is_pattern(text)]
        self._names = frozenset(text for text in self.texts if not text.endswith("*"))
        self._prefixes = tuple(text[:-1] for text in self.texts if text.endswith("*"))
        self._own_prefixes = tuple(prefix for prefix in self._prefixes if is_own(prefix))

    def ranges(self, prefix: str) -> list[tuple[str, bool]]:
        """Where the names are that they match and that begin with the prefix: exact names, and beginnings (True) of
        which some of the server's own may not match. By code point, and none within another."""
        starts = {(text.removesuffix("*"), text.endswith("*")) for text in self.texts}
        within = {(start, many) for start, many in starts if start.startswith(prefix)}
        if any(many and prefix.startswith(start) for start, many in starts):
            within.add((prefix, True))
        found: list[tuple[str, bool]] = []
        for start, many in sorted(within, key=lambda each: (each[0], not each[1])):
            if not (found and found[-1][1] and start.startswith(found[-1][0])):
                found.append((start, many))
        return found

    def matches(self, channel: str) -> bool:
        """As `pattern_matches` for any of them."""
        if channel in self._names:
            return True
        return channel.startswith(self._own_prefixes if channel.startswith(OWN_PREFIX) else self._prefixes)
