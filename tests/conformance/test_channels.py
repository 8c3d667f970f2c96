"""The list of channels, one channel's entry, and who waits on it."""

import time

import pytest

from .client import assert_problem, await_that, fresh, is_json
from .oddities import NOT_INTEGERS, NOT_NAMES, label

ENTRY = {"channel", "subscribers", "events", "oldest_event_id", "last_event_id", "last_published_at"}


def listed(bide, **parameters):
    answer = bide.get("/channels", params=parameters)
    assert answer.status_code == 200, answer.text
    assert is_json(answer)
    body = answer.json()
    assert set(body) == {"active_channels", "channels", "next"}
    assert body["active_channels"] == [each["channel"] for each in body["channels"]]
    assert all(set(each) == ENTRY for each in body["channels"])
    return body


def subscribers(bide, channel):
    answer = bide.get(f"/channels/{channel}/subscribers")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body == {"channel": channel, "subscribers": body["subscribers"]}
    return body["subscribers"]


def test_the_entry_of_a_channel_tells_what_it_holds(bide, channel):
    ids = bide.publish_all(channel, ["a", "b", "c"])
    newest = bide.history(channel)["events"][-1]
    assert bide.info(channel) == {
        "channel": channel,
        "subscribers": 0,
        "events": 3,
        "oldest_event_id": ids[0],
        "last_event_id": ids[2],
        "last_published_at": newest["timestamp"],
    }


def test_the_entry_follows_each_publish(bide, channel):
    for count in (1, 2, 3):
        event_id = bide.publish(channel, count)
        info = bide.info(channel)
        assert (info["events"], info["last_event_id"]) == (count, event_id)


def test_a_channel_with_only_a_subscriber_has_an_entry(bide, channel):
    poll = bide.hold(channel, timeout=0.5)
    bide.parked(channel)
    assert bide.info(channel) == {
        "channel": channel,
        "subscribers": 1,
        "events": 0,
        "oldest_event_id": None,
        "last_event_id": None,
        "last_published_at": None,
    }
    poll.answer()


def test_a_deleted_channel_keeps_its_head(bide, channel):
    ids = bide.publish_all(channel, ["a", "b"])
    bide.delete(channel)
    info = bide.info(channel)
    assert set(info) == ENTRY
    assert (info["events"], info["oldest_event_id"], info["last_event_id"]) == (0, None, ids[1])


def test_a_channel_that_never_was_is_not_found(bide, channel):
    assert_problem(bide.get(f"/channels/{channel}"), 404)


@pytest.mark.parametrize("tail", ["", "/events", "/subscribers"])
@pytest.mark.parametrize("name", [*NOT_NAMES, "a,b"], ids=label)
def test_what_is_no_name_has_nothing_below_it(bide, name, tail):
    assert_problem(bide.exact("GET", f"/channels/{name}{tail}"), 400, param="channel")


def test_the_list_holds_the_entry_of_each_channel(bide):
    prefix = fresh()
    for name in ("b", "a"):
        bide.publish(f"{prefix}.{name}", 1)
    body = listed(bide, prefix=prefix)
    assert body == {
        "active_channels": [f"{prefix}.a", f"{prefix}.b"],
        "channels": [bide.info(f"{prefix}.a"), bide.info(f"{prefix}.b")],
        "next": None,
    }


def test_the_list_is_in_the_order_of_code_points(bide):
    prefix = fresh()
    tails = ["", "-", ".", "0", "9", ":", "@", "A", "Z", "_", "a", "aa", "z", "~"]
    for tail in reversed(tails):
        bide.publish(prefix + tail, 1)
    assert tails == sorted(tails)
    assert listed(bide, prefix=prefix)["active_channels"] == [prefix + tail for tail in tails]


def test_a_prefix_is_taken_literally(bide):
    prefix = fresh()
    for tail in ("_x", ".x", "Ax", "ax"):
        bide.publish(prefix + tail, 1)
    for tail in ("_", ".", "A", "a"):
        assert listed(bide, prefix=prefix + tail)["active_channels"] == [f"{prefix}{tail}x"]
    assert listed(bide, prefix=prefix.upper())["active_channels"] == []


def test_the_list_is_walked_page_by_page(bide):
    prefix = fresh()
    names = [f"{prefix}.{n}" for n in range(5)]
    for name in names:
        bide.publish(name, 1)
    pages, after = [], {}
    while True:
        body = listed(bide, prefix=prefix, limit=2, **after)
        pages.append(body["active_channels"])
        if body["next"] is None:
            break
        after = {"after": body["next"]}
    assert pages == [names[:2], names[2:4], names[4:]]


def test_a_page_that_ends_the_list_has_no_next(bide):
    prefix = fresh()
    for n in range(2):
        bide.publish(f"{prefix}.{n}", 1)
    assert listed(bide, prefix=prefix, limit=2)["next"] is None
    assert listed(bide, prefix=prefix, limit=1)["next"] == f"{prefix}.0"


