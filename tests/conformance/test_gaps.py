"""What a client is told when events that it has not seen may be gone."""

import pytest

from .client import answered, event

RETENTION = 1000


@pytest.fixture
def trimmed(bide, channel):
    """The ids of a channel that was given three events more than it keeps."""
    return bide.publish_all(channel, range(3)) + bide.publish_all(channel, range(3, RETENTION + 3))


@pytest.fixture
def emptied(bide, channel):
    """The ids of a channel whose events were deleted."""
    ids = bide.publish_all(channel, ["a", "b", "c"])
    bide.delete(channel)
    return ids


def test_a_channel_keeps_no_more_than_its_retention(bide, channel, trimmed):
    info = bide.info(channel)
    assert info["events"] == RETENTION
    assert (info["oldest_event_id"], info["last_event_id"]) == (trimmed[3], trimmed[-1])
    assert bide.messages(channel) == list(range(3, RETENTION + 3))
    assert len(bide.polled(channel, limit=1000)["events"]) == RETENTION


def test_an_event_after_a_gap_tells_it(bide, channel, trimmed):
    body = bide.polled(channel, last_event_id=trimmed[0])
    gap = {"gap": True, "oldest_event_id": trimmed[3]}
    assert body == event(channel, trimmed[3], 3, body["timestamp"], **gap)


def test_a_list_after_a_gap_tells_it(bide, channel, trimmed):
    body = bide.polled(channel, last_event_id=trimmed[1], limit=2)
    assert body == {
        "channel": channel,
        "events": [event(channel, trimmed[n], n, body["events"][n - 3]["timestamp"]) for n in (3, 4)],
        "last_event_id": trimmed[4],
        "gap": True,
        "oldest_event_id": trimmed[3],
    }


def test_a_gap_is_told_once(bide, channel, trimmed):
    first = bide.polled(channel, last_event_id=trimmed[0])
    second = bide.polled(channel, last_event_id=first["id"])
    assert second == event(channel, trimmed[4], 4, second["timestamp"])


def test_the_last_cursor_before_what_is_kept_misses_nothing(bide, channel, trimmed):
    body = bide.polled(channel, last_event_id=trimmed[2])
    assert body == event(channel, trimmed[3], 3, body["timestamp"])


@pytest.mark.parametrize("index", [3, 4, 500, -2])
def test_a_cursor_within_what_is_kept_misses_nothing(bide, channel, trimmed, index):
    body = bide.polled(channel, last_event_id=trimmed[index])
    assert body["id"] == trimmed[index + 1]
    assert "gap" not in body
    assert "oldest_event_id" not in body


def test_zero_is_no_cursor_to_miss_anything_from(bide, channel, trimmed):
    body = bide.polled(channel, last_event_id=0)
    assert body == event(channel, trimmed[3], 3, body["timestamp"])
    assert "gap" not in bide.polled(channel, last_event_id=0, limit=5)
    assert "gap" not in bide.polled(channel, last_event_id="latest")


@pytest.mark.parametrize("limit", [None, 5])
def test_a_gap_alone_does_not_end_a_poll(bide, channel, emptied, limit):
    more = {} if limit is None else {"limit": limit}
    answer = bide.poll(channel, last_event_id=emptied[0], timeout=0.4, **more)
    assert answer.seconds >= 0.37
    assert answered(answer) == {
        "status": "timeout",
        "channel": channel,
        "last_event_id": emptied[-1],
        "gap": True,
        "oldest_event_id": None,
        **({} if limit is None else {"events": []}),
    }


def test_after_a_gap_told_at_the_end_of_time_there_is_none(bide, channel, emptied):
    cursor = bide.polled(channel, last_event_id=emptied[0])["last_event_id"]
    body = bide.polled(channel, last_event_id=cursor)
    assert body == {"status": "timeout", "channel": channel, "last_event_id": cursor}


def test_an_event_that_ends_a_poll_with_a_gap_tells_it(bide, channel, emptied):
    poll = bide.hold(channel, last_event_id=emptied[0])
    bide.parked(channel)
    event_id = bide.publish(channel, "d")
    body = poll.answer()
    assert body.pop("oldest_event_id") in (None, event_id)
    assert body == event(channel, event_id, "d", body["timestamp"], gap=True)


def test_after_a_delete_only_the_head_misses_nothing(bide, channel, emptied):
    for cursor, gap in [
        (0, False),
        (emptied[0], True),
        (emptied[1], True),
        (emptied[2], False),
        ("latest", False),
    ]:
        body = bide.polled(channel, last_event_id=cursor)
        assert ("gap" in body) is gap
        assert body["last_event_id"] == emptied[-1]


def test_events_after_a_delete_come_with_a_gap_for_older_cursors(bide, channel, emptied):
    event_id = bide.publish(channel, "d")
    body = bide.polled(channel, last_event_id=emptied[1])
    assert body == event(channel, event_id, "d", body["timestamp"], gap=True, oldest_event_id=event_id)
    assert "gap" not in bide.polled(channel, last_event_id=emptied[2])


def test_a_cursor_above_the_head_goes_on_from_the_head_with_a_gap(bide, channel):
    ids = bide.publish_all(channel, ["a", "b"])
    body = bide.polled(channel, last_event_id=ids[-1] + 1)
    assert body == {
        "status": "timeout",
        "channel": channel,
        "last_event_id": ids[-1],
        "gap": True,
        "oldest_event_id": ids[0],
    }


def test_a_cursor_above_the_head_misses_no_later_event(bide, channel):
    event_id = bide.publish(channel, "a")
    poll = bide.hold(channel, last_event_id=event_id + 1)
    bide.parked(channel)
    later = bide.publish(channel, "b")
    body = poll.answer()
    assert (body["id"], body["message"], body["gap"]) == (later, "b", True)


def test_a_made_up_cursor_on_a_channel_that_never_was_is_told_no_gap_twice(bide, channel):
    cursor = bide.polled(channel, last_event_id=1)["last_event_id"]
    assert "gap" not in bide.polled(channel, last_event_id=cursor)


def test_a_quiet_channel_has_no_gap_at_its_first_event(bide, channel):
    cursor = bide.polled(channel)["last_event_id"]
    event_id = bide.publish(channel, "first")
    body = bide.polled(channel, last_event_id=cursor)
    assert body == event(channel, event_id, "first", body["timestamp"])
