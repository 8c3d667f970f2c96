"""A SQLite file that is busy, or a disk that fails: 503, nothing stored, and all is well again afterwards."""

import contextlib
import resource
import sqlite3

import gevent
import pytest

from app.errors import StoreUnavailable
from app.stores import sqlite_commits, sqlite_file
from app.stores.base import Key

from .support import PLENTY, Ear, everything, messages, names, policy, put, sweep


@contextlib.contextmanager
def locked(path):
    """Another connection is about to write."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.03)
    monkeypatch.setattr(sqlite_commits, "BUSY_SECONDS", 0.03)


@pytest.fixture
def broken(monkeypatch):
    """Makes the statements that begin so fail, until it is called with none."""

    def broken(store, beginning=None, after=0):
        passed = []

        def execute(statement, *values):
            if beginning is not None and statement.startswith(beginning):
                passed.append(statement)
                if len(passed) > after:
                    raise sqlite3.OperationalError("disk full")
            return store._file._connection.execute(statement, *values)

        monkeypatch.setattr(store._file, "execute", execute)

    return broken


class TestBusy:
    def test_an_append_waits_and_other_greenlets_go_on(self, opened, path, clock):
        store = opened()
        with locked(path):
            append = gevent.spawn(put, store, "a", 1)
            turns = 0
            while turns < 20:
                gevent.sleep(0.001)
                turns += 1
            assert not append.ready()
            clock.step(5)
        assert append.get(timeout=5).first_id == clock.us  # numbered by the clock when its turn came
        assert messages(everything(store, "a")) == [1]

    def test_appends_that_wait_together_are_all_stored(self, opened, path):
        store = opened()
        ear = Ear()
        store.listen(ear)
        with locked(path):
            appends = [gevent.spawn(put, store, "a", n) for n in range(10)]
            gevent.sleep(0.01)
        ids = sorted(append.get(timeout=5).last_id for append in appends)
        assert [event.id for event in everything(store, "a").events] == ids
        assert ear.ids("a") == ids

    def test_reads_do_not_wait(self, opened, path):
        store = opened()
        put(store, "a", 1)
        with locked(path):
            assert messages(everything(store, "a")) == [1]
            assert store.info("a").events == 1
            assert names(store) == ["a"]
            store.check()

    @pytest.mark.usefixtures("impatient")
    def test_a_lock_that_is_held_too_long_is_told_and_nothing_is_stored(self, opened, path):
        store = opened()
        ear = Ear()
        store.listen(ear)
        put(store, "a", 1)
        with locked(path):
            for call in (
                lambda: put(store, "a", 2),
                lambda: put(store, "b", 2, key=Key("s", "k", b"1")),
                lambda: store.delete("a"),
                lambda: store.announce_control("k", {}),
            ):
                with pytest.raises(StoreUnavailable):
                    call()
        assert messages(everything(store, "a")) == [1]
        assert names(store) == ["a"]
        put(store, "a", 3)
        assert ear.messages() == [1, 3]
        assert ear.controls == []

    @pytest.mark.usefixtures("impatient")
    def test_a_file_that_is_locked_too_long_cannot_be_opened(self, opened, path):
        opened().close()
        with locked(path), pytest.raises(StoreUnavailable):
            opened()
        put(opened(), "a", 1)

    def test_an_open_waits_for_the_lock(self, opened, path):
        opened().close()
        with locked(path):
            opening = gevent.spawn(opened)
            gevent.sleep(0.01)
            assert not opening.ready()
        put(opening.get(timeout=5), "a", 1)

    def test_a_greenlet_that_is_killed_while_it_waits_leaves_the_store_whole(self, opened, path):
        store = opened()
        with locked(path):
            append = gevent.spawn(put, store, "a", 1)
            gevent.sleep(0.005)
            append.kill()
        put(store, "a", 2)
        assert messages(everything(store, "a")) == [2]


class TestDisk:
    WRITES = ("BEGIN IMMEDIATE", "INSERT INTO channels", "INSERT INTO events", "INSERT INTO idem", "UPDATE", "COMMIT")

    @pytest.mark.parametrize("beginning", WRITES)
    def test_an_append_that_cannot_be_written_stores_nothing(self, opened, broken, beginning):
        store, other = opened(), opened()
        ear = Ear()
        store.listen(ear)
        put(store, "a", 1)
        broken(store, beginning)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                put(store, "b", 1, 2, 3, key=Key("s", "k", b"1"))
        broken(store)
        for each in (store, other):
            assert names(each) == ["a"]
            assert not everything(each, "b").known
        assert not put(store, "b", 1, 2, 3, key=Key("s", "k", b"1")).replayed
        assert messages(everything(other, "b")) == [1, 2, 3]
        assert ear.messages() == [1, 1, 2, 3]

    def test_a_batch_that_fails_half_way_stores_nothing(self, opened, broken):
        store = opened(policy(events=2))
        put(store, "a", 1, 2)
        before = (everything(store, "a")[:4], store.info("a"))
        broken(store, "INSERT INTO events", after=1)
        with pytest.raises(StoreUnavailable):
            put(store, "a", 3, 4)
        broken(store)
        assert (everything(store, "a")[:4], store.info("a")) == before
        put(store, "a", 5)
        assert messages(everything(store, "a")) == [2, 5]

    def test_a_delete_that_cannot_be_written_deletes_nothing(self, opened, broken):
        store = opened()
        ear = Ear()
        store.listen(ear)
        put(store, "a", 1)
        broken(store, "COMMIT")
        with pytest.raises(StoreUnavailable):
            store.delete("a")
        broken(store)
        assert messages(everything(store, "a")) == [1]
        assert ear.controls == []
        store.delete("a")
        assert len(ear.controls) == 1

    def test_a_read_that_fails_is_told(self, opened, broken):
        store = opened()
        put(store, "a", 1)
        broken(store, "SELECT")
        for call in (
            lambda: everything(store, "a"),
            lambda: store.read_before("a", 2**53, PLENTY, PLENTY),
            lambda: store.info("a"),
            lambda: names(store),
            store.check,
        ):
            with pytest.raises(StoreUnavailable):
                call()
        broken(store)
        assert messages(everything(store, "a")) == [1]

    def test_the_reason_is_not_told_to_clients(self, opened, broken, path):
        store = opened()
        broken(store, "COMMIT")
        with pytest.raises(StoreUnavailable) as raised:
            put(store, "a", 1)
        assert "disk full" not in raised.value.detail
        assert str(path) not in raised.value.detail
        assert raised.value.retry_after

    def test_a_database_that_is_full_refuses_until_there_is_room(self, opened):
        store = opened()
        pages = store._file.scalar("PRAGMA page_count")
        store._file.execute(f"PRAGMA max_page_count = {pages + 8}")
        stored = until_refused(store)
        assert everything(store, "a").events[-1].id == stored
        assert names(store) == ["a"]
        store._file.execute("PRAGMA max_page_count = 1000000")
        assert put(store, "a", "room").first_id == stored + 1

    def test_a_disk_that_is_full_refuses_until_there_is_room(self, opened, path):
        store = opened()
        put(store, "a", "x" * 20_000)
        log = path.with_name(f"{path.name}-wal")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 30_000, hard))
        try:
            stored = until_refused(store)
            assert everything(store, "a").head == stored
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sweep(store)
        assert put(store, "a", "room").first_id == stored + 1
        store.close()
        store = opened()
        assert messages(everything(store, "a"))[-1] == "room"
        assert store._file.scalar("PRAGMA integrity_check") == "ok"

    def test_it_is_logged_once_however_many_ask(self, opened, broken, caplog):
        store = opened()
        broken(store, "BEGIN")
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                everything(store, "a")
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "disk full" in caplog.text

    def test_troubles_that_come_in_turns_are_each_logged_once(self, opened, broken, caplog, path):
        store = opened()
        broken(store, "SELECT")
        path.rename(path.with_suffix(".away"))
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                everything(store, "a")
            with pytest.raises(StoreUnavailable):
                put(store, "a", 1)
        assert ["disk full" in record.message for record in caplog.records] == [True, False]


class TestDamage:
    @pytest.fixture
    def damaged(self, opened, monkeypatch):
        """A store with one event that has met a damage, which would be met no more."""
        store = opened()
        put(store, "a", 1)

        def malformed(statement, *values):
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(store._file, "execute", malformed)
            with pytest.raises(StoreUnavailable):
                everything(store, "a")
        return store

    def test_nothing_more_is_written_neither_by_an_append_nor_by_housekeeping(self, damaged):
        before = damaged._file.scalar("PRAGMA data_version"), damaged._file._connection.total_changes
        for call in (lambda: put(damaged, "a", 2), lambda: damaged.delete("a"), damaged.sweep, damaged.check):
            with pytest.raises(StoreUnavailable):
                call()
        assert (damaged._file.scalar("PRAGMA data_version"), damaged._file._connection.total_changes) == before

    def test_what_can_be_read_is_read(self, damaged):
        assert messages(everything(damaged, "a")) == [1]
        assert names(damaged) == ["a"]

    def test_an_open_begins_anew(self, damaged, opened):
        damaged.close()
        assert put(opened(), "a", 2)


def until_refused(store):
    """Append until there is no room, and a few times more; the last id that was stored."""
    stored = 0
    refused = 0
    for _ in range(PLENTY):
        try:
            stored = put(store, "a", "x" * 3000).last_id
        except StoreUnavailable:
            refused += 1
        if refused == 3:
            return stored
    raise AssertionError("it was never full")
