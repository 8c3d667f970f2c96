"""Polls that are answered in one slice of the loop: who stands where another does has the same bytes, no one else."""

import json

import pytest

from app.grant import POLL, Grant
from app.worker import fanout
from app.worker.state import State
from tests.support.app import assert_nothing_left
from tests.worker.conftest import HEAD, KNOWN, read, until


@pytest.fixture
def hold(monkeypatch):
    """Lets nobody have his turn while it is held; then all have theirs in one slice."""

    def hold(held):
        monkeypatch.setattr(fanout, "SLICE_SECONDS", -1 if held else 5)

    return hold


@pytest.fixture
def poll(office, bide, connect):
    """Makes a connection with a parked poll; returns its client's end."""

    def make(channels, limit=None, several=False, head=KNOWN, closes=False):
        def view(connection):
            opened = bide.subscriber.open(channels, connection.waiter(), timeout=50, limit=limit, several=several)
            grant = Grant(opened)
            grant.head, grant.closes = head, closes
            connection.hold(grant)

        office.view = view
        connection, client = connect()
        client.sendall(HEAD)
        until(lambda: connection.state is State.PARKED)
        return client

    return make


@pytest.fixture
def framed(monkeypatch):
    """The answers that were made."""
    found = []
    frame = POLL.frame
    monkeypatch.setattr(type(POLL), "frame", lambda _, *of: (found.append(frame(*of)), found[-1])[1])
    return found


def answer(client):
    head, _, body = read(client).partition(b"\r\n\r\n")
    return head, json.loads(body)


def test_who_asked_for_the_same_has_the_same_bytes(bide, poll, hold, framed):
    clients = [poll({"news": 0}) for _ in range(3)]
    hold(True)
    bide.publisher.publish("news", "hello")
    hold(False)
    assert len({read(client) for client in clients}) == 1
    assert len(framed) == 1
    until(lambda: bide.subscriber.polls == 0)
    assert_nothing_left(bide)


def test_each_has_what_he_asked_for(bide, poll, hold):
    asked = [
        {},
        {"limit": 1},
        {"limit": 5},
        {"several": True},
        {"head": KNOWN + b"X-Another: 1\r\n"},
        {"closes": True},
    ]
    clients = [poll({"news": 0}, **of) for of in asked]
    both = poll({"news": 0, "user": 0}, several=True)
    hold(True)
    bide.publisher.publish("news", "first")
    bide.publisher.publish("news", "second")
    hold(False)
    heads, bodies = zip(*map(answer, clients), strict=True)
    first, one, five, of_several, another, last = bodies
    assert first == another == last
    assert first["message"] == "first"
    assert [event["message"] for event in one["events"]] == ["first"]
    assert [event["message"] for event in five["events"]] == ["first", "second"]
    assert of_several["channels"] == ["news"]
    assert [b"X-Another: 1" in head for head in heads] == [False] * 4 + [True, False]
    assert [b"Connection: close" in head for head in heads] == [False] * 5 + [True]
    assert answer(both)[1]["channels"] == ["news", "user"]


def test_who_stands_further_on_has_what_comes_behind(bide, poll, hold):
    behind = poll({"news": 0})
    hold(True)
    first = bide.publisher.publish("news", "first")
    further = poll({"news": first})
    bide.publisher.publish("news", "second")
    hold(False)
    assert answer(behind)[1]["message"] == "first"
    assert answer(further)[1]["message"] == "second"


def test_who_is_ended_amid_a_fan_out_has_the_event(bide, poll, hold):
    clients = [poll({"news": 0}) for _ in range(2)]
    hold(True)
    bide.publisher.publish("news", "hello")
    for waiter in list(bide.notifier._waiters)[1:]:
        waiter.end("draining")
    hold(False)
    assert [answer(client)[1]["message"] for client in clients] == ["hello"] * 2


def test_who_hung_up_amid_a_fan_out_is_told_that_his_connection_ends(bide, poll, hold):
    clients = [poll({"news": 0}) for _ in range(2)]
    hold(True)
    bide.publisher.publish("news", "hello")
    list(bide.notifier._waiters)[1].hang_up()
    hold(False)
    assert [b"Connection: close" in answer(client)[0] for client in clients] == [False, True]


def test_who_is_to_be_told_of_a_gap_is_and_nobody_else(bide, poll, hold):
    first, second = bide.publisher.publish("news", "first"), bide.publisher.publish("news", "second")
    bide.delete("news")
    clients = [poll({"news": cursor}) for cursor in (second, first, second)]
    hold(True)
    bide.publisher.publish("news", "third")
    hold(False)
    assert [answer(client)[1].get("gap") for client in clients] == [None, True, None]
