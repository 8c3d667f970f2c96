"""Revocations on a Redis server: heard, missed, lost by the server, and gone when they have ended."""

import time

import pytest

from app.errors import StoreUnavailable
from app.revocations import Revocations
from app.stores import redis_listener
from app.stores.base import REVOKED_SECONDS, Revocation

from .support import Ear, eventually, policy

NOW = int(time.time())


#: Far longer than all tests take.
LONG = 100_000


def sub(value="ann", until=LONG):
    return Revocation("sub", value, NOW, NOW + until)


class Knowing(Ear):
    """An ear of what a server has: it knows what was revoked."""

    def __init__(self):
        super().__init__()
        self.known = None

    def control(self, kind, data):
        super().control(kind, data)
        if kind == "revoked" and self.known:
            self.known.heard(data)

    def missed_controls(self):
        super().missed_controls()
        if self.known:
            self.known.missed()

    def knows(self):
        return {*self.known._subjects, *self.known._jtis}


@pytest.fixture
def workers(redis_url, joined):
    """Two, that know what was revoked."""
    found = []
    for _ in range(2):
        store = joined(redis_url, policy(), ear=Knowing())
        store.ear.known = Revocations()
        store.ear.known.begin(store, lambda: None)
        found.append(store)
    yield found
    for store in found:
        store.ear.known.stop()


def name(redis_url):
    return f"{{{redis_url.partition('prefix=')[2]}}}:revoked"


def test_what_one_process_revokes_the_other_hears_once(workers):
    one, other = workers
    one.revoke(sub())
    eventually(lambda: other.ear.controls)
    assert other.ear.controls == one.ear.controls == [("revoked", sub()._asdict())]
    assert one.revocations() == other.revocations() == [sub()]


def test_what_was_revoked_while_a_process_was_cut_off_it_knows_once_it_hears_again(server, workers, monkeypatch):
    one, other = workers
    monkeypatch.setattr(redis_listener, "AGAIN_SECONDS", (0.1, 0.1))
    with server.client as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    one.revoke(sub())
    assert other.ear.controls == []
    eventually(lambda: other.ear.knows() == {"ann"}, seconds=1)
    assert other.ear.controls == []  # read, not heard
    assert one.ear.known.version == 1


def test_a_process_that_hears_nothing_reads_what_was_revoked(workers, monkeypatch):
    one, other = workers
    monkeypatch.setattr(redis_listener, "DEAF_SECONDS", 0.2)
    monkeypatch.setattr(redis_listener, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(other._hearing, "_hear", lambda *_: None)  # nothing that comes is heard, however often it asks
    one.revoke(sub("heard"))  # it was listened for already
    eventually(lambda: other.ear.controls)
    one.revoke(sub())
    eventually(lambda: other.ear.knows() == {"heard", "ann"})
    assert len(other.ear.controls) == 1


def test_one_whose_answer_was_lost_is_known_here_too(workers, monkeypatch):
    one, _ = workers
    run = one._link.run

    def lost(*words):
        run(*words)
        raise StoreUnavailable("cut")

    monkeypatch.setattr(one._link, "run", lost)
    with pytest.raises(StoreUnavailable):
        one.revoke(sub())
    eventually(lambda: one.ear.knows() == {"ann"})


@pytest.mark.parametrize("swept", [0, 1])
def test_what_the_server_has_evicted_is_written_again_by_who_knows_it(server, redis_url, joined, workers, swept):
    for number in range(5):
        workers[number % 2].revoke(sub(str(number)))
    workers[0].revoke(sub("ended", until=-REVOKED_SECONDS + 1))
    for store in workers:
        eventually(lambda store=store: len(store.ear.controls) == 6)
    for store in workers:
        store.sweep()
    with server.client as client:
        assert client.delete(name(redis_url)) == 1
    workers[swept].sweep()
    late = joined(redis_url)
    eventually(lambda: len(late.revocations()) == 5)
    assert {each.value for each in late.revocations()} == set("01234")


@pytest.mark.parametrize("who", [0, 1])
def test_one_that_is_evicted_before_anybody_looked_is_missed_too(server, redis_url, workers, who):
    workers[0].revoke(sub())
    eventually(lambda: workers[1].ear.controls)
    with server.client as client:
        client.delete(name(redis_url))
    workers[who].sweep()
    eventually(lambda: workers[0].revocations() == [sub()])


def test_where_none_is_lost_the_list_is_not_read_again(workers):
    one, other = workers
    one.revoke(sub())
    eventually(lambda: other.ear.controls)
    missed = [store.ear.missed for store in workers]
    for _ in range(3):
        for store in workers:
            store.sweep()
    assert [store.ear.missed for store in workers] == missed


def test_the_list_lives_as_long_as_the_last_of_it(server, redis_url, workers):
    store = workers[0]
    with server.client as client:
        lives = []
        for until in (20_000, 30_000, 10_000, 50_000):
            store.revoke(sub(str(until), until))
            lives.append(client.pttl(name(redis_url)) / 1000 - REVOKED_SECONDS - (NOW - time.time()))
    assert [round(seconds, -1) for seconds in lives] == [20_000, 30_000, 30_000, 50_000]


def test_a_user_who_must_not_announce_it_revokes_nothing(server, redis_url, joined):
    with server.client as client:
        client.execute_command("ACL", "SETUSER", "quiet", "on", ">secret", "~*", "resetchannels", "&*:to:*", "+@all")
    url = redis_url.replace("redis://", "redis://quiet:secret@")
    store = joined(url)
    with pytest.raises(StoreUnavailable):
        store.revoke(sub())
    assert store.revocations() == []


def test_a_server_that_is_full_keeps_nothing_of_it(own_server, joined):
    server = own_server(maxmemory_policy="noeviction")
    store = joined(server.url, policy(), ear=Ear())
    with server.client as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable):
            store.revoke(sub())
        client.config_set("maxmemory", 0)
    assert store.revocations() == []
    assert store.ear.controls == []


def test_many_are_listed_and_many_that_ended_make_room(server, redis_url, joined, clock):
    """More than a script can name to one command."""
    store = joined(redis_url, policy(max_revocations=12_000), clock=clock)
    begin = int(clock())
    with server.client as client:
        ends = {f"jti:{number}": begin + (1000 if number % 3 == 0 else 10) for number in range(12_000)}
        client.hset(name(redis_url), mapping={token: f"0 {until}" for token, until in ends.items()})
    assert len(store.revocations()) == 12_000
    clock.step(10 + REVOKED_SECONDS)
    store.revoke(Revocation("jti", "new", 0, begin + 1000))
    assert len(store.revocations()) == 4001
    with server.client as client:
        assert client.hlen(name(redis_url)) == 4001
