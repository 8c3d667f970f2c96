"""The file that a SQLite store opens: made, brought to this version, or refused and left as it was."""

import contextlib
import os
import sqlite3

import pytest

from app.errors import SettingsError, StoreUnavailable
from app.stores import sqlite_file

from .support import everything, messages, names, policy, put

NEXT = "ALTER TABLE channels ADD COLUMN colour TEXT;\nCREATE INDEX by_colour ON channels (colour);\n"


def ask(path, statement):
    """One value out of the closed file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchone()[0]


def tell(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def refused(opened, path, error=SettingsError):
    """Opening raises one line that names the file, and leaves the folder as it was, byte for byte."""
    before = {entry.name: entry.read_bytes() for entry in path.parent.iterdir() if entry.is_file()}
    with pytest.raises(error) as raised:
        opened()
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert set(os.listdir(path.parent)) == set(before), "something was left behind"
    assert {name: (path.parent / name).read_bytes() == content for name, content in before.items()} == dict.fromkeys(
        before, True
    )
    return str(raised.value)


@pytest.fixture
def one_more_version(monkeypatch):
    """The next release, whose schema has gone one step further."""
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", [*sqlite_file.MIGRATIONS, lambda: NEXT])


@pytest.fixture
def written(opened, path):
    """A file of this version with two events."""
    store = opened(policy(events=7))
    put(store, "a", 1, 2, type="t")
    store.close()
    return path


@pytest.fixture
def open_handed():
    """A process whose files anybody may read, unless it says otherwise."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(path):
    return {
        entry.name: oct(entry.stat().st_mode & 0o777) for entry in path.parent.glob(f"{path.name}*") if entry.is_file()
    }


def test_nobody_but_its_owner_reads_a_fresh_file_or_what_lies_beside_it(opened, path, open_handed):
    store = opened()
    put(store, "a", 1)
    assert modes(path) == dict.fromkeys([path.name, f"{path.name}-wal", f"{path.name}-shm"], "0o600")
    store.close()


def test_a_file_that_is_there_keeps_its_modes(opened, path, open_handed):
    path.touch(0o660)
    path.chmod(0o660)
    opened().close()
    assert modes(path)[path.name] == "0o660"


def test_a_fresh_file_has_this_versions_schema(opened, path):
    opened().close()
    assert ask(path, "PRAGMA user_version") == len(sqlite_file.MIGRATIONS)
    assert ask(path, "PRAGMA application_id").to_bytes(4, "big") == b"Bide"
    assert ask(path, "PRAGMA journal_mode") == "wal"
    assert ask(path, "PRAGMA integrity_check") == "ok"


def test_an_empty_file_is_a_fresh_one(opened, path):
    path.touch()
    put(opened(), "a", 1)
    assert messages(everything(opened(), "a")) == [1]


def test_folders_on_the_way_are_made(opened, tmp_path):
    path = tmp_path / "new" / "folders" / "bide.db"
    put(opened(path=path), "a", 1)
    assert path.is_file()


@pytest.mark.parametrize("statement", ["PRAGMA user_version", "PRAGMA application_id", "SELECT count(*)"])
def test_a_file_that_another_process_makes_meanwhile_is_not_taken_for_a_foreign_one(opened, monkeypatch, statement):
    scalar = sqlite_file.SQLiteFile.scalar
    others = []

    def made_first(file, asked, *values):
        if asked.startswith(statement) and not others:
            others.append(asked)
            with contextlib.suppress(StoreUnavailable):  # where this one holds a lock already
                put(opened(), "a", 1)
        return scalar(file, asked, *values)

    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.03)
    monkeypatch.setattr(sqlite_file.SQLiteFile, "scalar", made_first)
    put(opened(), "b", 2)
    assert others


