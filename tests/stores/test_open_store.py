"""`open_store`: which URLs name a store, and the one clear line for those that do not."""

import os
import time
from urllib.parse import quote

import pytest

from app.config import Policy
from app.errors import SettingsError, StoreUnavailable
from app.stores import open_store
from app.stores.memory import MemoryStore
from app.stores.sqlite import SQLiteStore

from .support import Clock, Ear, everything, messages, policy, put


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Relative paths are below here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def open_here():
    stores = []

    def open_here(url, *more):
        stores.append(open_store(url, *more))
        return stores[-1]

    yield open_here
    for store in stores:
        store.close()


def test_memory(open_here):
    store = open_here("memory://")
    assert isinstance(store, MemoryStore)
    assert store.policy == Policy()
    assert open_here("memory://", policy(events=3)).policy == policy(events=3)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///bide.db", "bide.db"),
        ("sqlite:///data/more/bide.db", "data/more/bide.db"),
        ("sqlite:///./bide", "bide"),
        ("sqlite:///a%20b%3F%23%25.db", "a b?#%.db"),
        ("sqlite:///a b.db", "a b.db"),
        ("sqlite:///caf%C3%A9.db", "café.db"),
        ("sqlite:///café.db", "café.db"),
        ("sqlite:///a+b.db", "a+b.db"),
        ("sqlite:///file:x", "file:x"),
    ],
)
def test_three_slashes_name_a_file_below_where_the_process_is(open_here, folder, url, name):
    store = open_here(url)
    assert isinstance(store, SQLiteStore)
    put(store, "a", 1)
    assert (folder / name).is_file()
    assert (folder / f"{name}-listeners").is_dir()


def test_four_slashes_name_a_file_by_its_whole_path(open_here, folder, monkeypatch):
    path = folder / "some where" / "bide.db"
    monkeypatch.chdir("/")
    put(open_here(f"sqlite:///{quote(str(path))}"), "a", 1)
    assert path.is_file()


def test_a_relative_file_stays_the_same_when_the_process_goes_elsewhere(open_here, folder, monkeypatch):
    store = open_here("sqlite:///bide.db")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    store.listen(Ear())
    put(store, "a", 1)
    assert os.listdir() == []
    assert messages(everything(open_here(f"sqlite:///{quote(str(folder))}/bide.db"), "a")) == [1]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:",
        "memory:/",
        "memory:///",
        "memory://x",
        "MEMORY://",
        " memory://",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:bide.db",
        "sqlite:/bide.db",
        "sqlite://bide.db",
        "sqlite://host/bide.db",
        "sqlite:///bide.db?mode=memory",
        "sqlite:///bide.db?synchronous=off",
        "sqlite:///bide.db?synchronous=full&x",
        "sqlite:///?synchronous=full",
        "memory://?synchronous=full",
        "sqlite3:///bide.db",
        "bide.db",
        "/bide.db",
        "postgres://localhost/bide",
        "mysql://root:secret@localhost",
        "x\ny://",
    ],
)
def test_what_names_no_store_is_refused_in_one_line(folder, url):
    with pytest.raises(SettingsError) as raised:
        open_store(url)
    line = str(raised.value)
    assert "\n" not in line
    assert "BIDE_STORE" in line
    assert "sqlite:///relative/path" in line
    assert "memory://" in line
    assert os.listdir(folder) == []


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///%3Amemory%3A"])
def test_sqlites_name_for_memory_is_no_durable_store(folder, url):
    """Each worker would have a file of its own that is nowhere: refused, or a file of that name."""
    try:
        store = open_store(url)
    except SettingsError:
        return
    put(store, "a", 1)
    store.close()
    assert (folder / ":memory:").is_file()


def test_a_path_that_no_file_can_have_is_refused(folder):
    with pytest.raises((SettingsError, StoreUnavailable)):
        open_store("sqlite:///a%00b.db")
    assert os.listdir(folder) == []


@pytest.mark.parametrize("name", ["folder", "x" * 300])
def test_a_path_that_cannot_be_opened_is_told_with_its_name(folder, name):
    (folder / "folder").mkdir()
    with pytest.raises(StoreUnavailable, match=name) as raised:
        open_store(f"sqlite:///{name}")
    assert "\n" not in str(raised.value)


def test_an_open_that_was_refused_may_be_tried_again(open_here, folder):
    (folder / "bide.db").mkdir()
    with pytest.raises(StoreUnavailable):
        open_store("sqlite:///bide.db")
    (folder / "bide.db").rmdir()
    put(open_here("sqlite:///bide.db"), "a", 1)


@pytest.mark.parametrize("url", ["memory://", "sqlite:///bide.db"])
def test_the_clock_is_the_callers_or_the_systems(open_here, url):
    assert open_here(url, None, Clock(1_600_000_000)).now_us() == 1_600_000_000_000_000
    assert abs(open_here(url).now_us() / 1e6 - time.time()) < 60


@pytest.mark.parametrize("url", ["memory://", "sqlite:///bide.db"])
def test_the_policy_is_kept_by(open_here, url):
    store = open_here(url, policy(events=2))
    put(store, "a", 1, 2)
    put(store, "a", 3)
    assert messages(everything(store, "a")) == [2, 3]
