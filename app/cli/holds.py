"""The measuring part of `bide check`: how long a poll may wait before something on the way ends it.

Proxies, balancers and firewalls cut what is idle for too long: with a 504, with a reset, or by forgetting the
connection without a word. Polls of several lengths wait beside each other; what each comes back with says between which
two the bound lies, and where it was cut the time says exactly. One more connection is left idle between two polls.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from .findings import Finding, Level
from .probe import Probe, Trouble, begin, poll_of

#: How long polls are held. The last is longer than Bide's own maximum (55 s) and than what many proxies allow (60 s).
HOLDS: tuple[float, ...] = (10, 20, 30, 45, 65)
#: What Bide and its clients take where nobody says how long.
DEFAULT_SECONDS = 30.0
#: What has not come so long after its time does not come.
GRACE_SECONDS = 5.0
#: Bide may end a hold 5 % early; one that ends earlier still was shortened to the server's maximum.
SHORTENED: Final = 0.93
#: What ends so early was not ended for its waiting.
SOON_SECONDS: Final = 0.5
TRIES: Final = 3
#: What is recommended of what was seen to be cut.
MARGIN: Final = 0.8

Outcome = Literal["held", "cut", "silent", "refused"]


@dataclass(frozen=True, slots=True)
class Hold:
    """A poll that was to be held for `asked` seconds, and what had become of it after `seconds`."""

    asked: float
    seconds: float
    outcome: Outcome
    how: str = ""


class Holds:
    """Polls of each length, on connections of their own; begun when it is made."""

    def __init__(self, url: str, token: str | None, channel: str) -> None:
        self._path = f"/subscribe/{quote(channel, safe='')}"
        self._id = f"check-{secrets.token_hex(6)}"
        self._probes = [Probe(url, token, f"{self._id}-{number}") for number in range(len(HOLDS) + 1)]
        self._begun = time.monotonic()
        *polls, idle = self._probes
        self._holds = [begin(self._holding(probe, asked)) for probe, asked in zip(polls, HOLDS, strict=True)]
        self._idle = begin(lambda: self._rest(idle))

    @property
    def announcement(self) -> str:
        lengths = ", ".join(f"{seconds:g}" for seconds in HOLDS)
        return f"polls of {lengths} s wait beside each other, up to {max(HOLDS) + GRACE_SECONDS:g} s"

    @property
    def past_seconds(self) -> float:
        return time.monotonic() - self._begun

    @property
    def is_over(self) -> bool:
        waiting: list[Future[Any]] = [*self._holds, self._idle]
        return all(future.done() for future in waiting)

    def end(self) -> None:
        """Wait for nothing any more."""
        for probe in self._probes:
            probe.cut()

    def findings(self) -> Iterator[Finding]:
        """What has come of it, once it is over."""
        yield from judge([future.result() for future in self._holds])
        yield self._idle.result()

    def _holding(self, probe: Probe, asked: float) -> Callable[[], Hold]:
        return lambda: self._hold(probe, asked)

    def _hold(self, probe: Probe, asked: float) -> Hold:
        try:
            # So that connecting is over before it begins.
            cursor: Any = probe.look("GET", self._path, poll_of("latest", 0)).body.get("last_event_id", "latest")
        except Trouble as trouble:
            return Hold(asked, 0, "refused", str(trouble))
        for _ in range(TRIES):
            begun = time.monotonic()
            try:
                reply = probe.look("GET", self._path, poll_of(cursor, asked), seconds=asked + GRACE_SECONDS)
            except Trouble as trouble:
                seconds = time.monotonic() - begun
                if seconds < SOON_SECONDS:
                    continue  # the connection was closed while it was idle
                return Hold(asked, seconds, "silent" if trouble.is_silent else "cut", str(trouble))
            if reply.body.get("events"):
                cursor = reply.body.get("last_event_id", cursor)  # others use the channel: the poll was not held
            elif reply.status == 200 and "last_event_id" in reply.body:
                return Hold(asked, reply.seconds, "held")
            elif reply.is_problem or reply.seconds < SOON_SECONDS:
                return Hold(asked, reply.seconds, "refused", reply.complaint)
            else:
                return Hold(asked, reply.seconds, "cut", reply.complaint)
        return Hold(asked, 0, "refused", "its polls are ended by events of others, or cut at once")

    def _rest(self, probe: Probe) -> Finding:
        """A connection on which nothing is asked for as long as the longest poll is held."""
        try:
            probe.look("GET", self._path, poll_of("latest", 0))
            begun = time.monotonic()
            if probe.is_closed_within(max(HOLDS)):
                seconds = time.monotonic() - begun
                text = f"a connection is closed when nothing was asked on it for {seconds:.1f} s"
                return Finding("ok", "idle", text, {"closed_after_seconds": seconds})
            probe.look("GET", self._path, poll_of("latest", 0), seconds=GRACE_SECONDS)
        except Trouble as trouble:
            text = f"a connection on which nothing is asked for {max(HOLDS):g} s is of no use then: {trouble}"
            return Finding("warn", "idle", text)
        text = f"a connection on which nothing is asked for {max(HOLDS):g} s can still be used"
        return Finding("ok", "idle", text, {"open_after_seconds": max(HOLDS)})


def judge(holds: list[Hold]) -> Iterator[Finding]:
    """What the outcomes mean, and which timeout they recommend."""
    figures: dict[str, object] = {"polls": [asdict(hold) for hold in holds]}
    refused = next((hold for hold in holds if hold.outcome == "refused"), None)
    if refused is not None:
        yield Finding("fail", "holds", f"cannot be measured: {refused.how}", figures)
        return
    held = [hold for hold in holds if hold.outcome == "held"]
    ended = [hold for hold in holds if hold.outcome != "held"]
    longest = max((hold.seconds for hold in held), default=0.0)
    maximum = max((hold.seconds for hold in held if hold.seconds < SHORTENED * hold.asked), default=None)
    own = "" if maximum is None else f"; the server itself holds none longer than about {maximum:.0f} s"
    if not ended:
        yield Finding("ok", "holds", f"nothing cuts a poll that waits for {longest:.0f} s{own}", figures)
        yield _recommended("ok", DEFAULT_SECONDS)
        return
    first = min(ended, key=lambda hold: hold.seconds)
    if longest > first.seconds * 1.05 + SOON_SECONDS:
        text = f"one was cut after {first.seconds:.1f} s, and another came through in {longest:.0f} s: {first.how}"
        yield Finding("warn", "holds", text, figures)
        return
    safe = max((hold.seconds for hold in held if hold.seconds < first.seconds), default=0.0)
    if first.outcome == "silent":
        bound, recommended = first.asked, safe
        text = f"polls that wait for {bound:g} s are never answered, for {safe:.0f} s they are: {first.how}"
    else:
        bound, recommended = first.seconds, MARGIN * first.seconds
        text = f"polls are cut after {bound:.1f} s of waiting: {first.how}"
    level: Level = "fail" if safe < SHORTENED * DEFAULT_SECONDS else "warn"
    yield Finding(level, "holds", text + own, figures | {"cut_after_seconds": bound})
    yield _recommended(level, recommended)


def _recommended(level: Level, seconds: float) -> Finding:
    """The default where it will do, else what is seen to come through."""
    if seconds >= DEFAULT_SECONDS:
        return Finding(level, "timeout", f"{DEFAULT_SECONDS:g} s will do, the default", {"timeout": DEFAULT_SECONDS})
    rounded = int(seconds) if seconds >= 10 else int(seconds * 10) / 10
    if not rounded:
        return Finding(
            level, "timeout", "not even the shortest poll comes through: raise the idle time of what is between"
        )
    text = f"clients should ask for {rounded:g} s, or raise the idle time of what is between above the server's maximum"
    return Finding(level, "timeout", text, {"timeout": rounded})
