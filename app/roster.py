"""Who subscribes to what over all processes that share the store: each is asked for its own, and they are put together.

Nothing of it is stored. A client that goes from worker to worker with each poll lingers at the one while it waits at
the other, so that numbers alone could not be added up: an answer names the clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from .names import Patterns, is_own
from .presence import Presence, Subscriber
from .stores import Store
from .stores.base import Answers

#: Clients that one process names in an answer: some milliseconds of work, a MiB or two.
MAX_NAMED: Final = 50_000


class Present(NamedTuple):
    """The subscribers of a channel, those who came first at the front. `partial`: there may be more."""

    subscribers: list[Subscriber]
    partial: bool


class Counts(NamedTuple):
    """How many subscribers channels have. `partial`: there may be more, or some may be counted twice."""

    channels: dict[str, int]
    partial: bool


class Roster:
    """Asks the store's processes, and answers for this one."""

    def __init__(self, store: Store, presence: Presence) -> None:
        self._store = store
        self._presence = presence

    def subscribers(self, channel: str) -> Present:
        """Who subscribes to the channel, anywhere. Switches greenlets, for half a second or a whole one at most."""
        answers, partial = self._store.ask({"channel": channel})
        found: dict[str, Subscriber] = {}
        # The one who came last says how a client is there, the first since when.
        for client_id, transport, since in sorted((each for answer in answers for each in answer), key=_since):
            first = found.get(client_id)
            found[client_id] = Subscriber(client_id, transport, since if first is None else first.since)
        present = sorted(found.values(), key=_since)
        return Present(present, partial or any(len(answer) == MAX_NAMED for answer in answers))

    def count(self, channel: str) -> Counts:
        """How many subscribers the channel has, anywhere. Switches greenlets likewise."""
        found = self._merged(self._store.ask({"count": channel}))
        return Counts({channel: found.channels.get(channel, 0)}, found.partial)

    def counts(self, prefix: str, after: str, limit: int, patterns: Patterns | None = None) -> Counts:
        """The channels that have subscribers, anywhere, as far as they are among the first `limit` of these; only those
        that the patterns match, where there are any."""
        question: dict[str, object] = {"prefix": prefix, "after": after, "limit": limit}
        if patterns is not None:
            question["patterns"] = patterns.texts
        return self._merged(self._store.ask(question))

    def _merged(self, asked: Answers) -> Counts:
        answers, partial = asked
        asked_by = Counter(name for answer in answers for name in answer)
        counts: dict[str, int] = {}
        for name, several in asked_by.items():
            found = [answer[name] for answer in answers if name in answer]
            named = [clients for _, clients in found]
            if several == 1 or None in named:
                counts[name] = sum(count for count, _ in found)
                partial = partial or several > 1
            else:
                counts[name] = len(set().union(*named))
        return Counts(counts, partial)

    def answer(self, question: dict[str, Any]) -> object:
        """What this process knows of it."""
        if "channel" in question:
            return self._presence.subscribers(question["channel"])[:MAX_NAMED]
        if "count" in question:
            names = self._presence.subscribed([question["count"]])
        else:
            prefix, after = question["prefix"], question["after"]
            told = question.get("patterns")
            wanted = self._presence.channels(prefix, after) if told is None else self._named(told, prefix, after)
            listed = (name for name in wanted if not is_own(name) or is_own(prefix))
            names = list(islice(listed, question["limit"]))
        left = MAX_NAMED
        found: dict[str, tuple[int, list[str] | None]] = {}
        for name in names:
            clients = self._presence.clients(name)
            left -= len(clients)
            found[name] = len(clients), list(clients) if left >= 0 else None
        return found

    def _named(self, texts: list[str], prefix: str, after: str) -> Iterator[str]:
        """Those that the patterns match, without a look at others: there may be a hundred for each poll."""
        patterns = Patterns(texts)
        for start, many in patterns.ranges(prefix):
            if many:
                yield from filter(patterns.matches, self._presence.channels(start, after))
            elif start > after:
                yield from self._presence.subscribed([start])


def _since(entry: Any) -> float:
    since: float = entry[2]
    return since
