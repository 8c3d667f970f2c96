"""One publish to several channels."""

import pytest

from .client import assert_problem, fresh, is_event_id, is_json
from .oddities import NOT_NAMES_IN_JSON, label


def names(count):
    return [fresh() for _ in range(count)]


def publish(bide, channels, message="hi", headers=None, **fields):
    return bide.post("/publish", json={"channels": channels, "message": message, **fields}, headers=headers)


def assert_all_published(answer, channels):
    """A good answer, in the order asked; the ids."""
    assert answer.status_code == 200, answer.text
    assert is_json(answer)
    body = answer.json()
    ids = [each["event_id"] for each in body["events"]]
    pairs = zip(channels, ids, strict=True)
    assert body == {
        "status": "published",
        "events": [{"channel": name, "event_id": event_id} for name, event_id in pairs],
    }
    assert all(is_event_id(each) for each in ids)
    return ids


@pytest.mark.parametrize("count", [1, 3, 100])
def test_every_channel_gets_the_message_and_answers_in_the_order_asked(bide, count):
    channels = sorted(names(count), reverse=True)
    ids = assert_all_published(publish(bide, channels, {"a": 1}, type="t"), channels)
    for name, event_id in list(zip(channels, ids, strict=True))[:3]:
        body = bide.polled(name)
        assert (body["id"], body["channel"], body["message"], body["type"]) == (event_id, name, {"a": 1}, "t")


def test_a_batch_to_several_channels_is_whole_in_each(bide):
    channels = names(2)
    answer = bide.post("/publish", json={"channels": channels, "messages": ["a", "b", "c"]})
    assert answer.status_code == 200, answer.text
    assert [each["channel"] for each in answer.json()["events"]] == channels
    for name, entry in zip(channels, answer.json()["events"], strict=True):
        assert bide.messages(name) == ["a", "b", "c"]
        assert entry["event_id"] == bide.info(name)["last_event_id"]


def test_parked_polls_of_every_channel_are_answered(bide):
    channels = names(3)
    polls = [bide.hold(name) for name in channels]
    for name in channels:
        bide.parked(name)
    ids = assert_all_published(publish(bide, channels), channels)
    assert [poll.answer()["id"] for poll in polls] == ids


@pytest.mark.parametrize("channels", [[], "abc", {"a": 0}, 5, True, None, [1], [None], [["a"]], ["a", 5]], ids=repr)
def test_the_channels_are_a_list_of_names(bide, channels):
    assert_problem(publish(bide, channels), 400, param="channels")


def test_the_channels_must_be_given(bide):
    assert_problem(bide.post("/publish", json={"message": "hi"}), 400, param="channels")


def test_more_than_a_hundred_channels_are_refused(bide):
    channels = names(101)
    assert_problem(publish(bide, channels), 400, param="channels")
    assert bide.is_unknown(channels[0])


def test_a_channel_named_twice_is_refused(bide):
    one, two = names(2)
    assert_problem(publish(bide, [one, two, one]), 400, param="channels")
    assert bide.is_unknown(one)
    assert bide.is_unknown(two)


@pytest.mark.parametrize("bad", NOT_NAMES_IN_JSON, ids=label)
def test_one_bad_name_refuses_them_all(bide, channel, bad):
    body = assert_problem(publish(bide, [channel, bad]), 400)
    assert body["param"] in ("channel", "channels")
    assert bide.is_unknown(channel)


def test_one_of_the_servers_own_channels_refuses_them_all(bide, channel):
    assert_problem(publish(bide, [channel, "@bide.events"]), 403)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("message", [None, ""], ids=repr)
def test_content_is_required_here_too(bide, channel, message):
    answer = publish(bide, [channel], message)
    assert_problem(answer, 400, param="message", error="Message content is required")
    assert bide.is_unknown(channel)


def test_a_message_that_is_too_large_reaches_no_channel(bide):
    one, two = names(2)
    assert_problem(publish(bide, [one, two], "x" * 65_535), 413)
    assert bide.is_unknown(one)
    assert bide.is_unknown(two)


def test_a_bad_type_reaches_no_channel(bide, channel):
    assert_problem(publish(bide, [channel], type="bide.x"), 400, param="type")
    assert bide.is_unknown(channel)


def test_one_message_and_a_batch_do_not_go_together_here_either(bide, channel):
    assert_problem(publish(bide, [channel], messages=["a"]), 400)
    assert bide.is_unknown(channel)


def test_what_names_no_channels_cannot_be_published_to_several(bide):
    for kind, data in [("text/plain", "hello"), ("application/x-www-form-urlencoded", "message=hello")]:
        answer = bide.post("/publish", data=data, headers={"Content-Type": kind})
        assert answer.status_code in (400, 415)
        assert_problem(answer, answer.status_code)


def test_a_retry_with_its_key_answers_the_same_and_stores_nothing(bide):
    channels, headers = names(3), {"Idempotency-Key": fresh()}
    first = publish(bide, channels, headers=headers)
    again = publish(bide, channels, headers=headers)
    assert assert_all_published(first, channels) == assert_all_published(again, channels)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [bide.messages(name) for name in channels] == [["hi"]] * 3


def test_a_retry_with_its_key_and_another_message_is_refused(bide):
    channels, headers = names(2), {"Idempotency-Key": fresh()}
    assert_all_published(publish(bide, channels, "a", headers=headers), channels)
    assert_problem(publish(bide, channels, "b", headers=headers), 422)
    assert [bide.messages(name) for name in channels] == [["a"]] * 2


def test_a_retry_with_its_key_completes_what_is_missing(bide):
    channels, headers = names(2), {"Idempotency-Key": fresh()}
    answer = bide.post(f"/publish/{channels[0]}", json={"message": "hi"}, headers=headers)
    ids = assert_all_published(publish(bide, channels, headers=headers), channels)
    assert ids[0] == answer.json()["event_id"]
    assert [bide.messages(name) for name in channels] == [["hi"], ["hi"]]
