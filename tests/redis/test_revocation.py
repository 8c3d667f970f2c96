"""Tokens that are revoked on one machine, and polls that are parked on another; each reaches Redis in its own way."""

import time

import pytest

from tests.gunicorn.test_revocation import BOUND_SECONDS, by, is_refused, polls, revoke
from tests.support.clients import Line, publication
from tests.support.redis_servers import free_port, on
from tests.support.servers import Server, await_that
from tests.support.tcp_proxy import TcpProxy
from tests.support.tokens import ENV

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def proxy(redis_server):
    """The way of one of the two machines."""
    with TcpProxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def machines(redis_server, proxy, tmp_path):
    """One, and another whose way to Redis can be spoilt."""
    with (
        Server(tmp_path / "one", inspected=True, env=ENV | {"BIDE_STORE": redis_server.url}) as one,
        Server(tmp_path / "other", inspected=True, env=ENV | {"BIDE_STORE": proxy.url}) as other,
    ):
        yield one, other


def park(server, line, who):
    """Its poll is parked, and has nothing on its way to Redis: the worker knows the channel."""
    cursor = line.ask(publication("news", [1], who)).json()["event_id"]
    line.ask(polls(who, cursor, timeout=0))
    line.send(polls(who, cursor))
    await_that(lambda: server.counts()["polls"] == 1)


@on("redis")
def test_a_token_that_is_revoked_on_one_machine_while_its_poll_is_parked_on_the_other(machines):
    one, other = machines
    with Line(one) as here, Line(other) as there, Line(other) as parked:
        park(other, parked, by("ann"))
        done = revoke(here, {"sub": "ann"})
        answer = parked.answer(within=20)
        assert (done.pid, answer.pid) == (*one.worker_pids(), *other.worker_pids())
        assert answer.at - done.at < BOUND_SECONDS
        assert (answer.status, answer.json()["status"]) == (200, "timeout")
        assert all(is_refused(line, by("ann")) for line in (here, there))
        assert not any(is_refused(line, by("bob")) for line in (here, there))
        other.kill9()
        other.start()
        with Line(other) as there:
            assert is_refused(there, by("ann"))


@on("valkey")
def test_what_was_revoked_while_a_machine_was_cut_off_it_knows_when_it_is_back(redis_server, proxy, machines):
    one, other = machines
    with Line(one) as here, Line(other) as there, Line(other) as parked:
        park(other, parked, by("ann"))
        proxy.target_port = free_port()
        proxy.cut(1)
        revoke(here, {"sub": "ann"})
        # It is judged by what is known there.
        time.sleep(0.5)
        assert other.counts()["polls"] == 1
        assert there.ask(polls(by("ann"), timeout=0)).status != 401
        back = time.monotonic()
        proxy.target_port = redis_server.port
        answer = parked.answer(within=20)
        # A connection that was lost is tried again after a second and a half at most.
        assert answer.at - back < 10 * BOUND_SECONDS
        assert answer.json()["status"] == "timeout"
        assert is_refused(there, by("ann"))


@on("redis")
def test_what_a_server_has_forgotten_that_was_started_anew_is_told_it_by_the_machines(redis_server, machines, tmp_path):
    one, other = machines
    with Line(one) as here:
        revoke(here, {"sub": "ann"})
        await_that(lambda: other.get("/readyz")[0] == 200)
    redis_server.kill()
    redis_server.start()  # with nothing of what it had
    with redis_server.client as client:
        await_that(lambda: client.hlen("{bide}:revoked") == 1)
    third = Server(tmp_path / "third", inspected=True, env=ENV | {"BIDE_STORE": redis_server.url})
    with third, Line(third) as line:
        assert is_refused(line, by("ann"))
        assert not is_refused(line, by("bob"))
