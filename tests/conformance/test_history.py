"""What a channel keeps, read without waiting."""

import pytest

from .client import assert_problem, event, is_json
from .oddities import NOT_INTEGERS, label

KEYS = {"channel", "events", "oldest_event_id", "last_event_id", "gap"}


@pytest.fixture
def ten(bide, channel):
    """The ids of a channel's ten events."""
    return bide.publish_all(channel, range(10))


def ids(page):
    return [each["id"] for each in page["events"]]


def test_history_gives_the_events_oldest_first(bide, channel):
    one, two = bide.publish(channel, "a"), bide.publish(channel, {"b": 1}, type="t")
    answer = bide.get(f"/channels/{channel}/events")
    assert answer.status_code == 200
    assert is_json(answer)
    body = answer.json()
    first, second = (each["timestamp"] for each in body["events"])
    assert body == {
        "channel": channel,
        "events": [event(channel, one, "a", first), event(channel, two, {"b": 1}, second, type="t")],
        "oldest_event_id": one,
        "last_event_id": two,
        "gap": False,
    }


def test_history_and_polls_show_the_same_events(bide, channel, ten):
    assert bide.history(channel)["events"] == bide.polled(channel, limit=10)["events"]


def test_a_page_holds_the_oldest_after_a_cursor(bide, channel, ten):
    page = bide.history(channel, after=ten[2], limit=3)
    assert ids(page) == ten[3:6]
    assert (page["oldest_event_id"], page["last_event_id"], page["gap"]) == (ten[0], ten[5], False)
    assert ids(bide.history(channel, after=0, limit=2)) == ten[:2]
    assert ids(bide.history(channel, limit=2)) == ten[:2]
    assert ids(bide.history(channel, after=ten[8])) == ten[9:]


def test_before_alone_gives_the_newest_below_it(bide, channel, ten):
    page = bide.history(channel, before=ten[8], limit=3)
    assert ids(page) == ten[5:8]
    assert (page["oldest_event_id"], page["last_event_id"], page["gap"]) == (ten[0], ten[7], False)
    assert ids(bide.history(channel, before=ten[1])) == ten[:1]
    assert ids(bide.history(channel, before=ten[9] + 1, limit=2)) == ten[8:]


def test_after_and_before_bound_a_page_on_both_sides(bide, channel, ten):
    assert ids(bide.history(channel, after=ten[2], before=ten[7])) == ten[3:7]
    assert ids(bide.history(channel, after=ten[2], before=ten[7], limit=2)) == ten[3:5]
    assert ids(bide.history(channel, after=ten[2], before=ten[3])) == []
    assert ids(bide.history(channel, after=0, before=ten[2])) == ten[:2]


def test_there_is_nothing_after_the_head_and_nothing_before_the_oldest(bide, channel, ten):
    for page in (bide.history(channel, after=ten[-1]), bide.history(channel, before=ten[0])):
        assert set(page) == KEYS
        assert page["events"] == []
        assert (page["oldest_event_id"], page["gap"]) == (ten[0], False)


def test_history_is_walked_forwards(bide, channel, ten):
    seen, after = [], 0
    while page := ids(bide.history(channel, after=after, limit=4)):
        seen += page
        after = page[-1]
    assert seen == ten


def test_history_is_walked_backwards(bide, channel, ten):
    seen, before = [], ten[-1] + 1
    while page := ids(bide.history(channel, before=before, limit=4)):
        seen = page + seen
        before = page[0]
    assert seen == ten


def test_without_a_limit_a_page_holds_a_hundred(bide, channel):
    many = bide.publish_all(channel, range(150))
    assert ids(bide.history(channel)) == many[:100]
    assert ids(bide.history(channel, limit=1000)) == many
    assert ids(bide.history(channel, before=many[-1])) == many[49:149]


def test_a_page_after_what_is_gone_tells_the_gap(bide, channel, ten):
    bide.delete(channel)
    page = bide.history(channel, after=ten[4])
    assert (page["events"], page["oldest_event_id"], page["gap"]) == ([], None, True)
    event_id = bide.publish(channel, "new")
    page = bide.history(channel, after=ten[4])
    assert (ids(page), page["oldest_event_id"], page["last_event_id"]) == ([event_id], event_id, event_id)
    assert page["gap"] is True
    assert bide.history(channel, after=ten[-1])["gap"] is False
    assert bide.history(channel)["gap"] is False


def test_the_history_of_a_channel_that_never_was_is_empty_or_unknown(bide, channel):
    answer = bide.get(f"/channels/{channel}/events")
    if answer.status_code == 404:
        assert_problem(answer, 404)
    else:
        body = answer.json()
        assert set(body) == KEYS
        assert (body["events"], body["oldest_event_id"], body["gap"]) == ([], None, False)


def test_reading_history_is_no_subscription(bide, channel, ten):
    bide.history(channel)
    assert bide.info(channel)["subscribers"] == 0


@pytest.mark.parametrize("name", ["after", "before"])
@pytest.mark.parametrize("value", NOT_INTEGERS, ids=label)
def test_a_bound_that_is_no_plain_number_is_refused(bide, channel, ten, name, value):
    answer = bide.get(f"/channels/{channel}/events", params={name: value})
    assert_problem(answer, 400, param=name)


@pytest.mark.parametrize("limit", [*NOT_INTEGERS, "0", "1001", "9" * 30], ids=label)
def test_a_bad_limit_is_refused(bide, channel, ten, limit):
    assert_problem(bide.get(f"/channels/{channel}/events", params={"limit": limit}), 400, param="limit")


@pytest.mark.parametrize("name", ["after", "before", "limit"])
def test_a_parameter_given_twice_is_refused(bide, channel, ten, name):
    assert_problem(bide.get(f"/channels/{channel}/events?{name}=1&{name}=1"), 400, param=name)


def test_unknown_parameters_are_passed_over(bide, channel, ten):
    assert ids(bide.history(channel, page=2, last_event_id=ten[5])) == ten