def test_an_older_file_is_brought_to_this_version_and_keeps_its_events(written, opened, path, request):
    request.getfixturevalue("one_more_version")
    store = opened()
    assert messages(everything(store, "a")) == [1, 2]
    assert store.policy == policy(events=7)
    put(store, "a", 3)
    store.close()
    assert ask(path, "PRAGMA user_version") == len(sqlite_file.MIGRATIONS)
    assert ask(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'by_colour'") == 1
    assert messages(everything(opened(), "a")) == [1, 2, 3]


@pytest.mark.usefixtures("one_more_version")
def test_a_fresh_file_goes_through_every_step(opened, path):
    opened().close()
    assert ask(path, "PRAGMA user_version") == len(sqlite_file.MIGRATIONS)
    assert ask(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'by_colour'") == 1


def test_a_file_of_the_first_version_keeps_its_events(opened, path):
    with contextlib.closing(sqlite3.connect(path)) as first:
        first.executescript(sqlite_file.MIGRATIONS[0]())
        first.executescript(
            "PRAGMA user_version = 1; PRAGMA application_id = 0x42696465;"
            "INSERT INTO meta VALUES ('base', 5), ('channels', 1);"
            "INSERT INTO channels VALUES (1, 'a', 8, 2, 0, 1700000000000000, 0);"
            "INSERT INTO events VALUES (1, 1, 7, 5, 1700000000000000, NULL, X'31');"
            "INSERT INTO events VALUES (2, 1, 8, 7, 1700000000000000, 't', X'32');"
        )
    store = opened()
    assert messages(everything(store, "a")) == [1, 2]
    store.delete("a")
    put(store, "a", 3)
    assert messages(everything(store, "a")) == [3]
    assert ask(path, "PRAGMA user_version") == len(sqlite_file.MIGRATIONS)


def test_a_step_that_fails_half_way_leaves_the_older_file(written, opened, path, monkeypatch):
    with monkeypatch.context() as patched:
        broken = [*sqlite_file.MIGRATIONS, lambda: "CREATE TABLE new (a);\nDELETE FROM events;\nNONSENSE"]
        patched.setattr(sqlite_file, "MIGRATIONS", broken)
        with pytest.raises(StoreUnavailable):
            opened()
    assert ask(path, "PRAGMA user_version") == len(sqlite_file.MIGRATIONS)
    assert ask(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'new'") == 0
    assert messages(everything(opened(), "a")) == [1, 2]


def test_a_newer_file_is_refused(opened, path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_file, "MIGRATIONS", [*sqlite_file.MIGRATIONS, lambda: NEXT])
        store = opened()
        put(store, "a", 1)
        store.close()
    assert "newer" in opened_refused_but_for_listeners(opened, path)
    tell(path, f"PRAGMA user_version = {len(sqlite_file.MIGRATIONS)}")
    assert messages(everything(opened(), "a")) == [1]


def opened_refused_but_for_listeners(opened, path):
    (path.parent / f"{path.name}-listeners").rmdir()
    return refused(opened, path)


@pytest.mark.parametrize("version", [0, 1, 7])
def test_the_database_of_another_program_is_refused_and_left_untouched(opened, path, version):
    tell(path, "CREATE TABLE songs (title)", "INSERT INTO songs VALUES ('x')", f"PRAGMA user_version = {version}")
    assert "another program" in refused(opened, path)
    assert ask(path, "SELECT title FROM songs") == "x"


def test_a_database_that_names_another_program_is_refused_and_left_untouched(opened, path):
    tell(path, "PRAGMA application_id = 1196444487", f"PRAGMA user_version = {len(sqlite_file.MIGRATIONS)}")
    refused(opened, path)


@pytest.mark.parametrize(
    "content",
    [b"hello", b"x = 1\n" * 5000, b"SQLite format 3\0" + bytes(range(256)) * 64, bytes(100)],
    ids=["short", "long", "almost", "zeros"],
)
def test_a_file_that_is_no_database_is_refused_and_left_untouched(opened, path, content):
    path.write_bytes(content)
    refused(opened, path)


def test_a_folder_in_the_files_place_cannot_be_opened(opened, path):
    path.mkdir()
    with pytest.raises(StoreUnavailable, match=r"bide\.db"):
        opened()


def test_a_file_in_the_folders_place_cannot_be_opened(opened, tmp_path):
    (tmp_path / "folder").touch()
    with pytest.raises(StoreUnavailable, match=r"bide\.db"):
        opened(path=tmp_path / "folder" / "bide.db")


def test_a_file_in_the_place_of_the_listeners_folder_is_an_error_of_bides(opened, path):
    path.with_name(f"{path.name}-listeners").touch()
    with pytest.raises((StoreUnavailable, SettingsError), match="listeners"):
        opened()


def test_a_file_may_be_copied_when_no_process_has_it(written, opened, tmp_path):
    moved = tmp_path / "moved.db"
    moved.write_bytes(written.read_bytes())
    store = opened(path=moved)
    assert messages(everything(store, "a")) == [1, 2]
    assert names(store) == ["a"]
