"""Two processes on one Redis server: each hears what the other does once and in order, whatever happens to its ears."""

import signal
from functools import partial

import gevent
import pytest

from app.errors import StoreUnavailable
from app.stores import redis_link, redis_listener, redis_watches

from .support import Ear, eventually, everything, messages, put, said


def cut(server, kind="pubsub"):
    with server.client as client:
        return client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def subscribed(server, channel):
    with server.client as client:
        return [name for name in client.pubsub_channels() if f":{channel}}}".encode() in name]


def settle(*stores):
    """Until every subscription is confirmed and every stream read that is to be."""
    for store in stores:
        watches = store._hearing.watches
        eventually(lambda store=store: store._hearing.hears)
        eventually(lambda watches=watches: not any(watch.fences for watch in watches._watches.values()))


@pytest.fixture
def watching(pair):
    """Both have read the channel, and hear it."""
    for store in pair:
        everything(store, "a")
    put(pair[0], "a", "first")
    eventually(lambda: all(store.ear.events for store in pair))
    settle(*pair)
    for store in pair:
        store.delete("a")
    eventually(lambda: all(len(store.ear.controls) == 2 for store in pair))
    for store in pair:
        store.ear.events.clear()
        store.ear.controls.clear()
    return pair


class TestWithoutFaults:
    def test_what_each_does_is_heard_by_both_once_and_in_order(self, watching):
        puts = [
            gevent.spawn(put, watching[n % 2], "a", *range(3 * n, 3 * n + 3), type="t" if n % 3 else None)
            for n in range(60)
        ]
        gevent.joinall(puts, raise_error=True)
        eventually(lambda: all(len(store.ear.events) == 180 for store in watching))
        for store in watching:
            assert said(store.ear.events) == said(everything(store, "a").events)
            assert store._hearing.watches.rereads == 0
            assert store.ear.losses == 0

    @pytest.mark.parametrize("type", [None, "-", ".", ":", "_", "0", "-" * 64])
    def test_an_event_is_heard_with_the_type_that_it_is_read_with(self, watching, type):
        one, other = watching
        put(one, "a", 1, 2, type=type)
        eventually(lambda: len(other.ear.events) == 2)
        assert said(other.ear.events) == said(everything(other, "a").events)
        assert [event.type for event in other.ear.events] == [type, type]

    def test_a_channel_that_begins_to_be_read_amid_appends(self, redis_url, joined):
        writer = joined(redis_url)
        for n in range(20):
            name = f"c{n}"
            reader = joined(redis_url, ear=Ear())
            puts = [gevent.spawn(put, writer, name, m) for m in range(10)]
            gevent.sleep(0.0002 * (n % 7))
            first = everything(reader, name)
            gevent.joinall(puts, raise_error=True)
            expected = [event.id for event in everything(writer, name).events][len(first.events) :]
            heard = partial(reader.ear.ids, name)
            eventually(lambda heard=heard, expected=expected: set(heard()) >= set(expected))
            assert [id for id in heard() if id > first.head] == expected

    def test_who_appends_first_hears_what_another_appends_next(self, server, pair):
        one, other = pair
        put(one, "a", 1)
        put(other, "a", 2)
        put(one, "a", 3)
        eventually(lambda: one.ear.messages() == [1, 2, 3])
        settle(one, other)
        put(other, "a", 4)
        eventually(lambda: one.ear.messages() == [1, 2, 3, 4])

    def test_a_delete_by_another_is_told_once(self, watching):
        one, other = watching
        to = put(one, "a", 1).last_id
        one.delete("a")
        put(one, "a", 2)
        eventually(lambda: len(other.ear.events) == 2)
        for store in watching:
            assert store.ear.messages() == [1, 2]
            assert store.ear.controls == [("deleted", {"channel": "a", "to": to})]

    def test_a_control_by_another_is_told_once(self, pair):
        one, other = pair
        one.announce_control("noted", {"é": [1, None]})
        eventually(lambda: other.ear.controls)
        assert other.ear.controls == one.ear.controls == [("noted", {"é": [1, None]})]


class TestCut:
    def test_what_comes_amid_cuts_is_told_once_and_in_order(self, server, watching):
        one, other = watching
        killed = 0
        for n in range(150):
            put(one, "a", n)
            if n % 6 == 0:
                killed += cut(server)
                gevent.sleep(0.001 * (n % 4))
        eventually(lambda: len(other.ear.events) == 150)
        settle(one, other)
        assert killed >= 4
        for store in watching:
            assert store.ear.messages() == list(range(150))

    def test_a_delete_meanwhile_is_told_after(self, server, watching, monkeypatch):
        one, other = watching
        monkeypatch.setattr(redis_listener, "AGAIN_SECONDS", (0.2, 0.2))
        to = put(one, "a", 1).last_id
        eventually(lambda: other.ear.events)
        cut(server)
        one.delete("a")
        put(one, "a", 2)
        eventually(lambda: len(other.ear.events) == 2)
        for store in watching:
            assert store.ear.controls == [("deleted", {"channel": "a", "to": to})]

    def test_a_delete_whose_answer_was_lost_is_told_here_too(self, watching, monkeypatch):
        one, _ = watching
        put(one, "a", 1)
        call = one._channels.call

        def cut_after(*words):
            call(*words)
            if words[0] == "delete":
                raise StoreUnavailable("cut")
            return call(*words)

        monkeypatch.setattr(one._channels, "call", cut_after)
        with pytest.raises(StoreUnavailable):
            one.delete("a")
        eventually(lambda: one.ear.controls)
        assert [kind for kind, _ in one.ear.controls] == ["deleted"]

    def test_what_is_gone_before_it_was_read_is_not_looked_for_without_end(self, server, watching):
        one, other = watching
        put(one, "a", 1)
        eventually(lambda: other.ear.events)
        name = other._keys.of("a")
        late = f"e {10**16} {10**16 + 1} {10**16}  1\n7"
        with server.client as client:
            client.delete(*name)
            client.publish(other._keys.topic("a"), late)
        eventually(lambda: other._hearing.watches.rereads)
        settle(one, other)
        calls = other._link.calls
        gevent.sleep(0.05)
        assert other._link.calls - calls <= 1  # the word that it sends itself
        assert other._hearing.watches.rereads == 1
        put(one, "a", 2)
        eventually(lambda: other.ear.messages() == [1, 2])


