"""A clock that is set back by an hour gives no id that a cursor is past, and loses no event."""

import os
import threading

import pytest

from tests.support.clients import Line, subscription
from tests.support.servers import Server, await_that

HOUR = 3600


class Clock:
    """What is added to a server's clock, in seconds. Workers of one machine share one, unless a test says otherwise."""

    def __init__(self, path):
        self.path = path
        self.set(0)

    def set(self, seconds):
        # In one step: the server reads it at any moment.
        fresh = self.path.with_suffix(".new")
        fresh.write_text(str(seconds))
        os.replace(fresh, self.path)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path / "clock")


def serving(folder, clock, **more):
    return Server(folder, inspected=True, env={"TEST_CLOCK": clock.path}, **more)


def test_the_shifted_clock_is_the_stores(tmp_path, clock):
    """What the other tests stand on."""
    with serving(tmp_path / "server", clock) as server:
        server.publish("news", "now")
        clock.set(-HOUR)
        server.publish("news", "an hour ago")
        now, before = server.events("news")
        assert HOUR - 60 < now["timestamp"] - before["timestamp"] <= HOUR
        assert before["id"] == now["id"] + 1


def test_ids_grow_and_parked_polls_are_answered_when_the_clock_is_set_back(tmp_path, clock):
    with serving(tmp_path / "server", clock) as server, Line(server) as line:
        first = server.publish("news", 1)
        cursor = server.poll("news", last_event_id="latest")["last_event_id"]
        assert cursor == first
        line.send(subscription("news", cursor))
        await_that(lambda: server.counts()["polls"] == 1)
        clock.set(-HOUR)
        second = server.publish("news", 2)
        assert second > cursor
        answer = line.answer().json()
        assert (answer["id"], answer["message"]) == (second, 2)
        assert "gap" not in answer
        page = server.poll("news", last_event_id=first, limit=10)
        assert [event["id"] for event in page["events"]] == [second]
        assert "gap" not in page
        # An idempotency key that was used before the step still is.
        third = server.publish("news", 3, {"Idempotency-Key": "k"})
        clock.set(-2 * HOUR)
        assert server.publish("news", 3, {"Idempotency-Key": "k"}) == third
        assert [event["id"] for event in server.events("news")] == [first, second, third]


def test_between_delete_and_publish(tmp_path, clock):
    with serving(tmp_path / "server", clock) as server:
        before = server.publish_all("news", ["a", "b", "c"])
        handed_out = server.poll("news", last_event_id="latest")["last_event_id"]
        assert server.request("DELETE", "/channels/news")[0] == 204
        after_delete = server.poll("news", last_event_id=before[0])
        assert after_delete["gap"] is True
        clock.set(-HOUR)
        id = server.publish("news", "d")
        assert id > max(*before, handed_out, after_delete["last_event_id"])
        for cursor in (handed_out, after_delete["last_event_id"]):
            page = server.poll("news", last_event_id=cursor)
            assert (page["id"], page["message"]) == (id, "d")
            assert "gap" not in page
        # A parked poll of a deleted channel, too.
        with Line(server) as line:
            line.send(subscription("news", id))
            await_that(lambda: server.counts()["polls"] == 1)
            assert server.request("DELETE", "/channels/news")[0] == 204
            cursor = line.answer().json()["last_event_id"]
            clock.set(-2 * HOUR)
            again = server.publish("news", "e")
            assert again > cursor
            assert server.poll("news", last_event_id=cursor)["message"] == "e"


