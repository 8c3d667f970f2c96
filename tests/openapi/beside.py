"""Well-behaved clients beside those that are not: they publish and follow, and lose nothing by it."""

import contextlib
import itertools
import json
import threading

from tests.support.clients import Follower, Followers, Publisher, published, publishing

CHANNELS = ("beside-a", "beside-b")
#: Of every channel, and of both together.
FOLLOWERS = 5
#: Between two publishes of one publisher.
PAUSE_SECONDS = 0.02
POLL_SECONDS = 5


@contextlib.contextmanager
def well_behaved(server):
    """Publishers and followers for the time of the block; then nothing was refused, lost, doubled or disordered."""
    never = threading.Event()

    def jobs(channel):
        for number in itertools.count():
            never.wait(PAUSE_SECONDS)
            yield channel, [{"number": number}]

    headers = [f"{name}: {value}" for name, value in server.headers.items()]
    followers = [
        Follower(asked, 100, timeout=POLL_SECONDS, headers=headers)
        for asked in ((CHANNELS[0],), (CHANNELS[1],), CHANNELS)
    ]
    followers += [
        Follower((channel,), timeout=POLL_SECONDS, hop=3, headers=headers) for channel in CHANNELS * FOLLOWERS
    ]
    publishers = [Publisher(server, jobs(channel), headers=lambda _: headers) for channel in CHANNELS]
    with Followers(server, followers) as running:
        with publishing(publishers):
            yield
        assert not [each.refused or each.unanswered for each in publishers if each.refused or each.unanswered]
        truth = published(publishers)
        running.await_count(lambda each: sum(len(truth[channel]) for channel in each.channels))
    for follower in followers:
        assert follower.events == {channel: truth[channel] for channel in follower.channels}
        assert follower.faults == {"gaps": 0, "doubles": 0, "disorder": 0}
        assert set(follower.statuses) == {200}


@contextlib.contextmanager
def nobody(server):
    yield


def weights(server):
    """What each worker of an inspected server holds, by its process."""
    found = {}
    while set(found) != set(server.worker_pids()):
        status, headers, body = server.get("/-test-/weight")
        assert status == 200, body
        found[int(headers["X-Pid"])] = json.loads(body)
    return found
