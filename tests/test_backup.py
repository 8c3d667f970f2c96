"""A copy of a store that is in use: whole as of one moment, and a store by itself."""

import sqlite3

import gevent
import gevent.event
import pytest

from app.backup import back_up, main
from app.errors import SettingsError, StoreUnavailable
from app.publisher import Publisher
from app.stores import open_store
from tests.support.servers import Server


@pytest.fixture
def file(tmp_path):
    return tmp_path / "bide.db"


@pytest.fixture
def store(file):
    store = open_store(f"sqlite:///{file}")
    yield store
    store.close()


def events(file, channel="news"):
    store = open_store(f"sqlite:///{file}")
    try:
        return store.read(channel, 0, 10_000, 2**30).events
    finally:
        store.close()


def test_a_copy_holds_what_was_committed_and_nothing_that_came_later(store, file, tmp_path):
    publisher = Publisher(store)
    before = publisher.publish_batch("news", range(100))
    back_up(file, tmp_path / "copy.db")
    publisher.publish("news", "later")
    assert [event.id for event in events(tmp_path / "copy.db")] == before
    assert len(events(file)) == 101


def test_a_copy_is_one_file(store, file, tmp_path):
    Publisher(store).publish("news", 1)
    (tmp_path / "to").mkdir()
    back_up(file, tmp_path / "to" / "copy.db")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["copy.db"]


def test_a_copy_is_read_by_nobody_but_its_owner(store, file, tmp_path):
    back_up(file, tmp_path / "copy.db")
    assert oct((tmp_path / "copy.db").stat().st_mode & 0o777) == "0o600"


def test_a_copy_is_never_put_in_the_place_of_another_file(store, file, tmp_path):
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(SettingsError, match="exists already"):
        back_up(file, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_what_is_no_store_is_not_copied(tmp_path):
    with pytest.raises(SettingsError, match="does not exist"):
        back_up(tmp_path / "none.db", tmp_path / "copy.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(SettingsError, match="no store"):
        back_up(tmp_path / "other.db", tmp_path / "copy.db")
    (tmp_path / "text.db").write_text("not a database, but longer than the header of one would have to be " * 9)
    with pytest.raises(StoreUnavailable):
        back_up(tmp_path / "text.db", tmp_path / "copy.db")
    assert not list(tmp_path.glob("copy*"))


def test_a_copy_that_cannot_be_written_leaves_nothing(store, file, tmp_path):
    with pytest.raises(StoreUnavailable):
        back_up(file, tmp_path / "no folder" / "copy.db")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b", "c"]])
def test_the_command_says_how_it_is_used(arguments):
    assert main(arguments).startswith("usage: ")


def test_the_command_copies_the_data_folders_file(store, tmp_path, monkeypatch):
    monkeypatch.setenv("BIDE_DATA_DIR", str(tmp_path))
    Publisher(store).publish("news", 1)
    assert main([str(tmp_path / "copy.db")]) is None
    assert len(events(tmp_path / "copy.db")) == 1
    monkeypatch.setenv("BIDE_STORE", f"sqlite:///{tmp_path}/other.db?synchronous=full")
    assert "other.db does not exist" in main([str(tmp_path / "more.db")])
    monkeypatch.setenv("BIDE_STORE", "memory://")
    assert "has no file" in main([str(tmp_path / "more.db")])
    monkeypatch.delenv("BIDE_STORE")
    assert main([str(tmp_path / "copy.db")]).startswith("bide: ")


def test_a_server_goes_on_from_a_copy_that_was_taken_under_load(tmp_path):
    with Server(tmp_path / "one") as server:
        acknowledged = []
        done = gevent.event.Event()

        def publish():
            while not done.is_set():
                acknowledged.append(server.publish("news", len(acknowledged)))

        publishing = gevent.get_hub().threadpool.spawn(publish)
        while len(acknowledged) < 50:
            gevent.sleep(0.01)
        known = list(acknowledged)
        back_up(server.database, tmp_path / "copy.db")
        done.set()
        publishing.get(timeout=10)
    restored = Server(tmp_path / "two")
    restored.data.mkdir()
    (tmp_path / "copy.db").rename(restored.database)
    with restored as server:
        kept = [event["id"] for event in server.events("news")]
        # All that was acknowledged before the copy was asked for, and a beginning of the rest.
        assert kept[: len(known)] == known
        assert kept == acknowledged[: len(kept)]
        assert server.publish("news", "on") > kept[-1]
        assert server.poll("news", last_event_id=kept[-1])["message"] == "on"