def test_between_two_servers_of_one_file_that_do_not_agree_on_the_time(tmp_path):
    """As two workers whose clock is set back between an append of one and an append of the other."""
    right, behind = Clock(tmp_path / "right"), Clock(tmp_path / "behind")
    behind.set(-HOUR)
    with serving(tmp_path / "server", right) as ahead, serving(tmp_path / "server", behind) as back:
        published = []
        for number in range(20):
            with Line(ahead) as one, Line(back) as other:
                cursor = published[-1] if published else ahead.publish("news", "first")
                one.send(subscription("news", cursor))
                other.send(subscription("news", cursor))
                await_that(lambda: ahead.counts()["polls"] == back.counts()["polls"] == 1)
                id = (ahead, back)[number % 2].publish("news", number)
                assert id > cursor
                for line in (one, other):
                    answer = line.answer().json()
                    assert (answer["id"], answer["message"]) == (id, number)
                    assert "gap" not in answer
                published.append(id)
        # Both at once, as fast as they can.
        before = published[-1]
        ids = {ahead: [], back: []}

        def publish(server):
            for each in range(100):
                ids[server].append(server.publish("news", each))

        threads = [threading.Thread(target=publish, args=(server,)) for server in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for server in ids:
            events = [event["id"] for event in server.events("news")]
            assert events == sorted(set(events))
            assert [id for id in events if id > before] == sorted(ids[ahead] + ids[back])
            assert ids[server] == sorted(ids[server])


def test_between_two_workers_of_one_server(tmp_path, clock):
    with serving(tmp_path / "server", clock, workers=2) as server:
        pids = set()
        for step in range(100):
            # Back with every publish, by more than an hour altogether.
            clock.set(-step * 40)
            status, headers, body = server.request("POST", "/publish/news", {"message": step})
            assert status == 200, body
            pids.add(headers["X-Pid"])
        events = server.events("news")
        ids = [event["id"] for event in events]
        assert ids == sorted(set(ids))
        assert [event["message"] for event in events] == list(range(100))
        assert len(pids) == 2


def test_across_a_restart(tmp_path, clock):
    with serving(tmp_path / "server", clock) as server:
        first = server.publish_all("news", [1, 2])
        server.publish("deleted", "gone")
        assert server.request("DELETE", "/channels/deleted")[0] == 204
        cursor = server.poll("news", last_event_id="latest")["last_event_id"]
        deleted = server.poll("deleted", last_event_id="latest")["last_event_id"]
        server.kill9()
        clock.set(-HOUR)
        server.start()
        # A poll from before is neither refused nor told of a gap, and waits.
        with Line(server) as line:
            line.send(subscription("news", cursor))
            await_that(lambda: server.counts()["polls"] == 1)
            id = server.publish("news", 3)
            assert id > cursor
            assert line.answer().json()["id"] == id
        assert [event["id"] for event in server.events("news")] == [*first, id]
        id = server.publish("deleted", "back")
        assert id > deleted
        page = server.poll("deleted", last_event_id=deleted)
        assert (page["id"], page["message"]) == (id, "back")
        assert "gap" not in page
        # And it goes on so when the clock is right again.
        server.kill9()
        clock.set(0)
        server.start()
        assert server.publish("news", 4) > max(cursor, *first)
        assert [event["message"] for event in server.events("news")] == [1, 2, 3, 4]


def test_a_cursor_of_a_channel_without_events_bears_a_step_of_less_than_a_minute(tmp_path, clock):
    with serving(tmp_path / "server", clock) as server:
        cursor = server.poll("silent")["last_event_id"]
        assert cursor > 0
        latest = server.poll("silent", last_event_id="latest")["last_event_id"]
        clock.set(-55)
        id = server.publish("silent", "at last")
        assert id > max(cursor, latest)
        assert server.poll("silent", last_event_id=latest)["id"] == id
        assert server.poll("silent", last_event_id=cursor)["id"] == id


def test_an_hour_back_hides_no_retained_event_and_an_hour_forward_ends_no_young_one(tmp_path, clock):
    with serving(tmp_path / "server", clock) as server:
        clock.set(-HOUR)
        ids = [server.publish("news", 1)]
        clock.set(0)
        ids.append(server.publish("news", 2))
        clock.set(-HOUR)
        ids.append(server.publish("news", 3))
        assert [event["id"] for event in server.events("news")] == ids
        clock.set(HOUR)
        assert [event["id"] for event in server.events("news")] == ids
