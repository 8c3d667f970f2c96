"""Plays a case: the server with the case's faults, the client behind its adapter, and what must come of it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence

from .cases import Case, Step, messages_of
from .checks import check
from .faults import Faults
from .program import START_SECONDS, CaseFailed, Line, Program
from .server import Server

#: Ten times what a close takes, on a machine that is busy.
CLOSE_SECONDS = 3.0
LOOK_SECONDS = 0.01


class Player:
    def __init__(self, case: Case, command: Sequence[str], within: float | None = None) -> None:
        self._case = case
        self._within = case.within if within is None else within
        self._command = command
        self._faults = case.armed()
        self.server = Server(Faults(self._faults))
        self.heard: list[Line] = []
        self._programs: list[Program] = []
        self._is_subscribed = False
        self._folder = tempfile.TemporaryDirectory()
        self._deadline = 0.0
        self._first_ids: list[int] = []

    def play(self) -> None:
        """Raise CaseFailed, with what was seen, unless everything came as the case expects it."""
        try:
            self._play()
        except CaseFailed as failure:
            requests = "\n".join(map(str, self.server.requests[-40:]))
            heard = "\n".join(map(str, self.heard[-40:]))
            errors = "".join(program.errors() for program in self._programs)
            raise CaseFailed(f"{failure}\n\nrequests:\n{requests}\n\nheard:\n{heard}\n\n{errors}") from None
        finally:
            self.server.stop()
            for program in self._programs:
                program.kill()
            self._folder.cleanup()

    def _play(self) -> None:
        self._start()
        self._deadline = time.monotonic() + self._within
        for step in self._case.story:
            self._take(step)
        expected = self._case.expected
        self._await(lambda: len(self._told("event", "gap")) >= sum(map(len, expected.shown.values())), "all is shown")
        self._await(lambda: len(self._told("published")) >= expected.published, "it is published")
        if expected.failed:
            self._await(lambda: self._told("failed"), "it fails")
        elif self._is_subscribed:
            self._await(self.server.is_settled, "the client has all and waits for more")
        if self._programs[-1].has_said("closed") or not self._programs[-1].has_ended():
            self._close()
        check(self._case, self.server, self._faults, self.heard)

    def _start(self) -> None:
        program = Program(self._command, self.heard.append)
        self._programs.append(program)
        deadline = time.monotonic() + START_SECONDS
        while not program.has_said("ready"):
            if program.has_ended() or time.monotonic() > deadline:
                raise CaseFailed("the adapter does not say that it is ready")
            time.sleep(LOOK_SECONDS)

    def _close(self) -> None:
        """It ends at once, and so does the program."""
        program, begun = self._programs[-1], time.monotonic()
        self._is_subscribed = False
        if program.has_said("closed"):
            return
        program.tell(do="close")
        while not program.has_said("closed"):
            if time.monotonic() - begun > CLOSE_SECONDS:
                raise CaseFailed(f"told to close, it went on for {CLOSE_SECONDS} s")
            time.sleep(LOOK_SECONDS)
        code = program.end()
        if code != 0:
            how = "it did not end" if code is None else f"its exit code was {code}"
            raise CaseFailed(f"after it had closed, the program should end: {how}")

    def _take(self, step: Step) -> None:
        server, store, program = self.server, self.server.store, self._programs[-1]
        channel = self._case.channels[0]
        match step.does, step.what:
            case "publish", {"to": name, "message": message, **more}:
                store.append(name, messages_of(message), more.get("type"))
            case "publish", message:
                for each in messages_of(message):
                    self._first_ids += store.append(channel, [each])
            case "the client subscribes", _:
                if program.has_ended() or program.has_said("closed"):
                    self._start()
                self._is_subscribed = True
                self._programs[-1].tell(do="subscribe", **self._subscription())
            case "the client publishes", message:
                program.tell(
                    do="publish", url=server.url, channel=channel, message=message, patience=self._case.patience
                )
            case "the client closes", _:
                self._close()
            case "the client is killed", _:
                self._is_subscribed = False
                program.kill()
            case "a poll is held", _:
                self._await(server.is_settled, step)
            case "a poll is held again", _:
                before = len(server.of("poll"))
                self._await(lambda: len(server.of("poll")) > before and server.is_settled(), step)
            case "requests came", count:
                self._await(lambda: len(server.requests) >= count, step)
            case "events came", count:
                self._await(lambda: len(self._told("event")) >= count, step)
            case "the fault struck", _:
                self._await(lambda: all(fault.delivered for fault in self._faults), step)
            case "seconds pass", seconds:
                end = time.monotonic() + seconds
                self._await(lambda: time.monotonic() > end, step)
            case "the store keeps", count:
                store.keep(channel, count)
            case "the store loses", count:
                # It was restarted for it: nobody's connection outlives that.
                store.lose(channel, count)
                server.cut()
            case "the store's clock goes back", seconds:
                store.clock_seconds -= seconds
            case "deleted", name:
                store.delete(name or channel)

    def _subscription(self) -> Line:
        case = self._case
        since = case.since
        match since:
            case {"after event": number}:
                since = self._first_ids[number - 1]
            case {"seconds ahead": seconds}:
                since = self.server.store.ahead(seconds)
        said = {
            "url": self.server.url,
            "channels": case.channels,
            "since": since,
            "hold": case.hold,
            "pause": case.pause,
        }
        if case.keeps_its_cursor:
            said["cursor_file"] = os.path.join(self._folder.name, "cursor")
        return said

    def _told(self, *words: str) -> list[Line]:
        return [line for line in list(self.heard) if any(word in line for word in words)]

    def _await(self, condition: Callable[[], object], what: object) -> None:
        while not condition():
            if self.server.defects:
                raise CaseFailed(f"the server broke: {self.server.defects}")
            if self.server.is_hot:
                raise CaseFailed("it asks in a hot loop")
            if self._told("failed") and not self._case.expected.failed:
                raise CaseFailed(f"it failed: {self._told('failed')}")
            if self._programs[-1].has_ended() and self._is_subscribed:
                raise CaseFailed("the program ended")
            if time.monotonic() > self._deadline:
                raise CaseFailed(f"it did not come about within {self._within:g} s: {what}")
            time.sleep(LOOK_SECONDS)
