"""The exception tree: drawn in the module's own words, and what is drawn is what there is."""

import re

import pytest

from app import errors
from app.errors import BideError, SettingsError

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BideError)]
SENT = [kind for kind in CLASSES if kind not in (BideError, SettingsError)]


def drawn() -> list[tuple[int, str, int | None]]:
    """The tree of the docstring: depth, name, status."""
    lines = re.findall(r"^    ((?:│   |    )*)(?:├── |└── )?([A-Z]\w+)(?: +(\d{3})\b)?", errors.__doc__ or "", re.M)
    return [
        (len(indent) // 4 + (name != "BideError"), name, int(status) if status else None)
        for indent, name, status in lines
    ]


def test_the_drawing_shows_every_error_with_its_status():
    assert {name: status for _, name, status in drawn()} == {
        kind.__name__: kind.status if kind in SENT else None for kind in CLASSES
    }


def test_the_drawing_hangs_every_error_where_it_is():
    path: list[str] = []
    for depth, name, _ in drawn():
        path[depth:] = [name]
        bases = [base.__name__ for base in getattr(errors, name).__mro__ if base in CLASSES]
        assert bases == path[::-1]


def test_every_error_is_told_in_words_of_its_own():
    assert len({kind.kind for kind in CLASSES}) == len(CLASSES)
    assert len({kind.title for kind in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("kind", SENT)
def test_a_kind_can_be_part_of_an_address(kind):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.kind)


def test_an_error_says_what_it_was_given():
    error = errors.StoreUnavailable("Try again", param="channel", retry_after=2, more={"events": []})
    assert str(error) == error.detail == "Try again"
    assert (error.param, error.retry_after, error.more) == ("channel", 2, {"events": []})


def test_an_error_has_nothing_it_was_not_given():
    error = BideError("It failed")
    assert (error.param, error.retry_after, error.more) == (None, None, {})
