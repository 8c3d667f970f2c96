"""Cursors: where a poll begins, and what it hands out so that nothing slips between two polls."""

import pytest

from .client import Later, all_at_once, assert_problem, event, follow, is_event_id
from .oddities import NOT_INTEGERS, label


def test_without_a_cursor_a_poll_begins_at_the_oldest_event(bide, channel):
    ids = bide.publish_all(channel, ["a", "b"])
    assert bide.polled(channel)["id"] == ids[0]
    assert bide.polled(channel, last_event_id=0)["id"] == ids[0]


def test_a_poll_gives_the_first_event_after_its_cursor(bide, channel):
    ids = bide.publish_all(channel, ["a", "b", "c"])
    assert [bide.polled(channel, last_event_id=each)["id"] for each in ids[:2]] == ids[1:]
    assert bide.polled(channel, last_event_id=ids[2])["status"] == "timeout"


def test_the_same_cursor_gets_the_same_event_again(bide, channel):
    ids = bide.publish_all(channel, ["a", "b", "c"])
    bodies = [bide.polled(channel, last_event_id=ids[0]) for _ in range(3)]
    assert bodies == [event(channel, ids[1], "b", bodies[0]["timestamp"])] * 3


def test_a_cursor_need_not_be_the_id_of_an_event(bide, channel):
    first, second = bide.publish(channel, "a"), bide.publish(channel, "b")
    if second > first + 1:
        assert bide.polled(channel, last_event_id=second - 1)["id"] == second


def test_latest_passes_over_what_is_there(bide, channel):
    event_id = bide.publish(channel, "old")
    body = bide.polled(channel, last_event_id="latest")
    assert body == {"status": "timeout", "channel": channel, "last_event_id": event_id}


def test_latest_waits_for_what_comes_next(bide, channel):
    bide.publish(channel, "old")
    poll = bide.hold(channel, last_event_id="latest")
    bide.parked(channel)
    event_id = bide.publish(channel, "new")
    assert poll.answer()["id"] == event_id


def test_latest_on_a_channel_that_never_was_gets_its_first_event(bide, channel):
    poll = bide.hold(channel, last_event_id="latest")
    bide.parked(channel)
    event_id = bide.publish(channel, "first")
    assert poll.answer()["id"] == event_id


@pytest.mark.parametrize("cursor", ["latest", 0])
@pytest.mark.parametrize("limit", [None, 10])
def test_nothing_slips_between_a_poll_that_timed_out_and_the_next(bide, channel, cursor, limit):
    parameters = {} if limit is None else {"limit": limit}
    handed_out = bide.polled(channel, last_event_id=cursor, **parameters)["last_event_id"]
    event_id = bide.publish(channel, "between")
    assert event_id > handed_out
    body = bide.polled(channel, last_event_id=handed_out, **parameters)
    assert "gap" not in body
    assert [each["id"] for each in body.get("events", [body])] == [event_id]


def test_a_cursor_that_is_handed_out_again_and_again_never_steps_back(bide, channel):
    cursor, seen = 0, []
    for n in range(6):
        cursor = bide.polled(channel, last_event_id=cursor)["last_event_id"]
        seen.append(cursor)
        if n == 2:
            bide.publish(channel, "x")
            cursor = bide.polled(channel, last_event_id=cursor)["id"]
            seen.append(cursor)
    assert seen == sorted(seen)


def test_a_poll_that_timed_out_at_the_head_hands_out_the_head(bide, channel):
    event_id = bide.publish(channel, "x")
    for more in ({}, {"limit": 5}):
        body = bide.polled(channel, last_event_id=event_id, timeout=0.1, **more)
        assert body["last_event_id"] == event_id


@pytest.mark.parametrize(
    "cursor", [*NOT_INTEGERS, "LATEST", "latest ", "last", "0,0", "0,latest", "latest,latest"], ids=label
)
def test_any_other_cursor_is_refused(bide, channel, cursor):
    assert_problem(bide.poll(channel, last_event_id=cursor), 400, param="last_event_id")


@pytest.mark.parametrize("cursor", [2**53, 2**63, 10**30, "9" * 5000], ids=["2^53", "2^63", "10^30", "5000 digits"])
def test_a_cursor_beyond_every_id_is_refused(bide, channel, cursor):
    bide.publish(channel, "x")
    assert_problem(bide.poll(channel, last_event_id=cursor), 400, param="last_event_id")


def test_a_cursor_of_the_far_future_is_refused(bide, channel):
    event_id = bide.publish(channel, "x")
    assert_problem(bide.poll(channel, last_event_id=event_id + 120_000_000), 400, param="last_event_id")


def test_a_cursor_may_come_in_the_header_of_an_event_source(bide, channel):
    ids = bide.publish_all(channel, ["a", "b"])
    assert bide.polled(channel, headers={"Last-Event-ID": str(ids[0])})["id"] == ids[1]
    assert bide.polled(channel, headers={"Last-Event-ID": "0"})["id"] == ids[0]
    assert bide.polled(channel, headers={"Last-Event-ID": "latest"})["status"] == "timeout"


def test_the_header_is_stronger_than_the_parameter(bide, channel):
    ids = bide.publish_all(channel, ["a", "b"])
    for parameter in (0, ids[1], "latest"):
        body = bide.polled(channel, last_event_id=parameter, headers={"Last-Event-ID": str(ids[0])})
        assert body["id"] == ids[1]


@pytest.mark.parametrize("cursor", ["-1", "abc", "1e3", "1.0", "+1", "nan", "0,0"])
def test_a_bad_cursor_in_the_header_is_refused(bide, channel, cursor):
    answer = bide.poll(channel, last_event_id=0, headers={"Last-Event-ID": cursor})
    assert_problem(answer, 400, param="last_event_id")


def test_a_client_that_sends_its_cursor_back_sees_every_event_once(bide, channel):
    ids = bide.publish_all(channel, range(25))
    assert [each["id"] for each in follow(bide, channel, 25)] == ids
    assert [each["id"] for each in follow(bide, channel, 25, limit=4)] == ids


def test_readers_miss_nothing_while_publishers_are_at_work(bide, channel):
    readers = [Later(follow, bide, channel, 60, **more) for more in ({}, {"limit": 3}, {"limit": 1000})]
    late = Later(follow, bide, channel, 60, last_event_id=0, limit=7)
    acknowledged = all_at_once([lambda w=w: [bide.publish(channel, [w, n]) for n in range(15)] for w in range(4)])
    assert all(each == sorted(each) for each in acknowledged)
    expected = sorted(event_id for each in acknowledged for event_id in each)
    for reader in (*readers, late):
        events = reader.result(30)
        assert [each["id"] for each in events] == expected
        for writer in range(4):
            assert [each["message"][1] for each in events if each["message"][0] == writer] == list(range(15))


def test_a_client_may_change_between_one_event_and_lists(bide, channel):
    ids = bide.publish_all(channel, range(6))
    first = bide.polled(channel)["id"]
    second = bide.polled(channel, last_event_id=first, limit=3)
    third = bide.polled(channel, last_event_id=second["last_event_id"])
    assert [first, *(each["id"] for each in second["events"]), third["id"]] == ids[:5]


def test_the_cursor_of_a_channel_that_never_was_is_usable(bide, channel):
    cursor = bide.polled(channel)["last_event_id"]
    assert is_event_id(cursor)
    body = bide.polled(channel, last_event_id=cursor)
    assert body == {"status": "timeout", "channel": channel, "last_event_id": body["last_event_id"]}
    assert body["last_event_id"] >= cursor
