"""One poll on one channel: its parameters, and every answer that it may get."""

import pytest

from .client import (
    all_at_once,
    answered,
    assert_problem,
    came_at_once,
    event,
    fresh,
    is_event_id,
)
from .oddities import NOT_INTEGERS, NOT_NAMES, NOT_PLAIN_DIGITS, label

# "Up to 5 % early", and the rounding of two clocks.
EARLIEST = 0.94


def held_for(answer, seconds):
    return EARLIEST * seconds <= answer.seconds < seconds + 3


def test_a_poll_with_nothing_to_tell_ends_when_its_time_is_up(bide, channel):
    answer = bide.poll(channel, timeout=0.4)
    assert held_for(answer, 0.4)
    body = answered(answer)
    assert body == {"status": "timeout", "channel": channel, "last_event_id": body["last_event_id"]}
    assert is_event_id(body["last_event_id"])


def test_with_a_limit_the_end_of_time_comes_with_no_events(bide, channel):
    answer = bide.poll(channel, timeout=0.3, limit=5)
    assert held_for(answer, 0.3)
    body = answered(answer)
    cursor = body["last_event_id"]
    assert body == {"status": "timeout", "channel": channel, "last_event_id": cursor, "events": []}
    assert is_event_id(cursor)


def test_a_waiting_event_is_the_answer_itself(bide, channel):
    event_id = bide.publish(channel, {"n": 1})
    answer = bide.poll(channel, timeout=20)
    assert came_at_once(answer)
    body = answered(answer)
    assert body == event(channel, event_id, {"n": 1}, body["timestamp"])
    assert isinstance(body["timestamp"], float)


def test_an_event_with_a_type_shows_it(bide, channel):
    event_id = bide.publish(channel, "hi", type="greeting")
    body = bide.polled(channel)
    assert body == event(channel, event_id, "hi", body["timestamp"], type="greeting")


def test_with_a_limit_the_answer_is_a_list(bide, channel):
    ids = bide.publish_all(channel, ["a", "b", "c"])
    answer = bide.poll(channel, limit=2, timeout=20)
    assert came_at_once(answer)
    body = answered(answer)
    events = [event(channel, ids[n], message, body["events"][n]["timestamp"]) for n, message in enumerate(["a", "b"])]
    assert body == {"channel": channel, "events": events, "last_event_id": ids[1]}


def test_a_limit_of_one_still_gives_a_list(bide, channel):
    ids = bide.publish_all(channel, ["a", "b"])
    body = bide.polled(channel, limit=1)
    assert [each["id"] for each in body["events"]] == ids[:1]
    assert body["last_event_id"] == ids[0]


def test_the_largest_limit_gives_all_that_is_there(bide, channel):
    ids = bide.publish_all(channel, range(300))
    assert [each["id"] for each in bide.polled(channel, limit=1000)["events"]] == ids


def test_a_list_stays_under_a_mebibyte(bide, channel):
    for part in range(2):
        bide.publish_all(channel, [f"{part}{n}" + "x" * 60_000 for n in range(12)])
    answer = bide.poll(channel, limit=1000)
    first = answered(answer)
    assert len(answer.content) <= 1024 * 1024
    assert 10 <= len(first["events"]) < 24
    rest = bide.polled(channel, limit=1000, last_event_id=first["last_event_id"])
    messages = [each["message"] for each in first["events"] + rest["events"]]
    assert [each.rstrip("x") for each in messages] == [f"{part}{n}" for part in range(2) for n in range(12)]


@pytest.mark.parametrize("parameters", [{}, {"limit": 10}], ids=["one", "list"])
def test_a_parked_poll_is_answered_by_a_publish(bide, channel, parameters):
    poll = bide.hold(channel, **parameters)
    bide.parked(channel)
    assert not poll.done
    event_id = bide.publish(channel, "news")
    body = poll.answer()
    found = body["events"][0] if parameters else body
    assert found == event(channel, event_id, "news", found["timestamp"])