def test_after_need_not_be_a_channel(bide):
    prefix = fresh()
    for tail in ("a", "c"):
        bide.publish(prefix + tail, 1)
    assert listed(bide, prefix=prefix, after=prefix + "b")["active_channels"] == [prefix + "c"]
    assert listed(bide, prefix=prefix, after=prefix + "c")["active_channels"] == []


def test_without_a_limit_a_page_holds_a_hundred(bide):
    prefix = fresh()
    names = [f"{prefix}.{n:03}" for n in range(101)]
    for part in (names[:100], names[100:]):
        assert bide.post("/publish", json={"channels": part, "message": 1}).status_code == 200
    body = listed(bide, prefix=prefix)
    assert body["active_channels"] == names[:100]
    assert listed(bide, prefix=prefix, after=body["next"])["active_channels"] == names[100:]
    assert listed(bide, prefix=prefix, limit=1000)["active_channels"] == names


def test_a_prefix_that_no_channel_has_gives_an_empty_list(bide):
    assert listed(bide, prefix=fresh()) == {"active_channels": [], "channels": [], "next": None}


def test_the_whole_list_can_be_asked_for(bide, channel):
    bide.publish(channel, 1)
    assert listed(bide)["active_channels"]


def test_the_servers_own_channels_are_not_listed(bide):
    bide.polled("@bide." + fresh())
    assert listed(bide, prefix="@bide.")["active_channels"] == []


@pytest.mark.parametrize("limit", [*NOT_INTEGERS, "0", "1001", "9" * 30], ids=label)
def test_a_bad_limit_is_refused(bide, limit):
    assert_problem(bide.get("/channels", params={"limit": limit}), 400, param="limit")


@pytest.mark.parametrize("name", ["prefix", "after"])
@pytest.mark.parametrize("value", ["", "a b", "a*", "a/b", "a,b", "\u00e9", "a\n", "%"], ids=ascii)
def test_what_no_name_begins_with_is_refused(bide, name, value):
    assert_problem(bide.get("/channels", params={name: value}), 400, param=name)


@pytest.mark.parametrize("name", ["prefix", "after", "limit"])
def test_a_parameter_given_twice_is_refused(bide, name):
    assert_problem(bide.get(f"/channels?{name}=1&{name}=1"), 400, param=name)


def test_unknown_parameters_are_passed_over(bide):
    assert listed(bide, prefix=fresh(), page=5, offset="x")["channels"] == []


def test_a_subscriber_is_shown_with_its_name_and_since_when(bide, channel):
    before = bide_time(bide)
    poll = bide.hold(channel, headers={"X-Client-ID": "reader-1"})
    bide.parked(channel)
    [entry] = subscribers(bide, channel)
    assert set(entry) == {"client_id", "transport", "since"}
    assert entry["client_id"] == bide.known_as("reader-1")
    assert isinstance(entry["transport"], str)
    assert entry["transport"]
    assert isinstance(entry["since"], float)
    assert before - 1 <= entry["since"] <= before + 30
    bide.publish(channel, "end")
    poll.answer()


def bide_time(bide):
    """The server's clock, by a new event."""
    name = fresh()
    bide.publish(name, 1)
    return bide.info(name)["last_published_at"]


def test_timestamps_are_seconds_since_1970(bide):
    assert abs(bide_time(bide) - time.time()) < 3600


def test_each_client_counts_once(bide, channel):
    polls = [bide.hold(channel, headers={"X-Client-ID": name}) for name in ("a", "b", "b", "c", "a")]
    bide.parked(channel, 3)
    await_that(
        lambda: {each["client_id"] for each in subscribers(bide, channel)} == {bide.known_as(name) for name in "abc"}
    )
    assert bide.info(channel)["subscribers"] == 3
    bide.publish(channel, "end")
    for poll in polls:
        poll.answer()
    assert bide.info(channel)["subscribers"] == 3


def test_a_client_without_a_name_has_an_opaque_one(bide, channel):
    poll = bide.hold(channel)
    bide.parked(channel)
    [entry] = subscribers(bide, channel)
    assert isinstance(entry["client_id"], str)
    assert entry["client_id"]
    assert "127.0.0.1" not in entry["client_id"]
    bide.publish(channel, "end")
    poll.answer()


def test_a_client_is_still_shown_just_after_its_poll(bide, channel):
    bide.polled(channel, headers={"X-Client-ID": "x" * 64})
    assert [each["client_id"] for each in subscribers(bide, channel)] == [bide.known_as("x" * 64)]
    assert bide.info(channel)["subscribers"] == 1


def test_a_poll_on_several_channels_is_a_subscriber_of_each(bide):
    one, two = fresh(), fresh()
    bide.polled(one, two, headers={"X-Client-ID": "both"})
    assert [each["client_id"] for each in subscribers(bide, one) + subscribers(bide, two)] == [
        bide.known_as("both")
    ] * 2


def test_a_channel_that_nobody_reads_has_no_subscribers(bide, channel):
    bide.publish(channel, "x")
    bide.history(channel)
    bide.info(channel)
    assert subscribers(bide, channel) == []
