"""A publisher's retry under the same Idempotency-Key is stored once."""

import pytest

from .client import all_at_once, assert_problem, assert_published, fresh


def publish(bide, channel, key, message="hi", **fields):
    body = {"messages": message} if isinstance(message, list) else {"message": message}
    return bide.post(f"/publish/{channel}", json={**body, **fields}, headers={"Idempotency-Key": key})


def test_a_repeated_publish_answers_as_the_first_did(bide, channel):
    first = publish(bide, channel, "k")
    again = publish(bide, channel, "k")
    assert_published(first, channel)
    assert again.status_code == 200
    assert again.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert bide.messages(channel) == ["hi"]


def test_a_repeated_batch_answers_with_the_same_ids(bide, channel):
    first = publish(bide, channel, "k", ["a", "b"])
    again = publish(bide, channel, "k", ["a", "b"])
    assert assert_published(first, channel, count=2) == assert_published(again, channel, count=2)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert bide.messages(channel) == ["a", "b"]


def test_a_repeat_is_known_after_other_events(bide, channel):
    first = publish(bide, channel, "k")
    bide.publish(channel, "between")
    assert publish(bide, channel, "k").json() == first.json()
    assert bide.messages(channel) == ["hi", "between"]


def test_a_repeat_may_be_spelled_differently(bide, channel):
    key = {"Idempotency-Key": "k"}
    first = bide.publish_json(channel, '{"message":{"a":[1,2]},"type":"t"}', **key)
    again = bide.publish_json(channel, '{ "type": "t", "message": { "a": [1, 2] }, "unknown": 1 }', **key)
    assert assert_published(first, channel) == assert_published(again, channel)
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_repeat_may_come_as_text(bide, channel):
    first = publish(bide, channel, "k", "hello")
    headers = {"Idempotency-Key": "k", "Content-Type": "text/plain"}
    again = bide.post(f"/publish/{channel}", data="hello", headers=headers)
    assert assert_published(first, channel) == assert_published(again, channel)
    assert bide.messages(channel) == ["hello"]


@pytest.mark.parametrize(
    "other",
    [
        {"message": "ho"},
        {"message": "hi", "type": "t"},
        {"message": ["hi", "ho"]},
        {"message": {"hi": 1}},
        {"message": 0},
    ],
    ids=repr,
)
def test_a_key_used_again_for_something_else_is_refused(bide, channel, other):
    first = publish(bide, channel, "k")
    assert_problem(publish(bide, channel, "k", **other), 422)
    assert bide.messages(channel) == ["hi"]
    assert publish(bide, channel, "k").json() == first.json()


def test_another_type_is_something_else(bide, channel):
    publish(bide, channel, "k", type="one")
    assert_problem(publish(bide, channel, "k", type="two"), 422)
    assert_problem(publish(bide, channel, "k"), 422)
    assert len(bide.messages(channel)) == 1


def test_another_key_is_another_event(bide, channel):
    ids = [publish(bide, channel, key).json()["event_id"] for key in ("k", "K", "k2")]
    assert len(set(ids)) == 3
    assert bide.messages(channel) == ["hi"] * 3


def test_without_a_key_every_publish_is_an_event(bide, channel):
    assert bide.publish(channel, "hi") < bide.publish(channel, "hi")


def test_a_key_belongs_to_its_channel(bide, channel):
    other = fresh()
    publish(bide, channel, "k", "here")
    answer = publish(bide, other, "k", "there")
    assert_published(answer, other)
    assert "Idempotency-Replayed" not in answer.headers


@pytest.mark.parametrize(
    "bad", [{"message": ""}, {"type": "error"}, {"message": "x" * 65_535}], ids=["empty", "type", "size"]
)
def test_a_refused_publish_leaves_its_key_unused(bide, channel, bad):
    assert publish(bide, channel, "k", **bad).status_code in (400, 413)
    answer = publish(bide, channel, "k", "good")
    assert_published(answer, channel)
    assert "Idempotency-Replayed" not in answer.headers


def test_calls_at_the_same_time_under_one_key_store_one_event(bide, channel):
    answers = all_at_once([lambda: publish(bide, channel, "k")] * 12)
    assert len({assert_published(answer, channel)[0] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 11
    assert bide.messages(channel) == ["hi"]


def test_calls_at_the_same_time_with_different_content_store_one_of_them(bide, channel):
    answers = all_at_once([lambda n=n: publish(bide, channel, "k", n) for n in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7
    [winner] = [n for n, answer in enumerate(answers) if answer.status_code == 200]
    assert bide.messages(channel) == [winner]


@pytest.mark.parametrize(
    "key", ["x", "k" * 255, "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~\\", "8e03978e-40d5-43dd-bc93-6894a57f9324"]
)
def test_a_key_is_made_of_visible_ascii(bide, channel, key):
    first, again = publish(bide, channel, key), publish(bide, channel, key)
    assert assert_published(first, channel) == assert_published(again, channel)


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "a\tb", "cl\u00e9", "a\u00a0"], ids=ascii)
def test_any_other_key_is_refused(bide, channel, key):
    headers = ("Content-Type: text/plain", f"Idempotency-Key: {key}")
    answer = bide.exact("POST", f"/publish/{channel}", *headers, body=b"hi")
    assert_problem(answer, 400, param="Idempotency-Key")
    assert bide.is_unknown(channel)


def test_a_replay_wakes_nobody(bide, channel):
    event_id = publish(bide, channel, "k").json()["event_id"]
    poll = bide.hold(channel, last_event_id=event_id, timeout=0.5)
    bide.parked(channel)
    publish(bide, channel, "k")
    assert poll.answer() == {"status": "timeout", "channel": channel, "last_event_id": event_id}
