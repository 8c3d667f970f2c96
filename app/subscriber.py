"""The reading end of a channel. The loop in `Subscriber.poll` is the server:

    register, then: clear, read; events? answer. Time up, draining, deleted, hung up? answer so. Wait; again.
    Unregister, whatever happened.

Registered before the first read, cleared before every read: an append between any two of these steps is either in
the read or wakes the wait.

The first look at a channel reads the store, unless its tail is whole from the cursor on: a client that polls again
at once costs the store nothing. A read that must see every write that was acknowledged before it began (`timeout=0`,
`latest`) never trusts the tail, which may be behind other processes by a moment.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

from .deadlines import Deadlines
from .errors import InvalidRequest, TooManyPolls, TooManyPollsOfClient
from .events import Event, Page
from .merge import Ready, merge
from .notifier import Notifier
from .poll import Cursor, Place, Poll
from .presence import Presence
from .stores import Store
from .waiter import Permit, Waiter

#: Has a waiter told when the client hangs up, for the time of a `with` block.
HangUp = Callable[[Callable[[], None]], AbstractContextManager[None]]

#: A page ends before 1 MiB; the rest is left to what surrounds the events (a hundred names, their cursors and gaps).
PAGE_BYTES: Final = 1024 * 1024 - 64 * 1024
#: A hold may end so much earlier, so that clients that came together do not come back together.
EARLY: Final = 0.05
#: No cursor is handed out, and no id given, that differs from the clock by more than this the wrong way.
CLOCK_STEP_US: Final = 60_000_000


class Subscriber:
    """Polls a store's channels for many clients at once. `max_polls` is how many may be open, `max_polls_of_client` how
    many of one client, 0 for as many as there may be."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        deadlines: Deadlines,
        presence: Presence,
        max_polls: int,
        max_polls_of_client: int = 0,
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._deadlines = deadlines
        self._presence = presence
        self.max_polls = max_polls
        self.polls = 0
        self._max_polls_of_client = max_polls_of_client
        self._polls_of: dict[str, int] = {}
        self._caught_up_with: int | None = None

    def poll(
        self,
        cursors: Mapping[str, Cursor],
        *,
        timeout: float,
        limit: int | None = None,
        several: bool = False,
        client_id: str = "",
        permit: Permit | None = None,
        counted_for: str | None = None,
        pace: float = 0.0,
        hang_up: HangUp | None = None,
    ) -> Page:
        """Wait until one of the channels has an event after its cursor, or the time is up. Switches greenlets.

        `timeout` is in seconds, 0 never waits, and reads the store; `pace` is how long it waits at least all the same,
        where there is no event. With `limit` the page holds up to so many events, else one. `counted_for` is
        whose poll it is, where one may hold so many. Raises InvalidRequest for a cursor from the future, TooManyPolls,
        TooManyPollsOfClient, StoreUnavailable.
        """
        waiter = Waiter()
        poll = self.open(
            cursors,
            waiter,
            timeout=timeout,
            limit=limit,
            several=several,
            client_id=client_id,
            permit=permit,
            counted_for=counted_for,
            pace=pace,
        )
        try:
            if not poll.is_over:
                with nullcontext() if hang_up is None else hang_up(waiter.hang_up):
                    while not poll.is_over:
                        step = self._deadlines.add(poll.wake_at, waiter)
                        try:
                            waiter.wait()
                        finally:
                            self._deadlines.remove(step, waiter)
                        poll.look()
            return poll.page()
        finally:
            poll.close()

    def open(
        self,
        cursors: Mapping[str, Cursor],
        waiter: Waiter,
        *,
        timeout: float,
        limit: int | None = None,
        several: bool = False,
        client_id: str = "",
        permit: Permit | None = None,
        counted_for: str | None = None,
        pace: float = 0.0,
        batch: int | None = None,
    ) -> Poll:
        """Begin a poll, which `waiter` is roused for, and look for the first time; parameters and errors are `poll`'s.

        `batch` is the number of the requests that were read together with this one before any of them was served, where
        there is one: one look at what other processes did serves them all. `permit` is asked whether it was revoked.
        Whoever opened the poll closes it.
        """
        if self.polls >= self.max_polls:
            raise TooManyPolls(
                f"This worker holds {self.polls:,} polls, its most (BIDE_MAX_POLLS): try again",
                retry_after=1,
            )
        seconds = max(timeout * (1 - EARLY * random.random()), pace)
        poll = Poll(self, cursors, waiter, seconds, limit, several, client_id)
        waiter.permit = permit
        if counted_for is not None:
            self._count_for(counted_for)
            poll.counted_for = counted_for
        self.polls += 1
        poll.is_counted = True
        try:
            # What was done elsewhere before this poll must not end it: a delete.
            if batch is None or batch != self._caught_up_with:
                self._store.catch_up()
                self._caught_up_with = batch
            self._presence.enter(poll.channels, client_id, "poll")
            poll.is_present = True
            self._notifier.register(poll.channels, waiter)
            poll.is_registered = True
            if permit is not None and permit.is_revoked:
                waiter.end("revoked")  # while the store was looked at
            poll.found = self.look(poll.places, limit or 1, first=True, fresh=timeout == 0)
        except BaseException:
            poll.close()
            raise
        return poll

    def _count_for(self, client: str) -> None:
        polls = self._polls_of.get(client, 0)
        if polls >= self._max_polls_of_client > 0:
            raise TooManyPollsOfClient(
                f"The client holds {polls:,} polls, the most that one may (BIDE_MAX_POLLS_PER_CLIENT): "
                "wait for one to be answered, or ask for several channels in one",
                retry_after=1,
            )
        self._polls_of[client] = polls + 1

    def answered(self, poll: Poll) -> None:
        """The poll takes the place of no other any more: its client may ask again on another connection before it is
        closed."""
        if poll.is_counted:
            poll.is_counted = False
            self.polls -= 1
            if poll.counted_for is not None:
                self._polls_of[poll.counted_for] -= 1
                if not self._polls_of[poll.counted_for]:
                    del self._polls_of[poll.counted_for]

    def close(self, poll: Poll) -> None:
        """Let go of all that the poll has."""
        self.answered(poll)
        if poll.is_registered:
            self._notifier.unregister(poll.channels, poll.waiter)
        if poll.is_present:
            self._presence.leave(poll.channels, poll.client_id)

    def knows(self, places: Sequence[Place]) -> bool:
        """Whether a look at these places would do without the store."""
        return all(place.after > 0 and self._notifier.tail(place.channel, place.after) is not None for place in places)

    def look(self, places: Sequence[Place], limit: int, *, first: bool = False, fresh: bool = False) -> Sequence[Event]:
        """What there is for the places, at most `limit` events; gaps and cursors are noted in the places."""
        if len(places) == 1:
            (place,) = places
            return self._events(place, limit, PAGE_BYTES, first, fresh)
        ready = []
        for place in places:
            # One of each to begin with; the merge asks for more where there is room.
            events = self._events(place, 1, PAGE_BYTES, first, fresh)
            if events:
                ready.append(Ready(events, partial(self._more, place, fresh)))
        return merge(ready, limit, PAGE_BYTES) if ready else ()

    def _more(self, place: Place, fresh: bool, after: int, limit: int, max_bytes: int) -> Sequence[Event]:
        tail = None if fresh else self._notifier.tail(place.channel, after)
        if tail is not None:
            return tail.after(after, limit)
        reading = self._store.read(place.channel, after, limit, max_bytes)
        # What was trimmed between two reads of one poll is left to the next poll, which is told of the gap.
        return reading.events if reading.floor <= after else ()

    def _events(self, place: Place, limit: int, max_bytes: int, first: bool, fresh: bool) -> Sequence[Event]:
        if not fresh and place.after > 0:
            tail = self._notifier.tail(place.channel, place.after)
            if tail is not None:
                return _within(tail.after(place.after, limit), max_bytes)
        now_us = self._store.now_us()
        losses = self._notifier.losses
        latest = first and place.asked == "latest"
        reading = self._store.read(place.channel, max(place.after, 0), 0 if latest else limit, max_bytes)
        if losses == self._notifier.losses:
            self._notifier.adopt(place.channel, reading.head)
        if latest:
            place.after = reading.head
            place.held = reading.head if reading.known else max(reading.head, now_us - CLOCK_STEP_US)
            return ()
        if first and place.after > max(reading.head, now_us + CLOCK_STEP_US):
            raise InvalidRequest(
                f"The cursor {place.after} is above every id that {place.channel} gave: "
                "send the cursor of the last answer, 0 for the oldest event, or latest",
                param="last_event_id",
            )
        beyond = reading.known and place.after > reading.head
        if 0 < place.after < reading.floor or beyond:
            # Who asked from the oldest on asked for no event before it, wherever that is by now.
            place.gap = place.gap or place.asked != 0
            place.oldest = reading.oldest
            place.after = reading.head if beyond else reading.floor
        if reading.events and not beyond:
            place.held = place.after
            return reading.events
        place.after = max(place.after, reading.head)
        place.held = place.after if reading.known else max(place.after, now_us - CLOCK_STEP_US)
        return ()


def _within(events: Sequence[Event], max_bytes: int) -> Sequence[Event]:
    size = 0
    for number, event in enumerate(events):
        size += len(event.json) + 1
        if size > max_bytes and number:
            return events[:number]
    return events
