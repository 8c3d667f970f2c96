"""Files that are removed while processes use them: nobody may open what is left beside those, or both are lost."""

import contextlib
import os
import socket
import sqlite3
from pathlib import Path

import pytest

from app.errors import StoreUnavailable

from .support import Ear, everything, messages, put


@pytest.fixture
def used(opened):
    """A store that listens and has been written to."""
    store = opened()
    store.listen(Ear())
    put(store, "a", 1)
    return store


BESIDE = pytest.mark.parametrize("beside", ["", "-wal", "-shm"])


@BESIDE
def test_who_would_open_what_is_left_is_refused(used, opened, path, beside):
    Path(f"{path}{beside}").unlink()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="removed or replaced under processes that use it"):
            opened()
    assert os.path.exists(f"{path}{beside}") is False, "and it makes none"
    assert messages(everything(used, "a")) == [1]


@BESIDE
def test_what_is_put_back_is_opened_and_goes_on(used, opened, path, beside):
    os.rename(f"{path}{beside}", f"{path}.away")
    with pytest.raises(StoreUnavailable):
        opened()
    os.rename(f"{path}.away", f"{path}{beside}")
    other = opened()
    put(other, "a", 2)
    put(used, "a", 3)
    assert messages(everything(other, "a")) == [1, 2, 3]


@pytest.mark.parametrize("beside", ["-wal", "-shm"])
def test_when_those_that_used_it_have_gone_it_is_opened_and_nothing_was_lost(used, opened, path, beside):
    put(used, "a", *range(2, 100))
    Path(f"{path}{beside}").unlink()
    used.close()
    assert messages(everything(opened(), "a")) == list(range(1, 100))
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_process_that_was_killed_does_not_count_as_one_that_uses_it(used, opened, path, monkeypatch):
    """Its socket is there and takes nothing; its log is to be read."""
    folder = Path(f"{path}-listeners")
    (name,) = os.listdir(folder)
    used.close()
    monkeypatch.chdir(folder)  # a socket's path is short
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(name)
    assert messages(everything(opened(), "a")) == [1]
