"""The queue of requests: in order, without a greenlet for each, and nobody is held up by one that waits or fails."""

import time
from contextvars import ContextVar
from functools import partial

import gevent
import pytest
from gevent.event import Event

from app.grant import Grant
from app.worker import runqueue
from app.worker.runqueue import RunQueue
from app.worker.state import State
from tests.support.app import assert_nothing_left
from tests.worker.conftest import HEAD, read, until


class Caller:
    """Stands for a connection: what it asks for is a function, called when it is its turn."""

    def __init__(self, ask):
        self.ask = ask
        self.is_closed = False

    def read(self):
        return True

    def abandon(self):
        self.is_closed = True


class Server:
    """Stands for the worker. `greenlets` are those in which it served, kept so that none has the number of another."""

    def __init__(self):
        self.served = []
        self.greenlets = []

    def serve(self, caller):
        self.greenlets.append(gevent.getcurrent())
        caller.ask()
        self.served.append(caller)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def queue(server):
    return RunQueue(server)


def nothing():
    pass


def fail(error):
    raise error


def test_requests_are_served_in_the_order_in_which_they_came_those_of_a_batch_in_one_greenlet(
    server, queue, monkeypatch
):
    monkeypatch.setattr(runqueue, "SLICE_SECONDS", 60)  # or a slow moment ends one amid its batch
    callers = [Caller(nothing) for _ in range(100)]
    for caller in callers:
        queue.add(caller)
    assert server.served == [], "add() has switched"
    until(lambda: len(server.served) == 100)
    assert server.served == callers
    assert len(set(server.greenlets)) == queue.batch == 2
    assert server.greenlets[0] is not gevent.get_hub(), "a request may wait, and the loop may not"


def test_one_that_waits_does_not_hold_up_those_behind_it(server, queue):
    event = Event()
    waiting = [Caller(event.wait), Caller(event.wait)]
    quick = [Caller(nothing) for _ in range(100)]
    for caller in (*waiting, *quick):
        queue.add(caller)
    until(lambda: len(server.served) == 100)
    assert server.served == quick
    assert len(set(server.greenlets)) == 2 + queue.batch
    event.set()
    until(lambda: len(server.served) == 102)


def test_what_comes_while_one_waits_is_of_another_batch(server, queue):
    event = Event()
    queue.add(Caller(event.wait))
    gevent.sleep(0.01)
    late = Caller(nothing)
    queue.add(late)
    until(lambda: server.served == [late])
    assert queue.batch == 2
    event.set()
    until(lambda: len(server.served) == 2)


def test_few_are_read_before_they_are_served(server, queue):
    """Heads of 1.5 KiB of 10,000 clients that ask at once were in memory together, and the heap stayed so large."""
    read, most = [], []

    class Head(Caller):
        def read(self):
            read.append(self)
            most.append(len(read) - len(server.served))
            return True

    for _ in range(1000):
        queue.add(Head(nothing))
    until(lambda: len(server.served) == 1000)
    assert max(most) == runqueue.BATCH


def test_one_that_cannot_be_read_ends_alone(server, queue, caplog):
    class Broken(Caller):
        def read(self):
            raise RuntimeError("of this test")

    callers = [Caller(nothing), Broken(nothing), Caller(nothing)]
    for caller in callers:
        queue.add(caller)
    until(lambda: len(server.served) == 2)
    assert [caller.is_closed for caller in callers] == [False, True, False]
    assert "a request could not be read" in caplog.text


def test_what_a_request_brings_is_served_behind_those_that_are_there(server, queue):
    """The next request of a connection that has sent two at once."""
    second = Caller(nothing)
    first, other = Caller(lambda: queue.add(second)), Caller(nothing)
    queue.add(first)
    queue.add(other)
    until(lambda: len(server.served) == 3)
    assert server.served == [first, other, second]


def test_a_request_sees_nothing_of_the_one_before_it(server, queue):
    """What a layer around the app left in a context variable, a user's name for its log, say, is not the next one's."""
    user = ContextVar("user", default=None)
    seen = []

    def ask(name, waits):
        seen.append(user.get())
        user.set(name)
        gevent.sleep(waits)
        seen.append(user.get())

    for name, waits in (("ada", 0), ("bob", 0.01), ("cleo", 0), ("dan", 0)):
        queue.add(Caller(partial(ask, name, waits)))
    until(lambda: len(server.served) == 4)
    assert seen.count(None) == 4
    assert sorted(filter(None, seen)) == ["ada", "bob", "cleo", "dan"]
    queue.add(Caller(lambda: user.set("eve")))
    queue.add(Caller(lambda: seen.append(user.get())))
    until(lambda: len(server.served) == 6)
    assert seen[-1] is None