def test_a_poll_without_a_timeout_is_held_too(bide, channel):
    poll = bide.hold(channel, timeout=None)
    bide.parked(channel)
    event_id = bide.publish(channel, "news")
    assert poll.answer()["id"] == event_id


def test_one_event_answers_every_parked_poll(bide, channel):
    polls = [bide.hold(channel, headers={"X-Client-ID": f"c{n}"}) for n in range(20)]
    bide.parked(channel, 20)
    event_id = bide.publish(channel, "news")
    assert [poll.answer()["id"] for poll in polls] == [event_id] * 20


def test_an_event_of_another_channel_ends_no_poll(bide, channel):
    poll = bide.hold(channel, timeout=0.6)
    bide.parked(channel)
    bide.publish(fresh(), "elsewhere")
    bide.publish(channel + "x", "longer name")
    assert poll.answer()["status"] == "timeout"


def test_a_poll_that_begins_after_a_publish_sees_it(bide):
    for name in [fresh() for _ in range(10)]:
        event_id = bide.publish(name, "x")
        assert {bide.polled(name)["id"] for _ in range(3)} == {event_id}


@pytest.mark.parametrize("timeout", ["0", "0.0", "0.000", "00"])
def test_a_timeout_of_zero_never_waits(bide, channel, timeout):
    answer = bide.poll(channel, timeout=timeout)
    assert came_at_once(answer)
    assert answered(answer)["status"] == "timeout"


@pytest.mark.parametrize("timeout", ["0.05", "1", "12.5", "55", "56", "100000", "9" * 30])
def test_any_timeout_from_zero_up_is_taken(bide, channel, timeout):
    event_id = bide.publish(channel, "x")
    assert bide.polled(channel, timeout=timeout)["id"] == event_id


@pytest.mark.parametrize("timeout", NOT_PLAIN_DIGITS, ids=label)
def test_a_timeout_that_is_no_plain_number_is_refused(bide, channel, timeout):
    assert_problem(bide.poll(channel, timeout=timeout), 400, param="timeout")


@pytest.mark.parametrize("limit", ["1", "2", "999", "1000"])
def test_a_limit_from_1_to_1000_is_taken(bide, channel, limit):
    assert bide.polled(channel, limit=limit)["events"] == []


@pytest.mark.parametrize("limit", [*NOT_INTEGERS, "0", "1001", "9" * 30, "9" * 5000], ids=label)
def test_any_other_limit_is_refused(bide, channel, limit):
    assert_problem(bide.poll(channel, limit=limit), 400, param="limit")


@pytest.mark.parametrize("name", ["timeout", "limit", "last_event_id"])
@pytest.mark.parametrize("values", [("1", "1"), ("0", "5"), ("1", "")])
def test_a_parameter_given_twice_is_refused(bide, channel, name, values):
    query = "&".join(f"{name}={value}" for value in values)
    others = "" if name == "timeout" else "timeout=0&"
    assert_problem(bide.get(f"/subscribe/{channel}?{others}{query}"), 400, param=name)


def test_parameters_that_the_server_does_not_know_are_passed_over(bide, channel):
    event_id = bide.publish(channel, "x")
    assert bide.polled(channel, wait=5, Timeout="x", _="1700000000", callback="f")["id"] == event_id


def test_a_wait_may_be_preferred_in_a_header(bide, channel):
    answer = bide.poll(channel, timeout=None, headers={"Prefer": "wait=1"})
    assert held_for(answer, 1)
    assert answered(answer)["status"] == "timeout"
    assert answer.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize("prefer", ["wait=0", "respond-async, wait=0", "Wait=0", "return=minimal,wait=0"])
def test_a_preferred_wait_of_zero_never_waits(bide, channel, prefer):
    answer = bide.poll(channel, timeout=None, headers={"Prefer": prefer})
    assert came_at_once(answer)
    assert answered(answer)["status"] == "timeout"
    assert answer.headers["Preference-Applied"] == "wait=0"


