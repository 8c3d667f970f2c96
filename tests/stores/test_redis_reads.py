"""Reads of the same at the same moment are one, and none is answered by one that began before it was asked for."""

import gevent
import pytest
from gevent.event import Event

from app.errors import StoreUnavailable
from app.stores.redis_reads import SharedReads

from .support import everything, messages, put


def test_a_thousand_who_ask_for_the_same_are_one_read(redis_url, joined):
    store = joined(redis_url)
    ids = [put(store, "a", n).last_id for n in range(3)]
    calls = store._link.calls
    same = [gevent.spawn(everything, store, "a", ids[0]) for _ in range(1000)]
    others = [gevent.spawn(everything, store, "a", ids[1]), gevent.spawn(store.read, "a", ids[0], 1, 2**30)]
    gevent.joinall([*same, *others], raise_error=True)
    assert {tuple(messages(each.value)) for each in same} == {(1, 2)}
    assert [messages(each.value) for each in others] == [[2], [1]]
    assert store._link.calls - calls == 3


def test_who_comes_while_one_is_under_way_has_another():
    """It was woken by what that one has passed already."""
    events, going, arrived = [], Event(), Event()

    def read(*_):
        seen = tuple(events)
        arrived.set()
        going.wait()
        return seen

    reads = SharedReads(read)
    first = gevent.spawn(reads, "a")
    arrived.wait()
    events.append(1)
    second = gevent.spawn(reads, "a")
    gevent.sleep(0)
    going.set()
    gevent.joinall([first, second], raise_error=True)
    assert (first.value, second.value) == ((), (1,))


def test_who_leaves_does_not_take_it_from_the_others(redis_url, joined):
    store = joined(redis_url)
    put(store, "a", 1)
    first, second = (gevent.spawn(everything, store, "a") for _ in range(2))
    gevent.sleep(0)
    first.kill()
    assert messages(second.get(timeout=5)) == [1]


def test_what_fails_fails_for_all_who_asked():
    def read(*_):
        raise StoreUnavailable("away", retry_after=3)

    reads = SharedReads(read)
    asking = [gevent.spawn(reads, "a") for _ in range(3)]
    raised = []
    for each in asking:
        with pytest.raises(StoreUnavailable, match="away") as error:
            each.get()
        raised.append(error.value)
    assert {error.retry_after for error in raised} == {3}
    assert len(set(map(id, raised))) == 3
