"""The cases, as cases/*.yaml tells them. What a case says that nobody knows is an error: it would test nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .faults import Fault

FOLDER = Path(__file__).parent / "cases"

#: What may stand in a story, alone or with something behind it.
STEPS = {
    "publish",
    "the client subscribes",
    "the client publishes",
    "the client closes",
    "the client is killed",
    "a poll is held",
    "a poll is held again",
    "requests came",
    "events came",
    "the fault struck",
    "seconds pass",
    "the store keeps",
    "the store loses",
    "the store's clock goes back",
    "deleted",
}


@dataclass(frozen=True)
class Step:
    does: str
    what: Any = None

    def __str__(self) -> str:
        return self.does if self.what is None else f"{self.does}: {self.what}"


@dataclass(frozen=True)
class Expected:
    #: By channel: messages, and Gap.
    shown: dict[str, list[Any]]
    perhaps_again: bool = False
    published: int = 0
    stored: list[Any] | None = None
    failed: bool = False
    most_requests: int | None = None
    most_connections: int | None = None


class Gap:
    """Stands among the messages where the client has to tell a gap."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gap)

    def __hash__(self) -> int:
        return hash(Gap)

    def __repr__(self) -> str:
        return "(a gap)"


@dataclass(frozen=True)
class Case:
    name: str
    why: str
    file: str
    channels: list[str]
    since: Any
    hold: float
    patience: float
    keeps_its_cursor: bool
    pause: float
    story: list[Step]
    faults: list[tuple[str, str, dict[str, Any]]]
    expected: Expected
    within: float = field(default=15.0)

    def armed(self) -> list[Fault]:
        """Faults that have hit nothing yet."""
        return [Fault(which, name, dict(parameters)) for which, name, parameters in self.faults]


def all_cases() -> list[Case]:
    cases = [case for file in sorted(FOLDER.glob("*.yaml")) for case in of_text(file.read_text("utf-8"), file.stem)]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases have one name"
    return cases


def of_text(text: str, file: str = "") -> list[Case]:
    return [_case(dict(said), file) for said in yaml.safe_load(text)]


def _case(said: dict[str, Any], file: str) -> Case:
    name = said.pop("name")
    channels = said.pop("channels", ["news"])
    if isinstance(channels, dict):
        channels = [f"{channels['hundred']}{number}" for number in range(100)]
    story = [_step(step) for step in said.pop("story")]
    faults = [_fault(*each) for line in said.pop("faults", []) for each in line.items()]
    expected = _expected(dict(said.pop("expect", {})), channels)
    case = Case(
        name=name,
        why=said.pop("why"),
        file=file,
        channels=channels,
        since=said.pop("since", "oldest"),
        hold=said.pop("hold", 5),
        patience=said.pop("patience", 10),
        pause=said.pop("each event takes", 0),
        keeps_its_cursor=said.pop("keeps its cursor", False),
        within=said.pop("within", 15),
        story=story,
        faults=faults,
        expected=expected,
    )
    if said:
        raise ValueError(f"{name}: nobody knows {sorted(said)}")
    case.armed()
    return case


def _step(said: str | dict[str, Any]) -> Step:
    step = Step(said) if isinstance(said, str) else Step(*next(iter(said.items())))
    if step.does not in STEPS or (isinstance(said, dict) and len(said) != 1):
        raise ValueError(f"no such step: {said}")
    return step


def _fault(which: str, said: str | dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    if isinstance(said, str):
        return which, said, {}
    (name, first), *more = said.items()
    parameters = {key.replace(" ", "_"): value for key, value in more}
    return which, name, parameters if first is None else {"": first, **parameters}


def _expected(said: dict[str, Any], channels: list[str]) -> Expected:
    perhaps_again = said.pop("shown, some perhaps again", None)
    shown = said.pop("shown", perhaps_again or [])
    if isinstance(shown, list):
        shown = {channels[0]: shown}
    shown = {name: [_message(each) for each in items] for name, items in shown.items()}
    shown = {name: [each for item in items for each in item] for name, items in shown.items()}
    expected = Expected(
        shown=shown,
        perhaps_again=perhaps_again is not None,
        published=said.pop("published", 0),
        stored=said.pop("stored", None),
        failed=said.pop("failed with a sentence", False),
        most_requests=said.pop("requests, at most", None),
        most_connections=said.pop("connections, at most", None),
    )
    if said:
        raise ValueError(f"nobody knows what to expect of {sorted(said)}")
    return expected


def _message(said: Any) -> list[Any]:
    if said == "(a gap)":
        return [Gap()]
    if isinstance(said, dict) and set(said) == {"numbers up to"}:
        return list(range(1, said["numbers up to"] + 1))
    return [said]


def messages_of(said: Any) -> list[Any]:
    """What a step publishes: one message, a list of them, or `numbers up to`."""
    if isinstance(said, list):
        return [each for item in said for each in _message(item)]
    return _message(said)
