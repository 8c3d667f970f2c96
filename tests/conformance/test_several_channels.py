"""One poll on several channels."""

import pytest

from .client import answered, assert_problem, came_at_once, event, fresh


def names(count):
    return [fresh() for _ in range(count)]


def test_the_end_of_time_tells_the_channels_and_a_cursor_for_each(bide):
    channels = names(3)
    body = bide.polled(*channels, timeout=0.3)
    cursor = body["last_event_id"]
    assert body == {"status": "timeout", "channels": channels, "last_event_id": cursor}
    assert len(cursor.split(",")) == 3
    assert all(each.isdigit() for each in cursor.split(","))


def test_with_a_limit_the_end_of_time_comes_with_no_events(bide):
    channels = names(2)
    body = bide.polled(*channels, limit=5)
    cursor = body["last_event_id"]
    assert body == {"status": "timeout", "channels": channels, "last_event_id": cursor, "events": []}


def test_an_event_says_whose_it_is_and_a_cursor_for_each(bide):
    channels = names(2)
    event_id = bide.publish(channels[1], "hi", type="t")
    body = bide.polled(*channels)
    cursor = body["last_event_id"]
    more = {"type": "t", "channels": channels, "last_event_id": cursor}
    assert body == event(channels[1], event_id, "hi", body["timestamp"], **more)
    assert cursor.split(",")[1] == str(event_id)
    assert cursor.split(",")[0].isdigit()


def test_a_list_holds_events_of_every_channel_that_has_some(bide):
    channels = names(3)
    one, two = bide.publish_all(channels[0], ["a", "b"]), bide.publish_all(channels[2], ["c"])
    body = bide.polled(*channels, limit=10)
    assert set(body) == {"channels", "events", "last_event_id"}
    assert body["channels"] == channels
    assert sorted((each["channel"], each["id"], each["message"]) for each in body["events"]) == sorted(
        [(channels[0], one[0], "a"), (channels[0], one[1], "b"), (channels[2], two[0], "c")]
    )
    assert all(set(each) == {"id", "channel", "message", "timestamp"} for each in body["events"])
    cursors = body["last_event_id"].split(",")
    assert (cursors[0], cursors[2]) == (str(one[1]), str(two[0]))


@pytest.mark.parametrize("limit", [None, 2, 1000])
def test_a_client_that_sends_the_list_back_sees_every_event_once(bide, limit):
    channels = names(3)
    expected = {name: bide.publish_all(name, range(n + 1)) for n, name in enumerate(channels)}
    more = {} if limit is None else {"limit": limit}
    seen, cursor = {name: [] for name in channels}, 0
    for _ in range(10):
        body = bide.polled(*channels, last_event_id=cursor, **more)
        cursor = body["last_event_id"]
        for each in body.get("events", [body] if "id" in body else []):
            seen[each["channel"]].append(each["id"])
    assert seen == expected
    late = bide.publish(channels[0], "late")
    body = bide.polled(*channels, last_event_id=cursor, **more)
    assert [each["id"] for each in body.get("events", [body])] == [late]


def test_the_list_may_come_in_the_header(bide):
    channels = names(2)
    ids = [bide.publish_all(name, ["a", "b"]) for name in channels]
    body = bide.polled(*channels, headers={"Last-Event-ID": f"{ids[0][1]},{ids[1][0]}"})
    assert (body["channel"], body["id"]) == (channels[1], ids[1][1])


@pytest.mark.parametrize(("cursor", "found"), [("0,latest", 0), ("latest,0", 1)])
def test_each_channel_has_a_cursor_of_its_own(bide, cursor, found):
    channels = names(2)
    ids = [bide.publish(name, "old") for name in channels]
    body = bide.polled(*channels, last_event_id=cursor, limit=10)
    assert [each["id"] for each in body["events"]] == [ids[found]]
    assert body["last_event_id"] == f"{ids[0]},{ids[1]}"


def test_zero_and_latest_alone_stand_for_every_channel(bide):
    channels = names(2)
    ids = [bide.publish(name, "old") for name in channels]
    assert len(bide.polled(*channels, last_event_id=0, limit=10)["events"]) == 2
    body = bide.polled(*channels, last_event_id="latest", limit=10)
    assert body == {
        "status": "timeout",
        "channels": channels,
        "last_event_id": f"{ids[0]},{ids[1]}",
        "events": [],
    }


@pytest.mark.parametrize(
    "cursor",
    [
        "5",
        "1",
        "0,0",
        "0,0,0,0",
        "0,,0",
        ",0,0",
        "0,0,",
        ",,",
        "0, 0,0",
        "0;0;0",
        "0,-1,0",
        "0,x,0",
        "0,1.5,0",
        "0,LATEST,0",
        "latest,latest",
    ],
)
def test_any_other_cursor_is_refused(bide, cursor):
    assert_problem(bide.poll(*names(3), last_event_id=cursor), 400, param="last_event_id")


