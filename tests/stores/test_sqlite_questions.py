"""What one process asks all of them, here several stores of one process on one file."""

import contextlib
import json
import os
import socket
import sqlite3
import time

import gevent
import pytest

from app.stores import base, questions, sqlite_listener, sqlite_questions

from .support import Ear, eventually, policy, put, sweep


class Person(Ear):
    """A listener with a name of its own, which it gives for an answer; `busy` is called before that."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.asked = []

    def answer(self, question):
        self.asked.append(question)
        return self.name


@pytest.fixture
def people(opened):
    """Opens stores that listen, one for each name."""

    def people(*names):
        stores = []
        for name in names:
            store = opened()
            store.ear = Person(name)
            store.listen(store.ear)
            stores.append(store)
        gevent.sleep(0)
        return stores

    return people


@pytest.fixture
def dead(path):
    """A socket that a process left behind when it was killed."""
    os.makedirs(f"{path}-listeners", exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(f"{path}-listeners/999-killed")


@pytest.fixture
def stopped(path):
    """A socket of a process that lives and does not come round."""
    os.makedirs(f"{path}-listeners", exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as silent:
        silent.bind(f"{path}-listeners/999-stopped")
        yield


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(questions, "ASK_SECONDS", 0.05)


def rows(path, table):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_process_alone_answers_itself_and_writes_nothing(people, path):
    (one,) = people("one")
    assert one.ask({"who": 1}) == (["one"], False)
    assert rows(path, "controls") == 0


def test_every_process_answers_the_one_that_asks_first(people):
    one, two, three = people("one", "two", "three")
    assert one.ask({"who": 1}).answers[0] == "one"
    answers, partial = two.ask({"é": [1, None]})
    assert answers[0] == "two"
    assert sorted(answers) == ["one", "three", "two"]
    assert not partial
    assert three.ear.asked[-1] == {"é": [1, None]}


def test_an_answer_is_there_at_once_and_not_when_the_time_is_up(people, monkeypatch):
    monkeypatch.setattr(questions, "ASK_SECONDS", 60)
    one, _ = people("one", "two")
    begun = time.monotonic()
    assert one.ask({}).answers == ["one", "two"]
    assert time.monotonic() - begun < 5


def test_a_process_whose_socket_was_tidied_away_is_missed_for_a_moment_only(people, path):
    one, two = people("one", "two")
    os.unlink(f"{path}-listeners/{two._wakeups.name}")
    assert one.ask({}).answers == ["one"]
    eventually(lambda: one.ask({}).answers == ["one", "two"])


def test_nothing_is_left_of_answers(people, path):
    one, _, _ = people("one", "two", "three")
    one.ask({})
    eventually(lambda: rows(path, "answers") == 0)


def test_questions_that_come_while_others_are_on_their_way_go_together(people, path):
    one, two = people("one", "two")
    asking = [gevent.spawn(one.ask, {"number": number}) for number in range(200)]
    assert [each.get() for each in asking] == [(["one", "two"], False)] * 200
    assert [question["number"] for question in two.ear.asked] == list(range(200))
    assert rows(path, "controls") <= 3


def test_a_commit_while_a_question_is_on_its_way_does_not_end_its_round(people):
    """Nobody was awaited yet, so that all of nobody had answered."""
    one, _ = people("one", "two")
    send = one._questions._ask

    def send_late(data):
        one._questions.look()
        send(data)
        one._questions.look()

    one._questions._ask = send_late
    for _ in range(10):
        assert one.ask({}) == (["one", "two"], False)


def test_equal_questions_are_asked_and_answered_once(people):
    one, two = people("one", "two")
    asking = [gevent.spawn(one.ask, {"number": number % 2}) for number in range(50)]
    assert {tuple(each.get().answers) for each in asking} == {("one", "two")}
    assert two.ear.asked == one.ear.asked == [{"number": 0}, {"number": 1}]


def test_a_round_has_a_bounded_number_of_questions(people, monkeypatch):
    monkeypatch.setattr(questions, "QUESTIONS", 3)
    one, two = people("one", "two")
    asking = [gevent.spawn(one.ask, {"number": number}) for number in range(10)]
    assert [each.get() for each in asking] == [(["one", "two"], False)] * 10
    assert len(two.ear.asked) == 10


def test_answers_that_would_be_too_much_at_once_are_left_out_and_told(people, monkeypatch):
    monkeypatch.setattr(questions, "ANSWER_BYTES", 8)
    one, _ = people("one", "two")
    asking = [gevent.spawn(one.ask, {"number": number}) for number in range(4)]
    assert [each.get() for each in asking] == [(["one", "two"], False)] * 2 + [(["one"], True)] * 2


@pytest.mark.usefixtures("stopped", "impatient")
def test_an_answer_is_decoded_once_however_often_somebody_commits(people, monkeypatch):
    one, two = people("one", "two")
    decoded = []
    decode = sqlite_questions.msgspec.json.decode
    monkeypatch.setattr(sqlite_questions.msgspec.json, "decode", lambda data: decoded.append(data) or decode(data))
    asking = gevent.spawn(one.ask, {})
    while not asking.ready():
        put(two, "a", 1)
        gevent.sleep(0.001)
    assert asking.get() == (["one", "two"], True)
    assert decoded.count(b'["two"]') == 1


def test_a_file_that_is_locked_makes_nobody_wait_who_asks(people, path):
    one, _ = people("one", "two")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        asking = [gevent.spawn(one.ask, {"number": number}) for number in range(3)]
        assert [each.get() for each in asking] == [(["one"], True)] * 3
        assert time.monotonic() - begun < 3  # one second, where a publish waits for five
    eventually(lambda: one.ask({}) == (["one", "two"], False))


def test_both_may_ask_at_once(people):
    one, two = people("one", "two")
    asking = [gevent.spawn(store.ask, {}) for store in (one, two) for _ in range(5)]
    assert [each.get().answers for each in asking] == [["one", "two"]] * 5 + [["two", "one"]] * 5


@pytest.mark.usefixtures("dead")
def test_a_process_that_was_killed_is_not_missed(people):
    one, _ = people("one", "two")
    assert one.ask({}) == (["one", "two"], False)


@pytest.mark.usefixtures("stopped", "impatient")
def test_a_process_that_lives_and_is_silent_is_told(people):
    one, _ = people("one", "two")
    assert one.ask({}) == (["one", "two"], True)


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_comes_too_late_is_left_out_and_swept_away(people, path, clock):
    one, two = people("one", "two")
    late = {}
    two._listening._questions.asked = late.update
    assert one.ask({}) == (["one"], True)
    del two._listening._questions.asked
    gevent.sleep(questions.PAUSE_SECONDS * 2)
    two._listening._questions.asked(late)
    eventually(lambda: rows(path, "answers") == 1)
    clock.step(61)
    sweep(one)
    assert rows(path, "answers") == 0


def test_a_question_from_long_ago_is_not_answered(people, clock):
    _, two = people("one", "two")
    two._listening._questions.asked({"id": "x", "by": "one", "until_us": clock.us - 1, "questions": [{}]})
    gevent.sleep(0.01)
    assert two.ear.asked == []


def test_who_begins_to_listen_while_a_question_is_open_answers_it(people, opened):
    """Its socket is there, so that it is awaited, and its numbers are read only after the question was stored."""
    one, _ = people("one", "two")
    late = opened()
    late.ear = Person("late")
    listen = late._wakeups.listen

    def listen_and_be_asked(mark):
        listen(mark)
        asking.append(gevent.spawn(one.ask, {}))
        eventually(lambda: one._questions._asked is not None and one._questions._awaited)

    asking, late._wakeups.listen = [], listen_and_be_asked
    late.listen(late.ear)
    answers, partial = asking[0].get()
    assert (sorted(answers), partial) == (["late", "one", "two"], False)


def test_where_the_question_cannot_be_stored_the_own_answer_is_given(people, path, monkeypatch):
    one, _ = people("one", "two")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("app.stores.sqlite_commits.BUSY_SECONDS", 0.05)
        assert one.ask({}) == (["one"], True)
    eventually(lambda: one.ask({}) == (["one", "two"], False))


def test_where_no_socket_can_be_made_it_is_said_that_others_may_be_missing(people, monkeypatch):
    monkeypatch.setattr(questions, "ASK_SECONDS", 0.05)
    one, _ = people("one", "two")
    one._wakeups.bound = False
    assert one.ask({}).partial


def test_an_ask_that_waits_when_the_store_is_closed_is_answered(people):
    one, two = people("one", "two")
    two._listening._questions.asked = lambda data: None
    asking = gevent.spawn(one.ask, {})
    eventually(lambda: one._questions._asked is not None)
    one.close()
    assert asking.get(timeout=5) == (["one"], True)


def test_controls_are_kept_for_those_that_were_stopped_and_then_removed_in_steps(opened, path, clock, monkeypatch):
    monkeypatch.setattr("app.stores.sqlite_sweep.CONTROLS", 10)
    store = opened(policy())
    for number in range(25):
        store.announce_control("noted", {"number": number})
    clock.step(sqlite_listener.DEAF_SECONDS)
    sweep(store)
    assert rows(path, "controls") == 25
    clock.step(600)
    store.announce_control("noted", {"number": 25})
    left = []
    for _ in range(4):
        while store.sweep():
            pass
        left.append(rows(path, "controls"))
    assert left == [16, 6, 1, 1]
    assert put(store, "a", 1).first_id
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert json.loads(connection.execute("SELECT data FROM controls").fetchone()[0]) == {"number": 25}


def test_who_cannot_be_woken_answers_at_once_with_what_it_has_and_says_so(people, monkeypatch):
    """Nobody would end its wait: a page that asks for subscribers took a second then."""
    monkeypatch.setattr(questions, "ASK_SECONDS", 60)
    one, _ = people("one", "two")
    one._wakeups.bound = False
    with gevent.Timeout(20):
        answers, partial = one.ask({})
    assert (answers, partial) == (["one", "two"], True)


def test_who_asks_waits_for_half_a_second():
    assert base.ASK_SECONDS == questions.ASK_SECONDS == sqlite_questions.ASK_SECONDS == 0.5
