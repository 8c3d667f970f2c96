"""One look at what other processes did serves all requests that had come before it, and none that came later.

Two servers on one file stand for two workers. `there` hears of the other only when it looks by itself: its listener is
stopped, and `hear` is what it would do at last.
"""

import pytest

from app.grant import Grant
from app.waiter import Waiter
from app.worker.state import State
from tests.support.app import assert_nothing_left, server, store_url
from tests.worker.conftest import HEAD, KNOWN, read, until


@pytest.fixture
def url(tmp_path):
    return store_url("sqlite", tmp_path)


@pytest.fixture
def here(url):
    with server(url) as parts:
        yield parts


@pytest.fixture
def there(here, url):
    with server(url) as parts:
        parts.store.store._listening.stop()
        yield parts
        assert_nothing_left(parts)


@pytest.fixture
def looks(there, monkeypatch):
    """Each look so far."""
    found = []
    catch_up = there.store.store.catch_up
    monkeypatch.setattr(there.store.store, "catch_up", lambda: found.append(1) or catch_up())
    return found


def hear(parts):
    parts.store.store._listening.catch_up()


def opened(parts, batch):
    return parts.subscriber.open({"news": 0}, Waiter(), timeout=50, batch=batch)


def test_requests_that_came_before_a_look_share_it(there, looks):
    numbers = [4, 4, 4, 9, 9, None, None, 9, 10]
    polls = []
    for number, so_far in zip(numbers, [1, 1, 1, 2, 2, 3, 4, 5, 6], strict=True):
        polls.append(opened(there, number))
        assert len(looks) == so_far
    for poll in polls:
        poll.close()


def test_a_delete_between_two_batches_ends_the_polls_of_the_first_alone(here, there):
    early = [opened(there, 1) for _ in range(2)]
    here.delete("news")
    late = [opened(there, 2) for _ in range(2)]
    hear(there)
    assert [poll.waiter.ending for poll in early + late] == ["deleted", "deleted", None, None]
    for poll in early + late:
        poll.close()


@pytest.fixture
def serve(office, there):
    """The worker's view: a poll, once all bytes of its body are there; which connections have asked, in their order."""
    order = []

    def view(connection):
        order.append(connection)
        head = office.served[-1]
        # After a body that must be awaited anybody may have been served meanwhile.
        left = int(head.partition(b"Body: ")[2].partition(b"\r\n")[0] or 0)
        while left:
            left -= len(connection.recv(left))
        batch = connection.batch
        poll = there.subscriber.open({"news": 0}, connection.waiter(), timeout=50, batch=batch)
        grant = Grant(poll)
        grant.head = KNOWN
        connection.hold(grant)

    office.view = view
    return order


def with_body(size):
    return HEAD.replace(b"\r\n\r\n", b"\r\nBody: %d\r\n\r\n" % size)


def ending(connection):
    return connection._grant.poll.waiter.ending


def parked(*connections):
    until(lambda: all(connection.state is State.PARKED for connection in connections))


def end(here, there, *clients):
    """Each is answered with the next event, and nothing before it."""
    id = here.publisher.publish("news", "next")
    hear(there)
    for client in clients:
        assert b'"id":%d' % id in read(client)


def test_a_batch_of_requests_costs_one_look(here, there, looks, serve, connect):
    pairs = [connect() for _ in range(20)]
    for _, client in pairs:
        client.sendall(HEAD)
    parked(*[connection for connection, _ in pairs])
    assert len(looks) == 1
    end(here, there, *[client for _, client in pairs])


def test_a_poll_that_is_sent_after_a_delete_was_acknowledged_elsewhere_is_held(here, there, serve, connect):
    (early, first), (late, second) = connect(), connect()
    first.sendall(HEAD)
    parked(early)
    here.delete("news")
    second.sendall(HEAD)
    parked(late)
    hear(there)
    assert b'"message"' not in read(first)
    assert ending(late) is None
    end(here, there, second)


def test_a_poll_whose_body_is_sent_after_a_delete_was_acknowledged_elsewhere_is_held(here, there, serve, connect):
    """Its head has come, and a look has been made, before the delete."""
    (slow, first), (quick, second) = connect(), connect()
    first.sendall(with_body(4))
    until(lambda: serve == [slow])
    second.sendall(HEAD)
    parked(quick)
    here.delete("news")
    first.sendall(b"body")
    parked(slow)
    hear(there)
    assert b'"message"' not in read(second)
    assert ending(slow) is None
    end(here, there, first)


def test_a_poll_whose_body_came_with_its_head_shares_a_look(here, there, looks, serve, connect):
    pairs = [connect() for _ in range(3)]
    for _, client in pairs:
        client.sendall(with_body(4) + b"body")
    parked(*[connection for connection, _ in pairs])
    assert len(looks) == 1
    end(here, there, *[client for _, client in pairs])


def test_a_poll_that_waits_behind_another_on_its_connection_comes_when_that_is_answered(
    here, there, looks, serve, connect
):
    connection, client = connect()
    client.sendall(HEAD * 3)
    parked(connection)
    for number in range(1, 4):
        assert len(looks) == number
        here.delete("news")
        hear(there)
        assert b"HTTP/1.1 200 OK" in read(client)
        if number < 3:
            until(lambda number=number: len(serve) == number + 1 and connection.state is State.PARKED)
            hear(there)
            assert ending(connection) is None
