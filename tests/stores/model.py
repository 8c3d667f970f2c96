"""What a store should be, in lists and dicts, and as loose as the contract is loose.

The contract leaves two things open after the clock stepped back: whether events that had expired are shown again,
and whether keys that had expired still stand. The model keeps the bounds of both and takes either answer.
"""

from typing import NamedTuple

#: How long one process's word that a channel has a subscriber may hold for the others.
WORD_US = 400_000_000


class Kept(NamedTuple):
    """An event: what a read must show of it."""

    id: int
    prev: int
    at_us: int
    type: str | None
    value: object


class Remembered:
    """A key. It stands while `now < expires_us`, and may stand until `released_us` or until it was seen expired."""

    def __init__(self, digest, first_id, last_id, expires_us, released_us):
        self.digest = digest
        self.first_id = first_id
        self.last_id = last_id
        self.expires_us = expires_us
        self.released_us = released_us
        self.seen_expired = False

    def surely(self, now_us):
        return now_us < self.expires_us and not self.seen_expired

    def maybe(self, now_us):
        return now_us < self.released_us


class Channel:
    def __init__(self, head, retention):
        self.head = head
        self.retention = retention
        self.events = []
        self.last_at_us = 0
        self.highest_floor = 0
        self.keys = {}

    def floor(self, now_us):
        """The id before the first event that retention keeps now."""
        events = self.events[-self.retention.events :]
        young_us = now_us - int(self.retention.seconds * 1e6)
        for event in events:
            if event.at_us >= young_us:
                return event.prev
        return self.head

    def observe(self, now_us):
        """The clock was here: what retention ended now may be gone for good."""
        self.highest_floor = max(self.highest_floor, self.floor(now_us))
        for key in self.keys.values():
            key.seen_expired |= now_us >= key.expires_us

    def after(self, id):
        return [event for event in self.events if event.id > id]


class Model:
    def __init__(self, policy, now_us):
        self.policy = policy
        self.base = now_us
        self.channels = {}
        #: Every id that a channel ever gave, and the greatest cursor that anybody was handed for it.
        self.given = {}
        self.handed = {}
        #: Every append of any process in order: channel and id.
        self.log = []
        self.watched_us = {}

    def outcomes(self, name, key, now_us):
        """How an append may end."""
        channel = self.channels.get(name)
        if channel is None:
            return {"too many channels"} if len(self.channels) >= self.policy.max_channels else {"stored"}
        if key is None:
            return {"stored"}
        remembered = channel.keys.get(key[:2])
        ends = set()
        if remembered is not None and remembered.maybe(now_us):
            ends.add("replayed" if remembered.digest == key.digest else "reused")
            if remembered.surely(now_us):
                return ends
        others = [each for text, each in channel.keys.items() if text != key[:2]]
        bound = self.policy.max_idempotency_keys
        if sum(each.surely(now_us) for each in others) < bound:
            ends.add("stored")
        if sum(each.maybe(now_us) for each in channel.keys.values()) >= bound:
            ends.add("too many keys")
        return ends

    def append(self, name, values, type, key, now_us):
        """Store them; the ids that they get."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = Channel(self.base, self.policy.retention(name))
        id = max(channel.head + 1, now_us)
        ids = range(id, id + len(values))
        for id, value in zip(ids, values, strict=True):
            channel.events.append(Kept(id, channel.head, now_us, type, value))
            channel.head = id
            self.given.setdefault(name, []).append(id)
            self.log.append((name, id))
        channel.last_at_us = now_us
        if key is not None:
            expires_us = now_us + int(self.policy.idempotency_seconds * 1e6)
            released_us = max([expires_us, *(each.released_us for each in channel.keys.values())])
            channel.keys.pop(key[:2], None)
            channel.keys[key[:2]] = Remembered(key.digest, ids[0], ids[-1], expires_us, released_us)
        channel.observe(now_us)
        return ids

    def delete(self, name):
        channel = self.channels.get(name)
        if channel is None:
            return 0
        channel.events.clear()
        channel.highest_floor = channel.head
        return channel.head

    def observe(self, now_us, watched=()):
        for channel in self.channels.values():
            channel.observe(now_us)
        for name in watched:
            self.watched_us[name] = max(now_us, self.watched_us.get(name, 0))

    def may_forget(self, name, now_us):
        channel = self.channels[name]
        due = now_us > channel.last_at_us + channel.retention.head_seconds * 1e6
        shown = channel.highest_floor < channel.head
        return due and not shown and not any(key.surely(now_us) for key in channel.keys.values())

    def must_forget(self, name, now_us):
        channel = self.channels[name]
        kept = any(key.maybe(now_us) for key in channel.keys.values())
        return self.may_forget(name, now_us) and not kept and now_us > self.watched_us.get(name, 0) + WORD_US

    def forget(self, name):
        self.base = max(self.base, self.channels.pop(name).head)
