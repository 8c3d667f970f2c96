"""A channel's events can be deleted; its numbering goes on."""

import pytest

from .client import assert_problem, await_that, event, fresh
from .oddities import NOT_NAMES, label


def delete(bide, channel):
    return bide.request("DELETE", f"/channels/{channel}")


def is_empty(body):
    return body.get("status") == "timeout"


def test_a_delete_answers_with_nothing(bide, channel):
    bide.publish(channel, "x")
    answer = delete(bide, channel)
    assert answer.status_code == 204
    assert answer.content == b""


def test_a_channel_that_never_was_may_be_deleted(bide, channel):
    assert delete(bide, channel).status_code == 204
    assert delete(bide, channel).status_code == 204
    event_id = bide.publish(channel, "x")
    assert bide.polled(channel)["id"] == event_id


def test_what_was_deleted_is_nowhere_to_be_read(bide, channel):
    ids = bide.publish_all(channel, range(5))
    bide.polled(channel)
    bide.delete(channel)
    assert bide.history(channel)["events"] == []
    assert bide.history(channel, before=ids[-1] + 1)["events"] == []
    # A worker may show for another 100 ms what it holds in memory.
    for cursor in (0, ids[0], ids[3]):
        await_that(lambda cursor=cursor: is_empty(bide.polled(channel, last_event_id=cursor)), within=1)
        await_that(lambda cursor=cursor: is_empty(bide.polled(channel, last_event_id=cursor, limit=9)), within=1)
    assert bide.info(channel)["events"] == 0


def test_ids_go_on_after_a_delete(bide, channel):
    before = bide.publish_all(channel, ["a", "b"])
    bide.delete(channel)
    event_id = bide.publish(channel, "c")
    assert event_id > before[-1]
    body = bide.polled(channel)
    assert body == event(channel, event_id, "c", body["timestamp"])
    assert bide.messages(channel) == ["c"]


def test_deletes_and_publishes_may_alternate(bide, channel):
    ids = []
    for n in range(5):
        ids.append(bide.publish(channel, n))
        assert bide.messages(channel) == [n]
        bide.delete(channel)
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("limit", [None, 5])
def test_a_delete_answers_parked_polls_at_once(bide, channel, limit):
    more = {} if limit is None else {"limit": limit}
    head = bide.publish(channel, "x")
    polls = [
        bide.hold(channel, last_event_id=cursor, headers={"X-Client-ID": f"c{n}"}, **more)
        for n, cursor in enumerate([head, "latest", head])
    ]
    bide.parked(channel, 3)
    bide.delete(channel)
    empty = {} if limit is None else {"events": []}
    expected = {"status": "timeout", "channel": channel, "last_event_id": head, **empty}
    assert [poll.answer() for poll in polls] == [expected] * 3


def test_a_delete_leaves_other_channels_alone(bide, channel):
    other = fresh()
    kept = bide.publish(other, "kept")
    poll = bide.hold(other, last_event_id=kept)
    bide.parked(other)
    bide.publish(channel, "x")
    bide.delete(channel)
    assert bide.messages(other) == ["kept"]
    event_id = bide.publish(other, "news")
    assert poll.answer()["id"] == event_id


def test_a_poll_after_a_delete_is_held_again(bide, channel):
    head = bide.publish(channel, "x")
    bide.delete(channel)
    poll = bide.hold(channel, last_event_id=head)
    bide.parked(channel)
    event_id = bide.publish(channel, "y")
    body = poll.answer()
    assert body == event(channel, event_id, "y", body["timestamp"])


@pytest.mark.parametrize("name", [*NOT_NAMES, "a,b"], ids=label)
def test_what_is_no_name_cannot_be_deleted(bide, name):
    assert_problem(bide.exact("DELETE", f"/channels/{name}"), 400, param="channel")
