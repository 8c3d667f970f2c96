"""Several messages in one publish: in order, with nothing between them, all or none."""

import json

import pytest

from .client import all_at_once, assert_problem, assert_published, event

REQUIRED = "Message content is required"


def publish(bide, channel, messages, **fields):
    return bide.post(f"/publish/{channel}", json={"messages": messages, **fields})


def test_a_batch_answers_with_every_id_and_the_last(bide, channel):
    ids = assert_published(publish(bide, channel, ["a", "b", "c"]), channel, count=3)
    assert ids == list(range(ids[0], ids[0] + 3))


def test_a_batch_of_one_is_still_a_batch(bide, channel):
    body = publish(bide, channel, ["only"]).json()
    only = body["event_id"]
    assert body == {"status": "published", "channel": channel, "event_id": only, "event_ids": [only]}


def test_a_batch_is_read_in_the_order_in_which_it_was_sent(bide, channel):
    messages = ["z", 1, {"a": [1]}, [], False, 0, "z"]
    ids = bide.publish_all(channel, messages)
    events = bide.polled(channel, limit=10)["events"]
    times = [each["timestamp"] for each in events]
    assert events == [event(channel, *each) for each in zip(ids, messages, times, strict=True)]


def test_the_type_of_a_batch_is_that_of_each_event(bide, channel):
    bide.publish_all(channel, [1, 2], type="tick")
    assert [each["type"] for each in bide.polled(channel, limit=10)["events"]] == ["tick", "tick"]


def test_a_thousand_messages_are_one_batch(bide, channel):
    ids = assert_published(publish(bide, channel, list(range(1000))), channel, count=1000)
    assert ids == list(range(ids[0], ids[0] + 1000))
    assert bide.messages(channel) == list(range(1000))


def test_more_than_a_thousand_messages_are_refused(bide, channel):
    assert_problem(publish(bide, channel, list(range(1001))), 400, param="messages")
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("messages", [[], "abc", {"a": 1}, 5, True], ids=repr)
def test_a_batch_is_a_list_with_something_in_it(bide, channel, messages):
    assert_problem(publish(bide, channel, messages), 400, param="messages")
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("messages", [[None], [""], ["a", None, "b"], ["a", "b", ""]], ids=repr)
def test_one_empty_message_refuses_its_whole_batch(bide, channel, messages):
    assert_problem(publish(bide, channel, messages), 400, param="messages", error=REQUIRED)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("bad", [r'"\ud800"', '{"a":1,"a":2}', "1e999", "NaN", "[" * 65 + "]" * 65])
def test_one_unsound_message_refuses_its_whole_batch(bide, channel, bad):
    assert_problem(bide.publish_json(channel, f'{{"messages": [1, {bad}, 2]}}'), 400)
    assert bide.is_unknown(channel)


def test_one_message_that_is_too_large_refuses_its_whole_batch(bide, channel):
    assert_problem(publish(bide, channel, ["a", "x" * 65_535, "b"]), 413)
    assert bide.is_unknown(channel)


def test_the_size_of_a_message_is_counted_for_each_message_alone(bide, channel):
    assert_published(publish(bide, channel, ["x" * 65_534] * 3), channel, count=3)


@pytest.mark.parametrize("field", ["message", "messages"])
def test_a_bad_type_refuses_the_batch(bide, channel, field):
    value = ["a"] if field == "messages" else "a"
    assert_problem(bide.post(f"/publish/{channel}", json={field: value, "type": "error"}), 400, param="type")
    assert bide.is_unknown(channel)


def test_one_message_and_a_batch_do_not_go_together(bide, channel):
    body = json.dumps({"message": "a", "messages": ["b"]})
    assert_problem(bide.publish_json(channel, body), 400)
    assert bide.is_unknown(channel)


def test_batches_sent_at_the_same_time_are_not_mixed(bide, channel):
    batches = [[f"{name}{n}" for n in range(20)] for name in "abcdef"]
    answers = all_at_once([lambda batch=batch: publish(bide, channel, batch) for batch in batches])
    ids = [assert_published(answer, channel, count=20) for answer in answers]
    expected = [message for _, batch in sorted(zip(ids, batches, strict=True)) for message in batch]
    assert bide.messages(channel) == expected


def test_ids_of_publishes_at_the_same_time_are_all_different(bide, channel):
    ids = all_at_once([lambda n=n: bide.publish(channel, n) for n in range(20)])
    assert len(set(ids)) == 20
    read = bide.history(channel)["events"]
    assert [each["id"] for each in read] == sorted(ids)
    assert {each["id"]: each["message"] for each in read} == {each: n for n, each in enumerate(ids)}
