"""Under load, each subscriber gets each event once, in order: exact sets, for each subscriber of its own."""

import pytest

from tests.support.clients import Follower, Followers, Publisher, line_to, publication, published, subscription
from tests.support.servers import Server

CHANNELS = ("orders", "prices", "chat", "jobs")
MORE_CHANNELS = (*CHANNELS, "news", "logs", "games", "votes")

# Nothing may be trimmed while it is counted.
ENV = {"BIDE_RETENTION_EVENTS": 100_000}

# Sizes of what one publisher sends, over and over: single events and batches, small ones and large.
SIZES = (1, 1, 40, 1, 7, 1, 150, 3, 1, 1, 25, 1)

PUBLISH_SECONDS = 100


def jobs(publisher, events, sizes, channels):
    """What one publisher sends: so many events, spread over the channels, each with a message of its own."""
    sent, number = 0, 0
    while sent < events:
        size = min(sizes[number % len(sizes)], events - sent)
        channel = channels[(publisher + number) % len(channels)]
        yield channel, [{"by": publisher, "n": sent + each} for each in range(size)]
        sent += size
        number += 1


def subscribers(several, single, limits, pids=(None,), channels=CHANNELS):
    """Followers of all channels in one poll, and followers of one channel, with limits and workers in turn."""
    followers = []
    for number in range(several + single):
        its = channels if number < several else (channels[number % len(channels)],)
        followers.append(Follower(its, limits[number % len(limits)], pids[number % len(pids)]))
    return followers


def publish_and_follow(server, *, events, sizes, followers, pids=(None,), channels=CHANNELS, publishers=8):
    """Let publishers and followers run against one another, and hold what each follower got against what was stored."""
    at_once = [
        Publisher(server, jobs(number, events // publishers, sizes, channels), pid=pids[number % len(pids)])
        for number in range(publishers)
    ]
    with Followers(server, followers) as running:
        for publisher in at_once:
            publisher.start()
        for publisher in at_once:
            publisher.finish(PUBLISH_SECONDS)
            assert publisher.unanswered is None
            assert publisher.refused == []
        stored = published(at_once)
        assert sum(map(len, stored.values())) == events
        running.await_count(lambda follower: sum(len(stored[channel]) for channel in follower.channels))
    for follower in followers:
        assert follower.faults == {"gaps": 0, "doubles": 0, "disorder": 0}
        assert follower.events == {channel: stored[channel] for channel in follower.channels}
        assert set(follower.statuses) == {200}
        assert follower.cuts == 0
        assert follower.timeouts == 0
        # Nothing more is to come, and the last cursor says so.
        page = server.poll(follower.path, last_event_id=follower.cursor)
        assert page["status"] == "timeout"
        assert "gap" not in page
    return at_once


pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path, env=ENV) as server:
        yield server


def so_many(normally, with_long):
    """How many events a normal run has, and how many one with --long as well."""
    return pytest.mark.parametrize("events", [normally, pytest.param(with_long, marks=pytest.mark.long)])


@so_many(6000, 20_000)
def test_fifty_subscribers_with_a_limit_get_each_event_once_and_in_order(server, events):
    followers = subscribers(several=25, single=25, limits=(1000, 200, 50))
    publish_and_follow(server, events=events, sizes=SIZES, followers=followers)


@so_many(800, 2000)
def test_fifty_subscribers_that_take_events_one_by_one_get_each_once_and_in_order(server, events):
    followers = subscribers(several=2, single=48, limits=(None,), channels=MORE_CHANNELS)
    publish_and_follow(server, events=events, sizes=(1,), followers=followers, channels=MORE_CHANNELS)


@so_many(800, 2000)
def test_with_two_workers_each_subscriber_of_either_gets_what_was_published_to_both(tmp_path, events):
    with Server(tmp_path, workers=2, inspected=True, env=ENV) as server:
        pids = server.worker_pids()
        followers = subscribers(several=8, single=12, limits=(1000, None, 16), pids=pids)
        publishers = publish_and_follow(server, events=events, sizes=SIZES[:6], followers=followers, pids=pids)
        assert {pid for follower in followers for pid in follower.pids} == set(pids)
        assert {pid for publisher in publishers for pid in publisher.pids} == set(pids)
        # Both have been asked directly too, and agree.
        for channel in CHANNELS:
            assert len(server.events(channel)) == events / len(CHANNELS)


@so_many(100, 300)
def test_what_two_workers_publish_at_the_same_moment_wakes_the_polls_of_both(tmp_path, events):
    """Each event alone: one that was not announced must not be healed by the next."""
    with Server(tmp_path, workers=2, inspected=True, env=ENV) as server:
        lines = {(pid, name): line_to(server, pid) for pid in server.worker_pids() for name in ("left", "right")}
        publishers = {
            name: line_to(server, pid) for pid, name in zip(server.worker_pids(), ("left", "right"), strict=True)
        }
        cursors = dict.fromkeys(("left", "right"), 0)
        for number in range(1, events + 1):
            for (_, name), line in lines.items():
                line.send(subscription(name, cursors[name]))
            # Now in this order, now in that one.
            for name in sorted(publishers, reverse=number % 2):
                publishers[name].send(publication(name, [number]))
            for name, line in publishers.items():
                cursors[name] = line.answer().json()["event_id"]
            for (pid, name), line in lines.items():
                answer = line.answer(within=20)
                assert answer.pid == pid
                assert (answer.json()["id"], answer.json()["message"]) == (cursors[name], number)
        for line in (*lines.values(), *publishers.values()):
            line.sock.close()
