"""What a subscription makes of answers, one by one; tests/client_conformance plays whole stories."""

import logging
import threading
import time

import pytest

from app.client import Client, Event, Gap, NotAllowed, Refused, Unreachable, subscription
from tests.support.servers import await_that

from .conftest import event, page


@pytest.fixture
def client(puppet):
    with Client(puppet.url) as client:
        yield client


@pytest.fixture
def follow(client):
    """The first events that come of channel `a`, and the gaps that were told of until then."""

    def follow(count, *channels, **options):
        gaps = []
        sub = client.subscribe(*channels or "a", on_gap=gaps.append, **options)
        return [next(sub) for _ in range(count)], gaps, sub

    return follow


def ids(events):
    return [event.id for event in events]


def test_an_event_has_what_the_server_said_of_it_and_nothing_else(puppet, follow):
    puppet.answer(200, {"events": [event(5, {"x": [None]}, type="t", colour="red")], "last_event_id": 5, "more": 1})
    assert follow(1)[0] == [Event(5, "a", {"x": [None]}, 5e-6, "t")]


def test_it_asks_with_its_cursor_how_long_to_hold_and_for_how_many(puppet, follow):
    puppet.answer(200, page(5, 6)).answer(200, page(7))
    events, _, _ = follow(3, since=4, hold=2.5, limit=7)
    assert ids(events) == [5, 6, 7]
    assert puppet.lines == [
        "GET /subscribe/a?last_event_id=4&timeout=2.5&limit=7 HTTP/1.1",
        "GET /subscribe/a?last_event_id=6&timeout=2.5&limit=7 HTTP/1.1",
    ]
    assert puppet.connections == 1


def test_the_cursor_of_the_header_is_the_one_that_is_sent_back(puppet, follow):
    puppet.answer(200, page(5), Last_Event_ID=9).answer(200, page(10))
    follow(2)
    assert "last_event_id=9&" in puppet.lines[1]


def test_latest_is_resolved_before_it_waits(puppet, follow):
    """A poll for the latest that was cut while it waited would be asked again for what is the latest then."""
    puppet.answer(200, page(cursor=8)).answer(200, page(9))
    follow(1, since="latest")
    assert [line.split()[1] for line in puppet.lines] == [
        "/subscribe/a?last_event_id=latest&timeout=0&limit=100",
        "/subscribe/a?last_event_id=8&timeout=30&limit=100",
    ]


def test_several_channels_have_a_cursor_each(puppet, follow):
    puppet.answer(200, {"channels": ["a", "b"], "events": [event(5), event(3, channel="b")], "last_event_id": "5,3"})
    puppet.answer(200, {"channels": ["a", "b"], "events": [event(4, channel="b")], "last_event_id": "5,4"})
    events, _, sub = follow(3, "a", "b")
    assert [(event.channel, event.id) for event in events] == [("a", 5), ("b", 3), ("b", 4)]
    assert "last_event_id=5%2C3" in puppet.lines[1]
    assert sub.cursor == {"a": 5, "b": 3}
    sub.commit()
    assert sub.cursor == {"a": 5, "b": 4}


def test_more_channels_than_fit_into_a_url_are_asked_for_in_a_body(puppet, follow):
    names = [f"{'x' * 100}{number}" for number in range(70)]
    puppet.answer(200, {"events": [event(1, channel=names[0])], "last_event_id": ",".join(["1"] * 70)})
    follow(1, *names)
    head, body = puppet.asked[0]
    assert head.startswith("POST /subscribe HTTP/1.1")
    assert b'"channels":{"xxx' in body


class TestProcessed:
    def test_asking_for_the_next_event_says_that_the_last_was_processed(self, puppet, client, tmp_path):
        puppet.answer(200, page(5, 6))
        sub = client.subscribe("a", cursor_file=tmp_path / "cursor")
        seen = []
        for each in sub:
            seen.append((each.id, sub.cursor, (tmp_path / "cursor").read_text()))
            if each.id == 6:
                break
        assert seen == [(5, {"a": 0}, '{"a": 0}'), (6, {"a": 5}, '{"a": 5}')]
        sub.commit()
        assert (tmp_path / "cursor").read_text() == '{"a": 6}'

    def test_the_cursor_of_an_answer_without_events_is_kept_too(self, puppet, client, tmp_path):
        puppet.answer(200, page(cursor=8))
        with client.listen(print, "a", cursor_file=tmp_path / "cursor"):
            await_that(lambda: (tmp_path / "cursor").read_text() == '{"a": 8}')

    def test_latest_stays_that_moment_while_events_of_others_are_processed(self, puppet, client, tmp_path):
        """Whoever is killed at one of them begins again from there, and not from a later latest."""
        answer = {"events": [event(5), event(6)], "last_event_id": "6,90", "channels": ["a", "b"]}
        puppet.answer(200, answer)
        sub = client.subscribe("a", "b", since={"b": "latest"}, cursor_file=tmp_path / "cursor")
        next(sub)
        assert sub.cursor == {"a": 0, "b": 90}
        assert (tmp_path / "cursor").read_text() == '{"a": 0, "b": 90}'


