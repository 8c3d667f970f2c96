"""Beside answering: housekeeping, stopping without cutting a client off, and finding the worker to do it for."""

import contextlib
import signal
import socket
from types import SimpleNamespace

import gevent
import gevent.event
import pytest
from gunicorn.workers.base_async import AsyncWorker

from app import lifecycle as module
from app.lifecycle import CLOSE, Connections, Gate, find_worker
from tests.support.app import Clock, answer, parked_poll, present, server, staged, wait_until


class Listener:
    def getsockname(self):
        return ("127.0.0.1", 8000)


LISTENER = Listener()


class Worker:
    """As much of a gunicorn worker as is looked at. A connection is in its hands until the test ends it."""

    def __init__(self):
        self.alive = True
        self.handled = []
        self.ended = gevent.event.Event()

    def handle(self, listener, client, addr):
        self.handled.append((listener, client, addr))
        self.ended.wait()
        if addr == "broken":
            raise OSError

    def handle_request(self, name, request, client, addr):
        return request(client)


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.ended.set()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def connections(worker, clock):
    return Connections(worker, 1000)


@pytest.fixture
def accepted(worker, connections, clock):
    """Makes connections that the worker holds: its end, and the client's."""
    sockets, greenlets = [], []

    def accept(addr="address"):
        ours, client = socket.socketpair()
        ours.setblocking(False)
        sockets.extend((ours, client))
        greenlets.append(gevent.spawn(worker.handle, LISTENER, ours, addr))
        gevent.sleep(0)
        return ours, client

    yield accept
    worker.ended.set()
    gevent.joinall(greenlets)
    for end in sockets:
        end.close()


def is_shut(ours):
    """Whether a read meets the end."""
    try:
        return ours.recv(100) == b""
    except BlockingIOError:
        return False


def test_a_worker_goes_on_handling_its_connections(worker, accepted):
    ours, _ = accepted()
    ((listener, *rest),) = worker.handled
    assert (listener.getsockname(), *rest) == (LISTENER.getsockname(), ours, "address")


def test_a_connection_that_asks_nothing_more_is_shut_for_reading(connections, accepted):
    ours, client = accepted()
    connections.begin(ours)
    connections.end(ours)
    connections.shut_idle()
    assert is_shut(ours)
    ours.sendall(b"still")
    assert client.recv(100) == b"still"


def test_what_a_client_has_sent_already_is_still_read(connections, accepted):
    ours, client = accepted()
    connections.begin(ours)
    connections.end(ours)
    client.sendall(b"GET")
    connections.shut_idle()
    assert ours.recv(100) == b"GET"
    assert is_shut(ours)


def test_requests_without_a_pause_let_the_loop_turn(connections):
    """A packet holds two hundred of them."""
    turned = []
    other = gevent.spawn(lambda: turned.append(1))
    for _ in range(1_000_000):
        connections.begin("client")
        connections.end("client")
        if turned:
            break
    assert turned
    other.join()


def test_who_is_silent_is_shut_when_its_time_is_up(connections, accepted, clock):
    early, _ = accepted()
    clock.now += 1
    late, _ = accepted()
    asks, _ = accepted()
    connections.begin(asks)
    clock.now += module.HEAD_SECONDS - 1
    connections.shut_slow()
    assert [is_shut(each) for each in (early, late, asks)] == [True, False, False]


def test_many_that_are_silent_are_shut_one_part_after_the_other(connections, accepted, clock, monkeypatch):
    """The worker lets go of all that were shut before it serves anybody: of thousands that took seconds."""
    monkeypatch.setattr(module, "ENDED_AT_ONCE", 2)
    ours = [accepted()[0] for _ in range(5)]
    clock.now += module.HEAD_SECONDS
    for shut in (2, 4, 5):
        connections.shut_slow()
        assert [is_shut(each) for each in ours] == [True] * shut + [False] * (5 - shut)


def test_who_was_silent_longest_is_shut_where_there_are_too_many(connections, accepted, clock):
    ours = [accepted()[0] for _ in range(5)]
    connections.kept = 3
    connections.shut_slow()
    assert not any(map(is_shut, ours))
    clock.now += module.FIRST_REQUEST_SECONDS
    connections.shut_slow()
    assert [is_shut(each) for each in ours] == [True, True, False, False, False]


def test_a_connection_with_a_request_in_work_is_left_alone(connections, accepted):
    ours, _ = accepted()
    connections.begin(ours)
    connections.shut_idle()
    assert not is_shut(ours)
    connections.end(ours)
    connections.shut_idle()
    assert is_shut(ours)


def test_a_new_connection_has_a_moment_to_ask(connections, accepted, clock):
    ours, _ = accepted()
    connections.shut_idle()
    assert not is_shut(ours)
    clock.now += module.FIRST_REQUEST_SECONDS
    connections.shut_idle()
    assert is_shut(ours)


def test_a_connection_that_closed_meanwhile_is_no_trouble(connections, accepted, clock):
    ours, client = accepted()
    other, _ = accepted()
    clock.now += module.FIRST_REQUEST_SECONDS
    client.close()
    ours.close()
    connections.shut_idle()
    assert is_shut(other)


def test_a_connection_that_ended_is_forgotten_however_it_ended(worker, connections, accepted):
    for addr in ("address", "broken"):
        ours, _ = accepted(addr)
        connections.begin(ours)
        connections.end(ours)
    worker.ended.set()
    wait_until(lambda: not connections._silent and not connections._idle, "forgotten")


