"""Revocations on a Redis server: one hash, which lives as long as the last of them.

A server that is short of memory may evict it, one that was started anew may have lost it: how many there were is looked
at every few seconds, and workers write again what they know and it has lost (`../revocations.py`).
"""

from __future__ import annotations

import json
from typing import Any, Final

from .base import REVOKED_SECONDS, Revocation, too_many_revocations
from .redis_channels import RedisChannels
from .redis_keys import Keys
from .redis_link import Link, script

_REVOKE: Final = script("redis_revoke.lua")


class RedisRevocations:
    """Those of one server. `mark` names this process. `keep` and `listed` raise StoreUnavailable."""

    def __init__(self, link: Link, keys: Keys, channels: RedisChannels, mark: str) -> None:
        self._link = link
        self._keys = keys
        self._channels = channels
        self._mark = mark
        #: How many there must be, or more than there are.
        self._count = 0

    def keep(self, revocation: Revocation, most: int) -> Revocation:
        """See `Store.revoke`."""
        told = json.dumps({"by": self._mark, "kind": "revoked", "data": revocation._asdict()})
        name = f"{revocation.claim}:{revocation.value}"
        times = revocation.issued_until, revocation.until, REVOKED_SECONDS
        words = self._channels.given_us, name, *times, most, self._keys.controls, told
        answer = self._link.run(_REVOKE, [self._keys.revocations], *words)
        if not answer:
            raise too_many_revocations(most)
        self.heard()
        return revocation._replace(issued_until=int(answer[0]), until=int(answer[1]))

    def listed(self) -> list[Revocation]:
        """See `Store.revocations`."""
        answer = self._link.call(b"HGETALL", self._keys.revocations)
        now = self._channels.now_us() / 1e6
        found = map(_revocation, answer[::2], answer[1::2])
        return [revocation for revocation in found if revocation.is_kept(now)]

    def heard(self) -> None:
        """One more was kept, by whatever process."""
        self._count += 1

    def lacks_some(self, count: int) -> bool:
        """Whether some may have been lost, now that there are so many."""
        lacks, self._count = count < self._count, count
        return lacks


def _revocation(name: bytes, times: bytes) -> Revocation:
    claim, _, value = name.decode().partition(":")
    issued_until, until = map(int, times.split())
    known: Any = claim
    return Revocation(known, value, issued_until, until)