class TestRepeated:
    def test_an_answer_that_comes_twice_is_handed_out_once(self, puppet, follow):
        puppet.answer(200, page(5, 6)).answer(200, page(5, 6)).answer(200, page(6, 7))
        assert ids(follow(3)[0]) == [5, 6, 7]
        assert "last_event_id=6&" in puppet.lines[2]

    def test_and_so_is_one_with_a_gap(self, puppet, follow):
        told = page(5, 6, gap=True, oldest_event_id=5)
        puppet.answer(200, told).answer(200, told).answer(200, page(7))
        events, gaps, _ = follow(3, since=2)
        assert ids(events) == [5, 6, 7]
        assert gaps == [Gap("a", 2, 5)]

    def test_answers_without_news_that_come_at_once_are_waited_between(self, puppet, follow, monkeypatch):
        monkeypatch.setattr(subscription, "EARLY_SECONDS", 10)
        for _ in range(4):
            puppet.answer(200, page(cursor=4))
        puppet.answer(200, page(5))
        rested = []
        monkeypatch.setattr("app.client.wire.Wire.rest", lambda self, seconds: rested.append(seconds))
        follow(1, since=4)
        assert len(rested) == 3, "the first of them is followed by another poll at once"


class TestGaps:
    def test_one_is_told_before_what_follows_it(self, puppet, client):
        puppet.answer(200, page(9, gap=True, oldest_event_id=9))
        told = []
        sub = client.subscribe("a", since=3, on_gap=told.append)
        told.append(next(sub).id)
        assert told == [Gap("a", 3, 9), 9]

    def test_of_several_channels_it_has_its_own(self, puppet, follow):
        puppet.answer(200, {"events": [event(8)], "last_event_id": "8,7", "gaps": {"b": None}, "channels": ["a", "b"]})
        _, gaps, _ = follow(1, "a", "b", since={"a": 7, "b": 3})
        assert gaps == [Gap("b", 3, None)]

    def test_a_server_that_lost_events_goes_on_below_our_cursor(self, puppet, follow):
        puppet.answer(200, page(50)).answer(200, page(45, gap=True, oldest_event_id=45)).answer(200, page(46))
        events, gaps, _ = follow(3)
        assert ids(events) == [50, 45, 46]
        assert gaps == [Gap("a", 50, 45)]

    def test_whose_handler_fails_is_told_again(self, puppet, client):
        for _ in range(2):
            puppet.answer(200, page(9, gap=True, oldest_event_id=9))
        told = []

        def fail_once(gap):
            told.append(gap)
            if len(told) == 1:
                raise LookupError

        sub = client.subscribe("a", since=3, on_gap=fail_once)
        with pytest.raises(LookupError):
            next(sub)
        assert next(sub).id == 9
        assert len(told) == 2

    def test_whose_handler_cannot_reach_a_server_is_no_trouble_of_this_one(self, puppet, client):
        puppet.answer(200, page(9, gap=True, oldest_event_id=9))

        def publish_it(gap):
            raise Unreachable("http://other does not answer")

        with pytest.raises(Unreachable, match="http://other"):
            next(client.subscribe("a", since=3, on_gap=publish_it))

    def test_without_a_handler_there_is_a_line_in_the_log(self, puppet, client, caplog):
        puppet.answer(200, page(9, gap=True, oldest_event_id=9))
        next(client.subscribe("a", since=3))
        assert caplog.messages == ["events of a after 3 are gone; the oldest that is left is 9"]


@pytest.fixture
def soon(monkeypatch):
    """What is tried again is tried at once."""
    monkeypatch.setattr("app.client.backoff.random.uniform", lambda low, high: 0)


