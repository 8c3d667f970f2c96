"""Questions to every process on a Redis server: who answered, and whether that was all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import gevent
import pytest
import redis

from app.stores import questions

from .support import Ear, eventually

ROOT = Path(__file__).parents[2]
LISTENS = """
import sys, gevent
from app.stores import open_store
from tests.stores.support import Ear
store = open_store(sys.argv[1])
store.listen(Ear(watched=["there"]))
print("open", flush=True)
gevent.sleep(1000)
"""


@pytest.fixture
def three(redis_url, joined):
    return [joined(redis_url, ear=Ear(watched=[f"w{n}"])) for n in range(3)]


@pytest.fixture
def far(redis_url):
    """A process of its own that listens."""
    words = [sys.executable, "-c", LISTENS, redis_url]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "open\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


def test_all_answer_who_asks_first(three):
    for number, store in enumerate(three):
        answers, partial = store.ask({"é": number})
        assert not partial
        assert answers[0] == [{"é": number}, [f"w{number}"]]
        assert sorted(watched for _, (watched,) in answers) == ["w0", "w1", "w2"]


def test_many_questions_at_once_go_together(three):
    one = three[0]
    calls = one._link.calls
    asking = [gevent.spawn(one.ask, {"n": n % 10}) for n in range(50)]
    gevent.joinall(asking, raise_error=True)
    for n, each in enumerate(asking):
        assert not each.value.partial
        assert [question for question, _ in each.value.answers] == [{"n": n % 10}] * 3
    assert one._link.calls - calls <= 5


def test_a_process_alone_is_whole_at_once(redis_url, joined):
    store = joined(redis_url, ear=Ear())
    assert store.ask({}) == ([[{}, []]], False)


def test_one_that_stands_still_is_told_as_missing_and_is_back_later(three, far):
    one = three[0]
    assert len(one.ask({}).answers) == 4
    os.kill(far.pid, signal.SIGSTOP)
    answers, partial = one.ask({})
    assert (len(answers), partial) == (3, True)
    os.kill(far.pid, signal.SIGCONT)
    eventually(lambda: not one.ask({}).partial)
    assert len(one.ask({}).answers) == 4


def test_one_that_died_is_not_waited_for(three, far, server):
    far.kill()
    far.wait()
    with server.client as client:
        eventually(lambda: client.pubsub_numsub(three[0]._keys.controls)[0][1] == 3)
    answers, partial = three[0].ask({})
    assert (len(answers), partial) == (3, False)


def test_who_hears_nothing_does_not_call_its_own_answer_the_whole(three, server, monkeypatch):
    """The server counts those whom a question reached: without the one who asks, that is one less to wait for."""
    one, two, other = three

    def away():
        raise redis.ConnectionError("not now")

    with server.client as client:
        for store in (one, other):
            monkeypatch.setattr(store._link, "open", lambda **_: away())
            store._hearing._give_up()
        eventually(lambda: client.pubsub_numsub(one._keys.controls)[0][1] == 1)
    assert one.ask({}) == ([[{}, ["w0"]]], True)
    answers, partial = two.ask({})
    assert (len(answers), partial) == (1, False)


def test_a_server_that_is_away_makes_it_partial(own_server, joined, monkeypatch):
    server = own_server()
    store = joined(server.url, ear=Ear())
    server.kill()
    assert store.ask({}) == ([[{}, []]], True)


def test_an_answer_that_is_too_long_is_left_out_and_told(three, monkeypatch):
    monkeypatch.setattr(questions, "ANSWER_BYTES", 10)
    one = three[0]
    asking = [gevent.spawn(one.ask, {"n": n}) for n in range(3)]
    gevent.joinall(asking, raise_error=True)
    assert [each.value.partial for each in asking] == [False, True, True]
    assert not one.ask({}).partial


def test_a_process_that_fails_to_answer_is_told_as_missing(three, monkeypatch):
    monkeypatch.setattr(three[1].ear, "answer", lambda question: 1 / 0)
    answers, partial = three[0].ask({})
    assert (len(answers), partial) == (2, True)
