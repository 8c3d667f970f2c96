"""The quick part of `bide check`: does what clients do, once, and looks whether all of it comes through.

A proxy that loses a header, holds an answer back or closes each connection is met by every client and noticed by none:
polls go on, only later or twice. So each is looked for by itself and named.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests

from .findings import Finding, Level, Stop, ms
from .probe import ANSWER_SECONDS, Probe, Reply, Trouble, begin, poll_of

#: A held poll that is not answered in this time has not heard of the publish.
HOLD_SECONDS: Final = 5.0
#: For a poll to be at its wait before the publish, beside the time on the way.
PARK_SECONDS: Final = 0.3
#: What an event may take to a held poll: a busy server is still far quicker.
LATE_SECONDS: Final = 1.0
#: Clocks further apart than this confuse who compares timestamps.
SKEW_SECONDS: Final = 5.0

#: What Bide says to a publish whose body is not the one that was sent.
OF_BODIES: Final = frozenset(
    ["/problems/message-required", "/problems/invalid-body", "/problems/body-timeout", "/problems/unsupported-body"]
)
#: Refusals that no token lifts.
OF_NO_TOKEN: Final = frozenset(["/problems/forbidden", "/problems/foreign-origin"])


class Canary:
    """Looks at the server at `url` through a channel: one made up, and deleted afterwards, where none is named."""

    def __init__(self, url: str, token: str | None, channel: str | None) -> None:
        self._url = url
        self._token = token
        self._nonce = secrets.token_hex(6)
        self._is_own = channel is None
        self.channel = channel or f"bide-check.{self._nonce}"
        self._probe = Probe(url, token, f"check-{self._nonce}")
        #: Once a poll was answered as it should be.
        self.can_poll = False
        self._cursor: Any = 0
        self._id = 0
        self._has_published = False
        self._lost: list[str] = []
        self._steps = {
            "server": self._meet,
            "publish": self._publish,
            "catch-up": self._catch_up,
            "repeat": self._repeat,
            "cursor": self._resume,
            "delivery": self._deliver,
            "headers": self._judge_headers,
            "connection": self._judge_connections,
        }

    def findings(self) -> Iterator[Finding]:
        """All, as they are found; the last is a failure where it cannot go on."""
        for name, step in self._steps.items():
            try:
                yield from step()
            except Stop:
                return
            except Trouble as trouble:
                yield Finding("fail", name, str(trouble))
                return

    def clean_up(self) -> Finding | None:
        """Delete the channel that was made up. What is to be told where it is left behind."""
        if not self._is_own or not self._has_published:
            return None
        # By a new connection: this one may have been idle for so long that it was forgotten.
        self._probe.close()
        try:
            reply = self._probe.look("DELETE", f"/channels/{self.channel}")
        except Trouble as trouble:
            return Finding("warn", "clean-up", f"the channel {self.channel} is left behind: {trouble}")
        if reply.status == 204:
            return None
        return Finding("warn", "clean-up", f"the channel {self.channel} is left behind: {_refusal(reply, 'delete')}")

    # -- who is there

    def _meet(self) -> Iterator[Finding]:
        # It decides whether there is a Bide: the rest may be hidden from here, or be another server's.
        polled = self._poll("latest")
        if not polled.is_problem and not (polled.status == 200 and "last_event_id" in polled.body):
            yield Finding("fail", "server", _refusal(polled, "poll"))
            raise Stop
        connect = self._probe.connect_seconds
        yield Finding("ok", "server", f"Bide answers, connected in {ms(connect)}", {"connect_seconds": connect})
        yield self._way(polled)
        yield self._health("alive", "/healthz")
        yield self._health("ready", "/readyz")
        if polled.status != 200:
            yield Finding("fail", "poll", _refusal(polled, "poll"))
            raise Stop
        yield Finding("ok", "poll", f"answered in {ms(polled.seconds)}", {"seconds": polled.seconds})
        self._cursor = 0 if self._is_own else polled.body["last_event_id"]
        self.can_poll = True

    def _health(self, word: str, path: str) -> Finding:
        try:
            reply = self._probe.look("GET", path)
        except Trouble as trouble:
            return Finding("warn", word, f"it does not say so here: {trouble}")
        if reply.status == 200 and reply.body.get("status") == word:
            return Finding("ok", word, f"{path} answers in {ms(reply.seconds)}", {"seconds": reply.seconds})
        level: Level = "fail" if reply.is_problem and reply.status == 503 else "warn"
        return Finding(level, word, f"it does not say so here: {reply.complaint}")

    def _way(self, polled: Reply) -> Finding:
        """What is between, as far as it says so."""
        told = {name: polled.headers[name] for name in ("Server", "Via", "X-Cache", "CF-Ray") if name in polled.headers}
        texts = [f"HTTP/{polled.version / 10:.1f}", *(f"{name}: {value}" for name, value in told.items())]
        through = requests.utils.select_proxy(self._url, requests.utils.get_environ_proxies(self._url))
        if through:
            texts.append(f"by the proxy {urlsplit(through).netloc.rpartition('@')[2]} of this environment")
        return Finding("ok", "way", ", ".join(texts), {"http": polled.version / 10, "headers": told})

    # -- what clients do

    def _publish(self) -> Iterator[Finding]:
        self._poll(self._cursor)  # as it is asked again afterwards
        sent = time.time()
        reply = self._send("first")
        self._has_published = reply.status == 200
        self._id = reply.body.get("event_id", 0)
        if reply.status == 200 and self._id:
            self._sent = sent
            self._published = reply
            yield Finding("ok", "publish", f"acknowledged in {ms(reply.seconds)}", {"seconds": reply.seconds})
            return
        if reply.body.get("type") in OF_BODIES:
            yield Finding("fail", "publish", f"its body is lost or changed on the way: {reply.complaint}")
        else:
            yield Finding("fail", "publish", _refusal(reply, "publish"))
        raise Stop

    def _catch_up(self) -> Iterator[Finding]:
        """The very URL that was asked before the publish: a cache would answer as it did then."""
        reply = self._poll(self._cursor)
        event = self._own(reply, "first")
        if event is not None:
            yield Finding("ok", "catch-up", f"a poll finds what was published, in {ms(reply.seconds)}")
            yield self._clock(event)
            return
        if reply.status != 200:
            yield Finding("fail", "catch-up", _refusal(reply, "poll"))
        elif any(event.get("id") == self._id for event in _events(reply)):
            yield Finding("fail", "catch-up", "the message comes back as another one: something on the way changes it")
        else:
            yield Finding("fail", "catch-up", "a poll gets the answer of an earlier one: something on the way caches")
        raise Stop

    def _clock(self, event: dict[str, Any]) -> Finding:
        """The event was stored between its sending and its acknowledgement."""
        at, way = event.get("timestamp"), self._published.seconds / 2
        if not isinstance(at, int | float):
            return Finding("fail", "clock", "the event has no timestamp")
        skew = at - (self._sent + way)
        if abs(skew) <= SKEW_SECONDS + way:
            return Finding("ok", "clock", f"the server's differs by {ms(abs(skew))}", {"skew_seconds": skew})
        order = "ahead of" if skew > 0 else "behind"
        return Finding("warn", "clock", f"the server's is {abs(skew):.0f} s {order} this one", {"skew_seconds": skew})

    def _repeat(self) -> Iterator[Finding]:
        reply = self._send("first")
        if reply.status != 200:
            yield Finding("fail", "repeat", _refusal(reply, "publish"))
        elif reply.body.get("event_id") != self._id:
            text = "a publish that is repeated is stored twice: Idempotency-Key is lost on the way"
            yield Finding("fail", "repeat", text)
        else:
            yield Finding("ok", "repeat", "a publish that is repeated is stored once")
            self._note(reply, "Idempotency-Replayed")

    def _resume(self) -> Iterator[Finding]:
        """By the header, as an EventSource does."""
        reply = self._poll(self._cursor, headers={"Last-Event-ID": str(self._id)})
        self._note(reply, "Last-Event-ID", "Cache-Control")
        if reply.status != 200:
            yield Finding("fail", "cursor", _refusal(reply, "poll"))
        elif all(event.get("id") != self._id for event in _events(reply)):
            yield Finding("ok", "cursor", "a poll goes on after what it had")
        else:
            yield Finding(
                "fail", "cursor", "what it had comes again: the header Last-Event-ID of polls is lost on the way"
            )

    def _deliver(self) -> Iterator[Finding]:
        """To a poll that is held on another connection."""
        probe = Probe(self._url, self._token, f"check-{self._nonce}-held")
        arrival = begin(lambda: self._await_second(probe))
        time.sleep(PARK_SECONDS + 4 * self._probe.connect_seconds)
        sent = time.monotonic()
        try:
            published = self._send("second")
            arrived = arrival.result()
        finally:
            probe.cut()
        if published.status != 200:
            yield Finding("fail", "delivery", _refusal(published, "publish"))
            return
        if arrived is None:
            yield Finding("fail", "delivery", f"a held poll had not heard of a publish after {HOLD_SECONDS:g} s")
            return
        seconds = arrived - sent
        if seconds > LATE_SECONDS + 4 * self._probe.connect_seconds:
            text = (
                f"a held poll is answered {ms(seconds)} after the publish: something holds answers back (buffers them)"
            )
            yield Finding("fail", "delivery", text, {"seconds": seconds})
        else:
            text = f"a held poll is answered {ms(seconds)} after the publish is sent"
            yield Finding("ok", "delivery", text, {"seconds": seconds})

    def _await_second(self, probe: Probe) -> float | None:
        """When the second message came, None where it did not."""
        cursor: Any = self._id
        ends_at = time.monotonic() + HOLD_SECONDS
        while (left := ends_at - time.monotonic()) > 0:
            reply = probe.look("GET", self._poll_path, poll_of(cursor, left), seconds=left + ANSWER_SECONDS)
            if self._own(reply, "second") is not None:
                return time.monotonic()
            # Others may use a channel that was named.
            cursor = reply.body.get("last_event_id", cursor)
            probe.rest(0.1)
        return None

    def _judge_headers(self) -> Iterator[Finding]:
        if not self._lost:
            yield Finding("ok", "headers", "Last-Event-ID, Cache-Control and Idempotency-Replayed come through")
            return
        level: Level = "fail" if "Last-Event-ID" in self._lost else "warn"
        yield Finding(
            level, "headers", f"lost on the way from the server: {', '.join(self._lost)}", {"lost": self._lost}
        )

    def _judge_connections(self) -> Iterator[Finding]:
        made, asked = self._probe.connections, self._probe.requests
        figures: dict[str, object] = {"connections": made, "requests": asked}
        if made == 1:
            yield Finding("ok", "connection", f"the same one for {asked} requests", figures)
        elif made == asked:
            text = "closed after each answer: each poll pays for a new one, and who is quick runs out of ports"
            yield Finding("warn", "connection", text, figures)
        else:
            yield Finding("warn", "connection", f"{made} of them for {asked} requests: some are closed early", figures)

    # -- requests

    @property
    def _poll_path(self) -> str:
        return f"/subscribe/{quote(self.channel, safe='')}"

    def _message(self, which: str) -> dict[str, str]:
        return {"bide check": self._nonce, "which": which, "text": "ä€😀 <&> \\ \n"}

    def _send(self, which: str) -> Reply:
        content = {"message": self._message(which)}
        headers = {"Idempotency-Key": f"{self._nonce}-{which}"}
        # A body that is lost is missed by Bide for ten seconds.
        return self._probe.look("POST", f"/publish/{quote(self.channel, safe='')}", None, content, headers, 15.0)

    def _poll(self, cursor: Any, headers: dict[str, str] | None = None) -> Reply:
        return self._probe.look("GET", self._poll_path, poll_of(cursor, 0), headers=headers)

    def _own(self, reply: Reply, which: str) -> dict[str, Any] | None:
        """The event with the message of ours, if it is in the answer."""
        message = self._message(which)
        return next((event for event in _events(reply) if event.get("message") == message), None)

    def _note(self, reply: Reply, *names: str) -> None:
        """Note which headers of Bide's the answer lacks."""
        for name in names:
            wanted = "no-store" if name == "Cache-Control" else ""
            if name not in reply.headers or wanted not in reply.headers[name]:
                self._lost.append(name)


def _events(reply: Reply) -> list[dict[str, Any]]:
    found = reply.body.get("events")
    return [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []


def _refusal(reply: Reply, what: str) -> str:
    """One sentence on an answer that is not what was asked for."""
    if reply.status in (401, 403) and reply.body.get("type") not in OF_NO_TOKEN:
        return f"{reply.complaint} (it takes a token that may {what} here: --token or BIDE_TOKEN)"
    return reply.complaint