def test_a_preferred_wait_is_confirmed_with_an_event_too(bide, channel):
    event_id = bide.publish(channel, "x")
    answer = bide.poll(channel, timeout=None, headers={"Prefer": "wait=10"})
    assert answered(answer)["id"] == event_id
    assert answer.headers["Preference-Applied"] == "wait=10"


def test_a_timeout_is_stronger_than_a_preferred_wait(bide, channel):
    answer = bide.poll(channel, timeout=0, headers={"Prefer": "wait=20"})
    assert came_at_once(answer)
    assert answered(answer)["status"] == "timeout"
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    "prefer",
    [
        "",
        "wait",
        "wait=",
        "wait=x",
        "wait=-1",
        "wait=1.5",
        "wait=1e3",
        "wait=nan",
        "waiting=0",
        "respond-async",
        "=",
        ",,",
    ],
)
def test_a_preference_that_cannot_be_read_is_passed_over(bide, channel, prefer):
    event_id = bide.publish(channel, "x")
    answer = bide.poll(channel, timeout=None, headers={"Prefer": prefer})
    assert answered(answer)["id"] == event_id
    assert "Preference-Applied" not in answer.headers


def test_a_bad_preference_does_not_make_a_poll_short(bide, channel):
    poll = bide.hold(channel, timeout=None, headers={"Prefer": "wait=-1"})
    bide.parked(channel)
    event_id = bide.publish(channel, "x")
    assert poll.answer()["id"] == event_id


def test_an_answer_without_a_preference_confirms_none(bide, channel):
    assert "Preference-Applied" not in bide.poll(channel).headers


@pytest.mark.parametrize("name", NOT_NAMES, ids=label)
def test_a_poll_on_what_is_no_name_is_refused(bide, name):
    assert_problem(bide.exact("GET", f"/subscribe/{name}?timeout=0"), 400, param="channel")


@pytest.mark.parametrize("path", ["/subscribe/a%2Fb", "/subscribe/a/b", "/subscribe/a/", "/subscribe/"])
def test_a_poll_on_a_path_with_a_slash_is_refused(bide, path):
    answer = bide.exact("GET", path + "?timeout=0")
    assert answer.status_code in (400, 404)
    assert_problem(answer, answer.status_code)


@pytest.mark.parametrize("query", ["timeout=20", "timeout=20&limit=5", "", "last_event_id=latest"])
def test_head_is_answered_at_once_and_without_a_body(bide, channel, query):
    answer = bide.request("HEAD", f"/subscribe/{channel}?{query}")
    assert came_at_once(answer)
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["Cache-Control"] == "no-store"
    assert is_event_id(int(answer.headers["Last-Event-ID"]))


def test_head_tells_the_cursor_that_get_would(bide, channel):
    ids = bide.publish_all(channel, ["a", "b", "c"])
    for query, cursor in [("", ids[0]), ("limit=2", ids[1]), (f"last_event_id={ids[1]}", ids[2])]:
        assert bide.request("HEAD", f"/subscribe/{channel}?{query}").headers["Last-Event-ID"] == str(cursor)


def test_head_refuses_what_get_refuses(bide, channel):
    answer = bide.request("HEAD", f"/subscribe/{channel}?limit=0")
    assert answer.status_code == 400
    assert answer.content == b""


def test_polls_at_the_same_time_with_different_cursors_get_their_own_answers(bide, channel):
    ids = bide.publish_all(channel, range(10))
    calls = [lambda cursor=cursor: bide.polled(channel, last_event_id=cursor)["id"] for cursor in ids[:-1]]
    assert all_at_once(calls) == ids[1:]


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "text/html",
        "application/xml;q=0.9",
        "application/json;q=0",
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "nonsense",
        "",
    ],
)
def test_whatever_a_client_accepts_it_gets_json(bide, channel, accept):
    event_id = bide.publish(channel, "x")
    assert bide.polled(channel, headers={"Accept": accept})["id"] == event_id
    assert_problem(bide.poll(channel, limit=0, headers={"Accept": accept}), 400, param="limit")
