"""Fixtures of the store tests; the checks in what they share are explained like those in the tests."""

import pytest

for name in (
    "support",
    "contract",
    "appending",
    "reading",
    "retaining",
    "heads",
    "keys",
    "listing",
    "listening",
    "model",
):
    pytest.register_assert_rewrite(f"tests.stores.{name}")

from app.stores import sqlite_checkpoint  # noqa: E402

from .support import Clock, Opener  # noqa: E402


@pytest.fixture(autouse=True)
def no_thread_beside(monkeypatch):
    """The log is moved in the tests of real processes only: here nothing happens but what a test does."""
    monkeypatch.setattr(sqlite_checkpoint, "PAUSE_SECONDS", 3600)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bide.db"


@pytest.fixture
def opened(path, clock):
    """Opens the file, as one more process would; what is still open at the end is closed."""
    opener = Opener(path, clock)
    yield opener
    opener.close()
