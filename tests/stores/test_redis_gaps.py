"""What a Redis server lost is told as a gap: no cursor is taken past an event without a word, and no id comes twice."""

from contextlib import closing

import pytest

from app.stores.base import Key

from .support import Ear, eventually, everything, messages, names, policy, put


def skipped(reading, after):
    """Whether a client at `after` is told that it missed something."""
    return after < reading.floor


def pages(store, channel, after):
    """What a client gets from there on: events, and `gap` where it is told of one."""
    got = []
    while True:
        reading = store.read(channel, after, 100, 2**30)
        if skipped(reading, after):
            got.append("gap")
            after = reading.floor
            reading = store.read(channel, after, 100, 2**30)
            assert not skipped(reading, after)
        if not reading.events:
            return got
        got += messages(reading)
        after = reading.events[-1].id


def key(url, channel, which):
    return f"{{{url.partition('prefix=')[2]}:{channel}}}:{which}"


def own(url, name):
    return f"{{{url.partition('prefix=')[2]}}}:{name}"


class TestAnotherRun:
    @pytest.fixture
    def restarted(self, own_server, joined):
        """A store with three events from before the server's restart, and two from after it; and their ids."""
        server = own_server(appendonly="yes", appendfsync="always")
        store = joined(server.url, ear=Ear())
        before = [put(store, "a", n).last_id for n in range(3)]
        server.kill()
        server.start()
        eventually(lambda: store._hearing.hears)
        return store, [*before, put(store, "a", 3).last_id, put(store, "a", 4).last_id]

    def test_what_is_left_is_told_before_the_gap(self, restarted):
        store, ids = restarted
        for number, after in enumerate([0, *ids]):
            rest = [n for n in range(5) if n >= number]
            breaks = [] if number > 3 else ["gap"]
            expected = [n for n in rest if n < 3] + breaks + [n for n in rest if n >= 3]
            told = pages(store, "a", after)
            assert told == (["gap", *expected] if after == 0 else expected)

    def test_who_listens_hears_all_once_and_looks_at_the_stream(self, restarted):
        store, ids = restarted
        eventually(lambda: len(store.ear.events) == 5)
        assert store.ear.ids("a") == ids == sorted(set(ids))

    def test_what_followed_is_linked_again(self, restarted):
        store, ids = restarted
        assert [event.prev for event in everything(store, "a", ids[2]).events[1:]] == [ids[3]]
        put(store, "a", 5)
        assert pages(store, "a", ids[3]) == [4, 5]

    def test_a_page_that_ends_at_the_break_is_whole_before_it(self, restarted):
        store, ids = restarted
        assert messages(store.read("a", ids[0], 2, 2**30)) == [1, 2]
        assert messages(store.read("a", ids[0], 3, 2**30)) == [1, 2]
        assert messages(store.read_before("a", ids[4] + 1, 3, 2**30)) == [2, 3, 4]

    def test_a_server_that_was_a_replica_in_between_has_the_data_of_another(self, own_server, joined):
        """And goes on under the run id that it had, so that its own last event seems to be the one before."""
        first, second = (own_server(repl_diskless_sync_delay=0) for _ in range(2))
        store = joined(first.url)
        with closing(first.client) as here, closing(second.client) as there:
            there.replicaof("127.0.0.1", first.port)
            kept = put(store, "a", 0).last_id
            assert here.wait(1, 5000) == 1
            there.replicaof("NO", "ONE")
            lost = put(store, "a", 1).last_id
            here.replicaof("127.0.0.1", second.port)
            eventually(lambda: here.info("replication")["master_link_status"] == "up")
            here.replicaof("NO", "ONE")
            here.client_kill_filter(_type="normal", skipme=True)  # as Sentinel does
        put(store, "a", 2)
        assert pages(store, "a", kept) == pages(store, "a", lost) == ["gap", 2]


LOSSES = {
    "events": lambda url: [key(url, "a", "s")],
    "head": lambda url: [key(url, "a", "h")],
    "events-and-head": lambda url: [key(url, "a", "s"), key(url, "a", "h")],
    "index": lambda url: [own(url, "channels")],
    "base": lambda url: [own(url, "base")],
    "index-events-and-head": lambda url: [own(url, "channels"), key(url, "a", "s"), key(url, "a", "h")],
    "base-events-and-head": lambda url: [own(url, "base"), key(url, "a", "s"), key(url, "a", "h")],
    "all": None,
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("first", ["read", "append", "append-by-another"])
def test_a_loss_is_told_to_all_who_missed_something(server, redis_url, joined, loss, first):
    store, other = joined(redis_url), joined(redis_url)
    ids = [put(store, "a", n).last_id for n in range(3)]
    with server.client as client:
        if LOSSES[loss] is None:
            client.flushall()
        else:
            assert client.delete(*LOSSES[loss](redis_url))
    if first == "read":
        everything(other, "a")
    new = put(other if first == "append-by-another" else store, "a", 3).last_id
    assert new > ids[-1]
    for number, after in enumerate(ids):
        told = pages(store, "a", after)
        assert told[-1] == 3
        if "gap" not in told:
            assert told == [n for n in range(4) if n > number]
    again = put(store, "a", 4)
    assert again.first_id > new
    assert pages(store, "a", new) == [4]
    assert names(store) in (["a"], [])
    if loss != "index":
        assert names(store) == ["a"]


def test_an_id_that_was_given_is_never_given_again_by_a_clock_that_went_back(server, redis_url, joined, clock):
    store = joined(redis_url, policy(), clock=clock)
    clock.step(1)
    last = put(store, "a", 1).last_id
    for which in "sh":
        clock.step(-10)
        with server.client as client:
            client.delete(key(redis_url, "a", which))
        given = put(store, "a", 2).last_id
        assert given > last
        last = given


def test_an_idempotency_key_that_was_lost_is_a_new_one_and_the_others_hold(server, redis_url, joined):
    store = joined(redis_url)
    first = put(store, "a", 1, key=Key("s", "k", b"1"))
    with server.client as client:
        client.delete(key(redis_url, "a", "s"), key(redis_url, "a", "h"))
    assert put(store, "a", 1, key=Key("s", "k", b"1")) == (*first[:2], True)
    with server.client as client:
        client.delete(key(redis_url, "a", "k"))
    assert not put(store, "a", 1, key=Key("s", "k", b"1")).replayed


def test_a_server_that_evicts_tells_of_gaps_only(own_server, joined):
    server = own_server(maxmemory_policy="allkeys-random")
    store = joined(server.url, policy(events=50))
    cursors, text = {}, "x" * 2000
    with server.client as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)
        for n in range(1500):
            channel = f"c{n % 30}"
            last = put(store, channel, [n, text]).last_id
            after, known = cursors.get(channel, (None, None))
            if after is not None:
                assert last > after
                told = [part if part == "gap" else part[0] for part in pages(store, channel, after)]
                assert "gap" in told or told == list(range(known + 30, n + 1, 30))
            if n % 4 == 0 or after is None:
                cursors[channel] = last, n
        assert client.info("stats")["evicted_keys"] > 20