class TestDeaf:
    @pytest.fixture
    def quick(self, monkeypatch):
        monkeypatch.setattr(redis_listener, "DEAF_SECONDS", 0.3)
        monkeypatch.setattr(redis_listener, "PROBE_SECONDS", 0.05)
        monkeypatch.setattr(redis_listener, "RED_SECONDS", 0)
        monkeypatch.setattr("app.stores.redis.LISTEN_SECONDS", 0.05)

    def test_a_server_that_stands_still_turns_the_check_red_and_all_is_told_after(self, own_server, joined, quick):
        server = own_server()
        one, other = [joined(server.url, ear=Ear()) for _ in range(2)]
        everything(other, "a")
        put(one, "a", 1)
        other.check()
        server.signal(signal.SIGSTOP)
        putting = gevent.spawn(put, one, "a", 2)
        eventually(lambda: not other._hearing.hears)
        server.signal(signal.SIGCONT)
        putting.get(timeout=5)
        settle(one, other)
        other.check()
        assert other.ear.messages() == messages(everything(one, "a")) == [1, 2]

    def test_an_ear_whose_words_do_not_come_is_replaced(self, own_server, joined, quick, caplog):
        """Everything looks well, but nothing comes: as behind a balancer that forgot a connection."""
        server = own_server()
        one, other = [joined(server.url, ear=Ear()) for _ in range(2)]
        everything(other, "a")
        settle(one, other)
        way = other._hearing._way
        with server.client as client:
            client.execute_command("ACL", "SETUSER", "default", "resetchannels")  # and closes both ears
            eventually(lambda: not other._hearing.hears)
            with pytest.raises(StoreUnavailable):
                other.check()
            eventually(lambda: caplog.text.count("are not heard") == 2)
            client.execute_command("ACL", "SETUSER", "default", "allchannels")
        put(one, "a", 1)
        settle(one, other)
        other.check()
        assert other._hearing._way is not way
        eventually(lambda: other.ear.messages() == [1])
        eventually(lambda: caplog.text.count("heard again") == 2)
        assert caplog.text.count("are not heard") == 2

    def test_a_server_that_gives_no_answers_is_away_and_nobody_is_said_to_be_deaf(
        self, own_server, joined, quick, caplog, monkeypatch
    ):
        monkeypatch.setitem(redis_link._DEFAULTS, "socket_timeout", 1)
        monkeypatch.setattr(redis_listener, "AGAIN_SECONDS", (0.01, 0.05))
        server = own_server()
        store = joined(server.url, ear=Ear())
        server.signal(signal.SIGSTOP)
        eventually(lambda: caplog.records)
        eventually(lambda: store._hearing._trouble)
        server.signal(signal.SIGCONT)
        eventually(lambda: len(caplog.records) > 1)
        settle(store)
        lines = [record.message.split(":")[0] for record in caplog.records]
        assert lines == ["the Redis store is away", "the Redis store is back"]

    def test_a_connection_that_says_nothing_more_is_given_up(self, own_server, joined, quick, caplog):
        server = own_server()
        one, other = [joined(server.url, ear=Ear()) for _ in range(2)]
        everything(other, "a")
        settle(one, other)
        way = other._hearing._way
        way.send(b"UNSUBSCRIBE", other._hearing._probe)
        put(one, "a", 1)
        eventually(lambda: other._hearing._way not in (way, None))
        eventually(lambda: other.ear.messages() == [1])
        settle(other)
        assert [record for record in caplog.records if record.exc_info] == []


class TestQuiet:
    @pytest.fixture
    def brief(self, monkeypatch):
        monkeypatch.setattr(redis_watches, "QUIET_SECONDS", 0)

    def test_a_channel_that_nobody_hears_is_left_and_heard_again(self, server, watching, brief):
        one, other = watching
        for store in watching:
            store.ear.deaf_to.add("a")
            for _ in range(2):
                store._hearing.watches.leave_quiet()
        eventually(lambda: not subscribed(server, "a"))
        put(one, "a", 1)
        other.ear.deaf_to.clear()
        assert messages(everything(other, "a")) == [1]
        put(one, "a", 2)
        eventually(lambda: other.ear.messages()[-1:] == [2])
        assert subscribed(server, "a")

    def test_a_channel_that_is_heard_is_not_left(self, server, watching, brief):
        for store in watching:
            for _ in range(3):
                store._hearing.watches.leave_quiet()
        assert subscribed(server, "a")

    def test_it_stays_for_a_while_unless_there_are_too_many(self, server, pair, monkeypatch):
        one, _ = pair
        monkeypatch.setattr(redis_watches, "QUIET_CHANNELS", 10)
        for n in range(11):
            everything(one, f"c{n}")
            one.ear.deaf_to.add(f"c{n}")
            if n == 9:
                settle(one)
                for _ in range(3):
                    one._hearing.watches.leave_quiet()
                assert len(one._hearing.watches.channels) == 10
        watches = one._hearing.watches
        eventually(lambda: watches.leave_quiet() or "c9" not in watches.channels)
        eventually(lambda: not subscribed(server, "c9"))
