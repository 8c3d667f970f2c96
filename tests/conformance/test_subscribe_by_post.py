"""POST /subscribe: the same poll, for more channels than a request line takes."""

import pytest

from .client import Later, answered, assert_problem, came_at_once, event, fresh
from .oddities import NOT_NAMES_IN_JSON, label


def poll(bide, channels, **more):
    return bide.post("/subscribe", json={"channels": channels, "timeout": 0, **more})


def polled(bide, channels, **more):
    return answered(poll(bide, channels, **more))


def test_it_answers_as_a_poll_on_several_channels_does(bide):
    one, two = fresh("z"), fresh("a")
    event_id = bide.publish(two, "hi")
    body = polled(bide, {one: 0, two: 0})
    more = {"channels": [one, two], "last_event_id": body["last_event_id"]}
    assert body == event(two, event_id, "hi", body["timestamp"], **more)
    assert body["last_event_id"].split(",")[1] == str(event_id)


def test_each_channel_has_its_cursor(bide):
    one, two, three = fresh(), fresh(), fresh()
    ids = {name: bide.publish_all(name, ["a", "b"]) for name in (one, two, three)}
    body = polled(bide, {one: 0, two: ids[two][0], three: "latest"}, limit=10)
    assert {(each["channel"], each["id"]) for each in body["events"]} == {
        (one, ids[one][0]),
        (one, ids[one][1]),
        (two, ids[two][1]),
    }
    assert body["last_event_id"] == f"{ids[one][1]},{ids[two][1]},{ids[three][1]}"


def test_it_is_held_for_its_timeout(bide):
    answer = poll(bide, {fresh(): 0, fresh(): "latest"}, timeout=0.4)
    assert 0.37 <= answer.seconds < 3.4
    assert answered(answer)["status"] == "timeout"


def test_it_is_parked_and_answered_by_a_publish(bide):
    one, two = fresh(), fresh()
    held = Later(poll, bide, {one: 0, two: "latest"}, timeout=20, limit=5)
    bide.parked(one)
    bide.parked(two)
    event_id = bide.publish(two, "news")
    assert [each["id"] for each in held.answer()["events"]] == [event_id]


def test_without_a_timeout_it_is_held_by_default(bide):
    one, two = fresh(), fresh()
    held = Later(bide.post, "/subscribe", json={"channels": {one: 0, two: 0}})
    bide.parked(one)
    event_id = bide.publish(one, "news")
    assert held.answer()["id"] == event_id


def test_one_channel_is_enough(bide, channel):
    event_id = bide.publish(channel, "hi")
    body = polled(bide, {channel: 0})
    assert (body["id"], body["channel"], body["message"]) == (event_id, channel, "hi")


def test_a_hundred_long_names_are_taken(bide):
    channels = [fresh().ljust(128, "-") for _ in range(100)]
    answer = poll(bide, dict.fromkeys(channels, 0))
    assert came_at_once(answer)
    assert answered(answer)["channels"] == channels


@pytest.mark.parametrize("channels", [None, [], {}, "abc", 5, ["a", "b"]], ids=repr)
def test_the_channels_are_an_object_of_names_and_cursors(bide, channels):
    assert_problem(poll(bide, channels), 400, param="channels")


def test_the_channels_must_be_given(bide):
    assert_problem(bide.post("/subscribe", json={"timeout": 0}), 400, param="channels")


def test_more_than_a_hundred_channels_are_refused(bide):
    assert_problem(poll(bide, {fresh(): 0 for _ in range(101)}), 400, param="channels")


@pytest.mark.parametrize("name", NOT_NAMES_IN_JSON, ids=label)
def test_a_bad_name_is_refused(bide, channel, name):
    body = assert_problem(poll(bide, {channel: 0, name: 0}), 400)
    assert body["param"] in ("channel", "channels")


@pytest.mark.parametrize(
    "cursor", [-1, 1.5, True, False, None, "", "x", "LATEST", [], [0], {}, 2**53, 10**30], ids=repr
)
def test_a_bad_cursor_is_refused(bide, channel, cursor):
    body = assert_problem(poll(bide, {channel: cursor, fresh(): 0}), 400)
    assert body["param"] in ("channels", "last_event_id")


@pytest.mark.parametrize("timeout", [-1, -0.5, "x", "", "nan", True, [], {}], ids=repr)
def test_a_bad_timeout_is_refused(bide, channel, timeout):
    assert_problem(poll(bide, {channel: 0}, timeout=timeout), 400, param="timeout")


@pytest.mark.parametrize("limit", [0, -1, 1001, 1.5, "x", "", True, [], {}, 10**30], ids=repr)
def test_a_bad_limit_is_refused(bide, channel, limit):
    assert_problem(poll(bide, {channel: 0}, limit=limit), 400, param="limit")


@pytest.mark.parametrize("timeout", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_timeout_that_is_no_finite_number_is_refused(bide, channel, timeout):
    data = f'{{"channels": {{"{channel}": 0}}, "timeout": {timeout}}}'
    assert_problem(bide.post("/subscribe", data=data, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("data", ["", "{", "[]", "5", "null", '"abc"'])
def test_a_body_that_is_no_json_object_is_refused(bide, data):
    assert_problem(bide.post("/subscribe", data=data, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded"])
def test_a_body_of_another_type_is_refused(bide, channel, kind):
    data = f'{{"channels": {{"{channel}": 0}}, "timeout": 0}}'
    assert_problem(bide.post("/subscribe", data=data, headers={"Content-Type": kind}), 415)