def test_the_loop_turns_between_slices(server, queue):
    """Timers have their turn, and so have the sockets: a client is read while others are served."""
    served_at = []
    timer = gevent.get_hub().loop.timer(0.01, 0.01)
    timer.start(lambda: served_at.append(len(server.served)))
    for _ in range(2000):
        queue.add(Caller(lambda: busy(0.0001)))
    until(lambda: len(server.served) == 2000)
    timer.stop()
    timer.close()
    between = [count for count in served_at if 0 < count < 2000]
    assert len(between) > 4, "200 ms, and 10 between two of them"


def test_a_request_that_takes_long_is_the_last_of_its_slice(server, queue):
    turns = []
    timer = gevent.get_hub().loop.timer(0, 0.0001)
    timer.start(lambda: turns.append(len(server.served)))
    for _ in range(5):
        queue.add(Caller(lambda: busy(2 * runqueue.SLICE_SECONDS)))
    until(lambda: len(server.served) == 5)
    timer.stop()
    timer.close()
    assert len({1, 2, 3, 4}.intersection(turns)) > 1


def busy(seconds):
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        pass


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("of this test"), gevent.Timeout(), gevent.GreenletExit()])
def test_one_that_fails_is_closed_and_told_of_and_the_others_go_on(server, queue, caplog, error, waits):
    def ask():
        if waits:
            gevent.sleep(0.01)
        raise error

    failing, others = Caller(ask), [Caller(nothing) for _ in range(10)]
    queue.add(others[0])
    queue.add(failing)
    for caller in others[1:]:
        queue.add(caller)
    until(lambda: failing.is_closed and len(server.served) == 10)
    assert server.served == others
    assert "a request could not be served" in caplog.text
    later = Caller(nothing)
    queue.add(later)
    until(lambda: server.served[-1] is later)
    assert not any(caller.is_closed for caller in (*others, later))


def test_a_process_that_is_told_to_end_ends(queue):
    """gunicorn's abort is a SystemExit in whatever runs."""
    queue.add(Caller(lambda: fail(SystemExit(1))))
    with pytest.raises(SystemExit):
        gevent.sleep(1)


def test_no_greenlet_is_left_and_none_is_made_for_each_request(server, queue):
    for _ in range(3000):
        queue.add(Caller(nothing))
    until(lambda: len(server.served) == 3000)
    # One for each slice, of which a busy machine makes more.
    assert len(set(server.greenlets)) < 300
    assert all(greenlet.dead for greenlet in set(server.greenlets))
    gevent.sleep(0.01)
    assert not queue._timer.active, "a worker that has nothing to do turns its loop"


def test_a_connection_of_which_serving_fails_keeps_no_poll(office, bide, connect, caplog):
    def serve(connection):
        connection.recv(len(HEAD))
        connection.asked()
        connection.hold(Grant(bide.subscriber.open({"news": 0}, connection.waiter(), timeout=50)))
        raise RuntimeError("of this test")

    office.serve = serve
    connection, client = connect()
    client.sendall(HEAD)
    assert read(client) == b""
    assert office.left == [connection]
    assert "a request could not be served" in caplog.text
    assert_nothing_left(bide)


def test_a_request_that_waits_for_its_turn_is_not_taken_for_an_idle_connection(office, connect):
    """It came in time. The time that its connection may be idle is over while others are served."""
    office.keepalive = 0.3
    connection, client = connect()
    other, other_client = connect()
    office.view = lambda connection: connection.sendall(b"answer")
    client.sendall(HEAD)
    assert read(client) == b"answer"
    until(lambda: connection.state is State.READING)
    idle_until = time.monotonic() + office.keepalive

    def view(asking):
        if asking is other:
            busy(idle_until + 0.1 - time.monotonic())
        asking.sendall(b"again")

    office.view = view
    other_client.sendall(HEAD)
    client.sendall(HEAD)
    for each in (other, connection):
        each.on_readable()  # the loop has an order of its own
    assert read(other_client) == b"again"
    assert read(client) == b"again"
    gevent.sleep(0.01)
    assert connection.state is State.READING
    client.sendall(HEAD)
    assert read(client) == b"again"
