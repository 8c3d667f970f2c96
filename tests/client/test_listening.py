"""Events in the background."""

import logging
import sys
import threading

import pytest

from app.client import Client, Refused
from tests.support.servers import await_that

from .conftest import page


@pytest.fixture
def client(puppet):
    with Client(puppet.url) as client:
        yield client


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr("app.client.backoff.random.uniform", lambda low, high: 0)


def test_each_event_is_handed_over_in_order(puppet, client):
    puppet.answer(200, page(5, 6)).answer(200, page(7))
    got = []
    with client.listen(got.append, "a"):
        await_that(lambda: len(got) == 3)
    assert [event.id for event in got] == [5, 6, 7]


def test_one_that_was_not_processed_comes_again_and_is_not_left_behind(puppet, client, tmp_path, soon, caplog):
    puppet.answer(200, page(5, 6))
    got = []

    def process(event):
        got.append((event.id, (tmp_path / "cursor").read_text()))
        if len(got) < 3:
            raise LookupError("not now")

    with client.listen(process, "a", cursor_file=tmp_path / "cursor"):
        await_that(lambda: len(got) == 4 and (tmp_path / "cursor").read_text() == '{"a": 6}')
    assert got == [(5, '{"a": 0}')] * 3 + [(6, '{"a": 5}')]
    assert caplog.messages == ["event 5 of a was not processed; trying again"] * 2


def test_stopping_waits_for_what_is_being_processed_and_keeps_it(puppet, client, tmp_path):
    puppet.answer(200, page(5, 6))
    begun, go_on, done = threading.Event(), threading.Event(), []

    def process(event):
        begun.set()
        go_on.wait(20)
        done.append(event.id)

    listening = client.listen(process, "a", cursor_file=tmp_path / "cursor")
    assert begun.wait(20)
    assert not listening.stop(timeout=0.01)
    go_on.set()
    assert listening.stop()
    assert done == [5]
    assert (tmp_path / "cursor").read_text() == '{"a": 5}'
    listening.join()


def test_one_that_always_fails_does_not_hold_up_the_stop(puppet, client, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    puppet.answer(200, page(5))
    tried = threading.Event()

    def process(event):
        tried.set()
        raise LookupError

    listening = client.listen(process, "a", cursor_file=tmp_path / "cursor")
    assert tried.wait(20)
    assert listening.stop(timeout=20)
    assert (tmp_path / "cursor").read_text() == '{"a": 0}'


def test_the_callback_may_stop_it(puppet, client):
    puppet.answer(200, page(5, 6))
    got = []

    def process(event):
        got.append(event.id)
        listening.stop()

    listening = client.listen(process, "a")
    listening.join(20)
    assert got == [5]


def test_closing_the_client_stops_it(puppet, client):
    listening = client.listen(print, "a")
    await_that(lambda: puppet.asked)
    client.close()
    listening.join(20)
    assert listening.stop(timeout=20)


def test_a_server_that_refuses_it_for_good_ends_it_and_is_told(puppet, client, caplog):
    puppet.answer(403, {"detail": "The token lacks subscribe"})
    listening = client.listen(print, "a")
    with pytest.raises(Refused, match="The token lacks subscribe"):
        listening.join(20)
    assert isinstance(listening.error, Refused)
    assert "a: no longer listened to" in caplog.messages[0]


@pytest.mark.parametrize("of", ["an event", "a gap"])
def test_who_gives_up_ends_it_and_whoever_joins_it(puppet, client, of):
    puppet.answer(200, page(9, gap=True, oldest_event_id=9))
    by = {"an event": (sys.exit, None), "a gap": (print, sys.exit)}
    callback, on_gap = by[of]
    listening = client.listen(callback, "a", since=3, on_gap=on_gap)
    with pytest.raises(SystemExit):
        listening.join(20)


def test_no_thread_is_started_unless_it_is_asked_for(puppet, client):
    before = threading.active_count()
    puppet.answer(200, page(5)).answer(200, {"event_id": 7})
    next(client.subscribe("a"))
    client.publish("a", 1)
    # The puppet has one for each connection.
    assert threading.active_count() == before + puppet.connections