def test_one_cursor_of_the_far_future_is_refused(bide):
    one, two = names(2)
    event_id = bide.publish(one, "x")
    answer = bide.poll(one, two, last_event_id=f"{event_id + 120_000_000},0")
    assert_problem(answer, 400, param="last_event_id")


@pytest.mark.parametrize(
    "form", ["{0},{0}", "{0},{1},{0}", "{0},,{1}", "{0},", ",{0}", ",", "{0},...", "{0},b%20c", "{0},%C3%A9"]
)
def test_a_list_of_anything_but_different_names_is_refused(bide, form):
    answer = bide.exact("GET", f"/subscribe/{form.format(*names(2))}?timeout=0")
    assert_problem(answer, 400, param="channel")


def test_a_hundred_channels_fit_in_one_poll(bide):
    channels = names(100)
    event_id = bide.publish(channels[99], "x")
    body = bide.polled(*channels)
    assert body["channels"] == channels
    assert body["id"] == event_id


def test_more_than_a_hundred_channels_are_refused(bide):
    assert_problem(bide.poll(*names(101)), 400, param="channel")


def test_long_names_fit_in_a_long_request_line(bide):
    channels = [name.ljust(128, "-") for name in names(60)]
    assert bide.polled(*channels)["channels"] == channels


@pytest.mark.parametrize("limit", [None, 10])
def test_an_event_on_any_of_the_channels_ends_a_parked_poll(bide, limit):
    channels = names(3)
    more = {} if limit is None else {"limit": limit}
    poll = bide.hold(*channels, **more)
    for name in channels:
        bide.parked(name)
    event_id = bide.publish(channels[2], "news")
    body = poll.answer()
    assert [each["id"] for each in body.get("events", [body])] == [event_id]


def test_a_delete_of_one_channel_ends_a_parked_poll(bide):
    channels = names(2)
    ids = [bide.publish(name, "x") for name in channels]
    poll = bide.hold(*channels, last_event_id=f"{ids[0]},{ids[1]}")
    for name in channels:
        bide.parked(name)
    bide.delete(channels[0])
    expected = {"status": "timeout", "channels": channels, "last_event_id": f"{ids[0]},{ids[1]}"}
    assert poll.answer() == expected


def test_head_is_answered_at_once_with_the_list(bide):
    channels = names(2)
    answer = bide.request("HEAD", f"/subscribe/{','.join(channels)}?timeout=20")
    assert came_at_once(answer)
    assert answer.status_code == 200
    assert len(answer.headers["Last-Event-ID"].split(",")) == 2


def test_the_event_that_waits_longest_goes_first(bide):
    channels = sorted(names(3))
    order = [2, 0, 1, 0, 2, 2, 1]
    ids = [bide.publish(channels[n], "x") for n in order]
    cursor, seen = 0, []
    for _ in order:
        body = bide.polled(*channels, last_event_id=cursor)
        cursor = body["last_event_id"]
        seen.append((body["channel"], body["id"]))
    assert seen == [(channels[n], event_id) for n, event_id in zip(order, ids, strict=True)]


@pytest.mark.parametrize("limit", [2, 3, 10])
def test_a_busy_channel_leaves_room_for_a_quiet_one(bide, limit):
    busy, idle, quiet = names(3)
    bide.publish_all(busy, range(50))
    event_id = bide.publish(quiet, "heard")
    body = bide.polled(busy, idle, quiet, limit=limit)
    assert len(body["events"]) == limit
    assert [each["id"] for each in body["events"] if each["channel"] == quiet] == [event_id]
    assert [each["message"] for each in body["events"] if each["channel"] == busy] == list(range(limit - 1))


def test_a_gap_is_told_for_the_channel_that_has_it(bide):
    whole, gone = names(2)
    kept = bide.publish_all(whole, ["a", "b"])
    lost = bide.publish_all(gone, ["a", "b"])
    bide.delete(gone)
    body = bide.polled(whole, gone, last_event_id=f"{kept[1]},{lost[0]}")
    assert body.pop("gap", True) is True
    cursor = f"{kept[1]},{lost[1]}"
    assert body == {
        "status": "timeout",
        "channels": [whole, gone],
        "last_event_id": cursor,
        "gaps": {gone: None},
    }
    again = bide.polled(whole, gone, last_event_id=cursor)
    assert again == {"status": "timeout", "channels": [whole, gone], "last_event_id": cursor}


def test_a_gap_comes_with_the_events_of_any_channel(bide):
    whole, gone = names(2)
    kept = bide.publish_all(whole, ["a", "b"])
    lost = bide.publish_all(gone, ["a", "b"])
    bide.delete(gone)
    fresh_id = bide.publish(gone, "c")
    body = answered(bide.poll(whole, gone, last_event_id=f"{kept[1]},{lost[0]}", limit=5))
    assert body["gaps"] == {gone: fresh_id}
    assert [each["id"] for each in body["events"]] == [fresh_id]
    assert body["last_event_id"] == f"{kept[1]},{fresh_id}"
