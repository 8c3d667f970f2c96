"""What must have come of a case: what every case asks, and what this one does."""

from __future__ import annotations

import itertools
import json
from typing import Any

from .cases import Case, Gap
from .faults import Fault
from .program import CaseFailed, Line
from .server import Server

#: Two clocks are read one after the other.
CLOCKS_SECONDS = 0.01


def check(case: Case, server: Server, faults: list[Fault], heard: list[Line]) -> None:
    """What every case asks, and this one."""
    wrong = [f"not delivered: {fault.which}: {fault.name}" for fault in faults if not fault.is_delivered()]
    wrong += [f"the server broke: {error!r}" for error in server.defects]
    if server.is_hot:
        wrong.append("it asked in a hot loop")
    wrong += _wrong_of_shown(case, server, heard)
    wrong += _wrong_of_published(case, server, heard)
    wrong += _wrong_of_requests(case, server)
    if wrong:
        raise CaseFailed("\n".join(wrong))


def _wrong_of_shown(case: Case, server: Server, heard: list[Line]) -> list[str]:
    wrong = []
    shown: dict[str, list[Any]] = {}
    for line in heard:
        if "event" in line:
            event = line["event"]
            shown.setdefault(event["channel"], []).append(event["message"])
            published = server.store.given.get((event["channel"], event["id"]))
            # More than was published is no fault: what a later server adds may be passed on, or left out.
            if published is None or not published.items() <= event.items():
                wrong.append(f"not as it was published: {event}")
        elif "gap" in line:
            channel, oldest = line["gap"]["channel"], line["gap"]["oldest_event_id"]
            shown.setdefault(channel, []).append(Gap())
            if oldest is not None and (channel, oldest) not in server.store.given:
                wrong.append(f"a gap before an event that never was: {oldest}")
    if case.expected.perhaps_again:
        shown = {name: _first_times(items) for name, items in shown.items()}
    expected = {name: items for name, items in case.expected.shown.items() if items}
    if json.dumps(shown, default=repr, sort_keys=True) != json.dumps(expected, default=repr, sort_keys=True):
        wrong.append(f"it showed {shown}, not {expected}")
    failures = [line["failed"] for line in heard if "failed" in line]
    if bool(failures) != case.expected.failed:
        wrong.append(f"it failed: {failures}")
    wrong += [f"no sentence: {each!r}" for each in failures if not _is_sentence(each)]
    return wrong


def _first_times(items: list[Any]) -> list[Any]:
    return [item for number, item in enumerate(items) if item not in items[:number]]


def _is_sentence(said: Any) -> bool:
    return isinstance(said, str) and len(said.split()) >= 3 and "\n" not in said and "Traceback" not in said


def _wrong_of_published(case: Case, server: Server, heard: list[Line]) -> list[str]:
    wrong = []
    channel = case.channels[0]
    published = [line["published"] for line in heard if "published" in line]
    if len(published) != case.expected.published:
        wrong.append(f"it published {published}")
    wrong += [f"no event has the id {each}" for each in published if (channel, each) not in server.store.given]
    stored = server.store.messages(channel)
    if case.expected.stored is not None and stored != case.expected.stored:
        wrong.append(f"stored is {stored}, not {case.expected.stored}")
    if len(set(published)) < len(published):
        wrong.append(f"two publishes had one id: {published}")
    return wrong


def _wrong_of_requests(case: Case, server: Server) -> list[str]:
    wrong = []
    requests, expected = server.requests, case.expected
    for before, after in itertools.pairwise(requests):
        if before.not_before is not None and after.at < before.not_before - CLOCKS_SECONDS:
            wrong.append(f"it came {before.not_before - after.at:.2f} s before it was asked to: {after}")
    if expected.most_requests is not None and len(requests) > expected.most_requests:
        wrong.append(f"it made {len(requests)} requests, not at most {expected.most_requests}")
    if expected.most_connections is not None and len(server.connections) > expected.most_connections:
        wrong.append(f"it made {len(server.connections)} connections, not at most {expected.most_connections}")
    return wrong
