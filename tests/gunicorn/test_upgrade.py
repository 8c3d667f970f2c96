"""Workers that are added and taken away, and a second server that takes over a first one's store: under load, and
nobody sees more than the end of an idle connection."""

import contextlib
import signal

import pytest

from tests.gunicorn.test_exact_sets import ENV
from tests.gunicorn.test_kill import check_file
from tests.gunicorn.test_two_workers import BOUND_SECONDS
from tests.gunicorn.test_workers import endless, polls
from tests.support.clients import (
    Follower,
    Followers,
    Herd,
    Line,
    Publisher,
    get,
    line_to,
    publication,
    published,
    publishing,
    subscription,
)
from tests.support.servers import Server, await_that

pytestmark = pytest.mark.timeout(300)

# A subscriber is who has a poll open at this moment.
SERVING = {"workers": 2, "inspected": True, "env": {**ENV, "BIDE_PRESENCE_SECONDS": 0}}


def some_followers():
    return [Follower((channel,), 100) for channel in "abc" for _ in range(3)] + [Follower(tuple("abc"), 1000)]


def some_publishers(server):
    """Each on a new connection for each of its requests: none is idle between two."""
    return [Publisher(server, endless(channel), keep=False) for channel in "abc"]


def go_on(load):
    """Wait until each publisher had some more answers."""
    asked = [len(each.acknowledged) for each in load]
    await_that(lambda: all(len(each.acknowledged) > number + 3 for each, number in zip(load, asked, strict=True)))


def exact(server, load, followers, running):
    """What was acknowledged is what is stored and what each follower got: once, in order, with nothing but 200."""
    for publisher in load:
        assert publisher.unanswered is None
        assert publisher.refused == []
        ids = [id for _, ids, _ in publisher.acknowledged for id in ids]
        assert ids == sorted(set(ids))
    stored = published(load)
    assert {channel: [(each["id"], each["message"]) for each in server.events(channel)] for channel in stored} == stored
    running.await_count(lambda follower: sum(len(stored[channel]) for channel in follower.channels))
    for follower in followers:
        assert follower.faults == {"gaps": 0, "doubles": 0, "disorder": 0}
        assert follower.events == {channel: stored[channel] for channel in follower.channels}
        assert set(follower.statuses) == {200}
        assert follower.torn == 0


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.long)])
def test_a_worker_more_and_a_worker_less_under_load(tmp_path, times):
    followers = some_followers()
    answered = 0
    with Server(tmp_path, **SERVING) as server, Followers(server, followers) as running:
        load = some_publishers(server)
        with publishing(load):
            for _ in range(times):
                before = set(server.worker_pids())
                server.process.send_signal(signal.SIGTTIN)
                (new,) = await_that(lambda before=before: set(server.worker_pids()) - before)
                line_to(server, new).sock.close()
                go_on(load)
                with Herd(server) as parked, Herd(server) as idle:
                    idle.add(get("/healthz"), 60)
                    idle.read(lambda idle=idle: len(idle.answers) == 60)
                    held = polls(server)
                    parked.add(subscription("nothing", "latest"), 60)
                    await_that(lambda held=held: polls(server) >= held + 60 - len(followers))
                    server.process.send_signal(signal.SIGTTOU)
                    (gone,) = await_that(lambda now=before | {new}: now - set(server.worker_pids()))
                    # Who waited there was answered as if the time were up; the others wait on.
                    its = [answer.pid for answer in idle.answers].count(gone)
                    idle.read(lambda idle=idle, its=its: len(idle.open) == 60 - its)
                    sent = server.publish("nothing", "to who waits on")
                    parked.read(lambda parked=parked: len(parked.answers) == 60)
                    for answer in parked.answers:
                        assert answer.status == 200
                        body = answer.json()
                        if answer.pid == gone:
                            assert (body["status"], answer.closes) == ("timeout", True)
                            answered += 1
                        else:
                            assert (body["id"], answer.closes) == (sent, False)
                    assert (parked.cut, parked.torn, idle.torn) == (0, 0, 0)
                go_on(load)
        assert len(set(server.worker_pids())) == 2
        exact(server, load, followers, running)
    assert answered > 0
    assert len({pid for publisher in load for pid in publisher.pids}) > times


class Balancer:
    """Sends new connections to one server or the other, as what stands before them in an upgrade."""

    def __init__(self, server):
        self.server = server

    def connect(self, **more):
        return self.server.connect(**more)


def heard(here, there, rounds=20):
    """How long after the acknowledgement by one server a poll that the other holds is answered."""
    took = []
    pid = there.worker_pids()[0]
    with Line(here) as one, line_to(there, pid) as waiting, line_to(there, pid) as other:
        for number in range(rounds):
            cursor = here.publish("across", "before")
            waiting.send(subscription("across", cursor))
            await_that(lambda: other.ask(get("/channels/across")).json()["subscribers"] == 1)
            sent = one.ask(publication("across", [number]))
            answer = waiting.answer(within=20)
            assert answer.json()["id"] == sent.json()["event_id"]
            took.append(answer.at - sent.at)
    return took


def test_a_second_server_takes_over_while_the_first_one_serves(tmp_path):
    followers, more_followers = some_followers(), some_followers()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Server(tmp_path / "first", **SERVING))
        balancer = Balancer(first)
        running = stack.enter_context(Followers(balancer, followers))
        load = stack.enter_context(publishing(some_publishers(balancer)))
        env = SERVING["env"] | {"BIDE_DATA_DIR": first.data}
        second = stack.enter_context(Server(tmp_path / "second", **SERVING | {"env": env}))
        more_running = stack.enter_context(Followers(second, more_followers))
        with publishing(some_publishers(second)) as more_load:
            # Both serve, and each hears the other.
            go_on(load + more_load)
            for here, there in ((first, second), (second, first)):
                assert max(heard(here, there)) < BOUND_SECONDS
            # The first one goes, as a balancer would have it.
            balancer.server = second
            code, took = first.terminate()
            assert code == 0, first.output()
            assert took < 10
            go_on(load + more_load)
            for each in load:
                each.stopping = True
        for each in load:
            each.finish()
        exact(second, load + more_load, followers, running)
        exact(second, load + more_load, more_followers, more_running)
        check_file(first)
        # Nothing of the first one is left that the second would wake in vain.
        assert len(list((first.data / "bide.db-listeners").iterdir())) == 2
        assert second.terminate()[0] == 0
        assert sorted(each.name for each in first.data.iterdir()) == ["bide.db", "bide.db-listeners"]
        for server in (first, second):
            assert "Traceback" not in server.output()