NO_ANSWERS = {
    "no JSON": b"<html>welcome to the hotel</html>",
    "half of it": b'{"events": [{"id": 5, "cha',
    "no object": b"[]",
    "no cursor": {"events": []},
    "a cursor of others": page(cursor="5,6"),
    "events that are none": {"events": [{"id": "5"}], "last_event_id": 5},
    "events in another form": {"events": {"5": 1}, "last_event_id": 5},
    "events of others": {"events": [event(5, channel="b")], "last_event_id": 5},
    "gaps of others": {"events": [], "last_event_id": 5, "gaps": {"b": 1}},
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_what_is_no_answer_changes_nothing(puppet, follow, soon, what):
    puppet.answer(200, NO_ANSWERS[what]).answer(200, page(5))
    assert ids(follow(1, since=4)[0]) == [5]
    assert puppet.lines[0] == puppet.lines[1]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507])
def test_what_may_pass_is_tried_again(puppet, follow, soon, status):
    puppet.answer(status, {"error": "x"}).answer(status, b"<html>").answer(200, page(5))
    assert ids(follow(1)[0]) == [5]


@pytest.mark.parametrize("status", [400, 404, 405, 413, 421, 301, 308])
def test_what_will_not_pass_is_raised_with_the_servers_own_words(puppet, client, status):
    puppet.answer(status, {"error": "kind", "detail": "Give a number", "param": "limit"})
    with pytest.raises(Refused, match=f"says {status}: Give a number") as raised:
        next(client.subscribe("a"))
    assert (raised.value.status, raised.value.param) == (status, "limit")
    assert not isinstance(raised.value, NotAllowed)


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_not_enough_is_told_apart(puppet, client, status):
    puppet.answer(status, b"")
    with pytest.raises(NotAllowed):
        next(client.subscribe("a"))


def test_who_is_led_elsewhere_is_told_where(puppet, client):
    puppet.answer(302, b"", Location="https://elsewhere.example/x")
    with pytest.raises(Refused, match=r"leads to https://elsewhere\.example/x: give the client that"):
        next(client.subscribe("a"))


@pytest.mark.parametrize("status", [302, 403, 511])
def test_a_hotels_page_in_the_midst_of_it_is_waited_out(puppet, follow, soon, status):
    puppet.answer(200, page(5)).answer(status, b"<html>sign in</html>").answer(200, page(6))
    assert ids(follow(2)[0]) == [5, 6]


def test_but_not_a_bides_own_word(puppet, follow, soon):
    puppet.answer(200, page(5)).answer(403, {"error": "The token does not allow that"})
    with pytest.raises(NotAllowed):
        follow(2)


def test_trouble_and_its_end_are_one_line_each(puppet, follow, soon, caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        puppet.answer(503, {"error": "x", "detail": "The store is away"})
    puppet.answer(200, page(5)).answer(200, page(6))
    follow(2)
    assert [message.partition("/subscribe")[2] for message in caplog.messages[:1]] == [
        "/a says 503: The store is away; trying again until it works"
    ]
    assert caplog.messages[1:] == ["a: subscribed again"]


class TestClose:
    @pytest.mark.parametrize("closes", ["subscription", "client"])
    def test_who_waits_is_told_at_once_that_there_is_nothing_more(self, puppet, client, closes):
        sub = client.subscribe("a")
        got = []
        waiting = threading.Thread(target=lambda: got.append(list(sub)), daemon=True)
        waiting.start()
        await_that(lambda: puppet.asked)
        begun = time.monotonic()
        (sub if closes == "subscription" else client).close()
        waiting.join(20)
        assert got == [[]]
        assert time.monotonic() - begun < 10

    def test_and_so_is_who_waits_to_try_again(self, puppet, client):
        puppet.answer(503, b"", Retry_After=1000)
        sub = client.subscribe("a")
        waiting = threading.Thread(target=lambda: list(sub), daemon=True)
        waiting.start()
        await_that(lambda: puppet.asked)
        sub.close()
        waiting.join(20)
        assert not waiting.is_alive()

    def test_what_had_come_and_was_not_handed_out_is_not_processed(self, puppet, client):
        puppet.answer(200, page(5, 6, 7))
        sub = client.subscribe("a")
        assert next(sub).id == 5
        sub.close()
        assert list(sub) == []
        assert sub.cursor == {"a": 5}

    def test_one_subscription_leaves_the_others_alone(self, puppet, client):
        puppet.answer(200, page(5)).answer(200, page(5))
        with client.subscribe("a") as first:
            assert next(first).id == 5
        assert next(client.subscribe("a")).id == 5