@pytest.mark.parametrize("fails", [False, True])
def test_a_connection_is_busy_as_long_as_its_request_is_in_work_whichever_app_serves_it(worker, connections, fails):
    """The connections of another app beside Bide were shut ten seconds after they were opened."""
    busy = []

    def request(client):
        busy.append(client not in connections._idle)
        if fails:
            raise RuntimeError
        return "what gunicorn returned"

    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        assert worker.handle_request("name", request, "client", "address") == "what gunicorn returned"
    assert busy == [True]
    assert list(connections._idle) == ["client"]


def test_connections_between_two_requests_make_room_too_after_the_silent_ones(connections, accepted, clock):
    """Idle ones and a hundred slow bodies kept everybody else out of a full worker."""
    idle = [accepted()[0] for _ in range(3)]
    for ours in idle:
        connections.begin(ours)
    for ours in reversed(idle):
        connections.end(ours)
    silent, _ = accepted()
    clock.now += module.FIRST_REQUEST_SECONDS
    connections.kept = 2
    connections.shut_slow()
    assert [is_shut(each) for each in (*idle, silent)] == [False, False, True, True]


class Answering:
    """Stands for gunicorn's response, whose method `start_response` is."""

    def __init__(self):
        self.closed = False

    def start_response(self, status, headers):
        pass

    def force_close(self):
        self.closed = True


def through(gate, answering=None, environ=None):
    """Ask something through a gate; whether the connection is closed after it."""
    answering = answering or Answering()
    assert gate.serve({"gunicorn.socket": "client", **(environ or {})}, answering.start_response) == [b"body"]
    return answering.closed


def make_gate(wsgi=lambda environ, start_response: [b"body"], draining=False):
    return Gate(wsgi, SimpleNamespace(draining=draining))


def test_a_gate_lets_through_what_no_worker_asks():
    assert not through(make_gate(draining=True))


def test_a_gate_closes_every_connection_while_the_worker_stops(connections):
    gate = make_gate(draining=True)
    gate.connections = connections
    assert through(gate)


def test_a_gate_closes_a_connection_whose_body_was_not_read(connections):
    gate = make_gate()
    gate.connections = connections
    assert through(gate, environ={CLOSE: True})
    assert not through(gate)


def test_a_gate_does_without_a_response_that_can_be_told_to_close(connections):
    gate = make_gate(draining=True)
    gate.connections = connections
    assert gate.serve({"gunicorn.socket": "client"}, lambda status, headers: None) == [b"body"]


@pytest.fixture
def hurry(monkeypatch):
    """Makes every pause of the lifecycle a turn of the event loop."""
    quick = SimpleNamespace(sleep=lambda seconds: gevent.sleep(0.001), spawn=gevent.spawn, killall=gevent.killall)
    monkeypatch.setattr(module, "gevent", quick)


def test_housekeeping_lets_go_of_what_nobody_came_back_to(hurry):
    with server() as bide:
        bide.presence._seconds = 0.001
        with present(bide.presence, ["news"], "ann", "poll"):
            pass
        calls = []
        bide.notifier.expire = lambda: calls.append(1)
        bide.lifecycle.start(None, make_gate(), 0)
        wait_until(lambda: len(calls) > 1 and bide.counts()["present"] == 0, "expired")


def test_housekeeping_sweeps_the_store_round_after_round(hurry):
    with server() as bide:
        rounds = [True, True, False] * 3
        staged(bide).store.sweep = lambda: rounds.pop(0) if rounds else False
        bide.lifecycle.start(None, make_gate(), 0)
        wait_until(lambda: not rounds, "swept")


def test_housekeeping_outlives_a_store_that_is_away(hurry):
    with server() as bide:
        swept = []
        staged(bide).store.sweep = lambda: swept.append(1)
        staged(bide).away = True
        bide.lifecycle.start(None, make_gate(), 0)
        gevent.sleep(0.01)
        assert not swept
        staged(bide).away = False
        wait_until(lambda: swept, "swept")


def test_a_worker_that_is_told_to_stop_answers_its_polls_and_shuts_what_is_idle(hurry, worker, accepted, clock):
    with server() as bide:
        gate = make_gate()
        bide.lifecycle.start(worker, gate, 1000)
        idle = gate.connections
        ours, client = socket.socketpair()
        ours.setblocking(False)
        handled = gevent.spawn(worker.handle, LISTENER, ours, "address")
        gevent.sleep(0)
        idle.begin(ours)
        idle.end(ours)
        waiting = parked_poll(bide)
        gevent.sleep(0.005)
        assert not bide.notifier.draining
        worker.alive = False
        assert not answer(waiting).events
        assert bide.notifier.draining
        wait_until(lambda: is_shut(ours), "shut")
        worker.ended.set()
        handled.get(timeout=1)
        client.close()
        ours.close()


def test_a_lifecycle_that_stopped_does_nothing_more(hurry):
    with server() as bide:
        swept = []
        staged(bide).store.sweep = lambda: swept.append(1)
        bide.lifecycle.start(None, make_gate(), 0)
        wait_until(lambda: swept, "swept")
        bide.lifecycle.stop()
        swept.clear()
        gevent.sleep(0.01)
        assert not swept


def test_a_process_that_is_no_worker_finds_none():
    assert find_worker() is None


def test_a_worker_is_found_by_its_handler_of_the_stop_signal(monkeypatch):
    worker = object.__new__(AsyncWorker)
    monkeypatch.setattr(signal, "getsignal", lambda number: worker.handle_exit)
    assert find_worker() is worker


@pytest.mark.parametrize("handler", [signal.SIG_DFL, None, print, [].append])
def test_another_handler_is_no_worker(monkeypatch, handler):
    monkeypatch.setattr(signal, "getsignal", lambda number: handler)
    assert find_worker() is None
