"""What a client does wrong is found: each check is shown to fail, and to pass where all is well."""

import sys
import time
from dataclasses import replace

import pytest

from .cases import Gap, of_text
from .checks import check
from .contract import Request
from .player import Player
from .program import CaseFailed
from .server import Connection, Seen, Server

CASE = """
- name: a case
  why: it is played here with what a client might say
  story: [the client subscribes]
  faults: [{poll 1: reset before the answer}]
  expect: {shown: [one, (a gap), two], published: 1, stored: [one, two], "requests, at most": 2,
           "connections, at most": 1}
"""


class Scene:
    """A case that went well. Each test spoils one thing."""

    def __init__(self):
        (self.case,) = of_text(CASE)
        self.server = Server()
        self.faults = self.case.armed()
        self.faults[0].delivered.append(1)
        self.ids = [self.server.store.append("news", [message])[0] for message in ("one", "two")]
        self.one, self.two = ({"event": self.server.store.given["news", each]} for each in self.ids)
        self.gap = {"gap": {"channel": "news", "oldest_event_id": self.ids[1]}}
        self.published = {"published": self.ids[0]}
        self.heard = [{"ready": True}, self.one, self.gap, self.two, self.published]
        self.request(at=1.0)
        self.request(at=2.0)

    def request(self, at):
        number = len(self.server.requests) + 1
        self.server.requests.append(Seen(Request("GET", "/subscribe/news", {}, b""), number, 1, at))

    def failure(self):
        with pytest.raises(CaseFailed) as caught:
            check(self.case, self.server, self.faults, self.heard)
        return str(caught.value)


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.server.stop()


def test_a_case_that_went_well_passes(scene):
    check(scene.case, scene.server, scene.faults, scene.heard)


def test_a_fault_that_was_not_delivered_fails_the_case(scene):
    scene.faults[0].delivered.clear()
    assert "not delivered: poll 1" in scene.failure()


def test_a_fault_of_several_requests_is_delivered_to_each(scene):
    scene.case.faults[:] = [("polls 1 to 2", "silence", {})]
    scene.faults = scene.case.armed()
    scene.faults[0].delivered.append(1)
    assert "not delivered" in scene.failure()


@pytest.mark.parametrize("order", ["11G2", "1G", "2G1", "12G", "G12", "12", "1G22", "1GG2", ""])
def test_what_is_shown_otherwise_fails_the_case(scene, order):
    lines = {"1": scene.one, "2": scene.two, "G": scene.gap}
    scene.heard = [*(lines[each] for each in order), scene.published]
    assert "it showed" in scene.failure()


@pytest.mark.parametrize("changed", [{"message": 1}, {"id": 5}, {"timestamp": 0}, {"channel": "other"}])
def test_an_event_that_is_not_as_it_was_published_fails_the_case(scene, changed):
    scene.heard[1] = {"event": {**scene.one["event"], **changed}}
    assert "not as it was published" in scene.failure()


def test_an_event_that_lost_its_type_fails_the_case(scene):
    scene.server.store.given["news", scene.ids[0]] = {**scene.one["event"], "type": "t"}
    assert "not as it was published" in scene.failure()


def test_true_is_not_one(scene):
    assert repr(Gap()) == "(a gap)"
    scene.case.expected.shown["news"][0] = 1
    scene.heard[1]["event"]["message"] = True
    assert "it showed" in scene.failure()


def test_a_gap_before_an_event_that_never_was_fails_the_case(scene):
    scene.heard[2] = {"gap": {"channel": "news", "oldest_event_id": 5}}
    assert "never was" in scene.failure()


@pytest.mark.parametrize("said", ["It did not work.", "KeyError", "", None, "Traceback of it all", "two\nlines of it"])
def test_a_failure_that_nobody_expects_fails_the_case(scene, said):
    scene.heard.append({"failed": said})
    found = scene.failure()
    assert "it failed" in found
    assert ("no sentence" in found) is (said != "It did not work.")


@pytest.mark.parametrize("lines", [[], [5], "twice"])
def test_an_id_that_is_not_told_once_fails_the_case(scene, lines):
    published = [{"published": each} for each in (scene.ids if lines == "twice" else lines)]
    scene.heard = scene.heard[:-1] + published
    assert "published" in scene.failure() or "no event has the id" in scene.failure()


def test_a_publish_that_is_stored_twice_fails_the_case(scene):
    scene.server.store.append("news", ["one"])
    assert "stored is" in scene.failure()


def test_coming_before_the_time_fails_the_case(scene):
    scene.server.requests[0].not_before = 2.5
    assert "it came 0.50 s before" in scene.failure()


def test_too_many_requests_fail_the_case(scene):
    scene.request(at=3.0)
    assert "it made 3 requests" in scene.failure()


def test_too_many_connections_fail_the_case(scene):
    scene.server.connections += [object.__new__(Connection), object.__new__(Connection)]
    found = scene.failure()
    scene.server.connections.clear()
    assert "it made 2 connections" in found


@pytest.mark.parametrize(("order", "passes"), [("11G2", True), ("1G12", True), ("12G", False), ("1G", False)])
def test_where_some_may_come_again_none_may_be_missing(scene, order, passes):
    scene.case = replace(scene.case, expected=replace(scene.case.expected, perhaps_again=True))
    lines = {"1": scene.one, "2": scene.two, "G": scene.gap}
    scene.heard = [*(lines[each] for each in order), scene.published]
    if passes:
        check(scene.case, scene.server, scene.faults, scene.heard)
    else:
        assert "it showed" in scene.failure()


@pytest.mark.parametrize("broken", ["is_hot", "defects"])
def test_a_hot_loop_and_a_server_that_broke_fail_the_case(scene, broken):
    setattr(scene.server, broken, [ValueError()])
    assert "hot loop" in scene.failure() or "the server broke" in scene.failure()


SAYS = "import sys, json, time; say = lambda **line: print(json.dumps(line), flush=True); say(ready=True); "
PROGRAMS = {
    "it does not say that it is ready": ("pass", "does not say that it is ready"),
    "it ends": (SAYS + "sys.stdin.readline()", "the program ended"),
    "it asks for nothing": (SAYS + "time.sleep(60)", "it did not come about within 1 s"),
    "it fails": (SAYS + "sys.stdin.readline(); say(failed='It did not work.'); time.sleep(60)", "it failed"),
    "it goes on when it is closed": (
        SAYS + "import urllib.request as u; told = json.loads(sys.stdin.readline()); "
        "u.urlopen(told['url'] + '/subscribe/news?timeout=30').read()",
        "told to close, it went on",
    ),
    "it ends badly": (
        SAYS + "import urllib.request as u, threading as t; told = json.loads(sys.stdin.readline()); "
        "t.Thread(target=lambda: u.urlopen(told['url'] + '/subscribe/news?timeout=30'), daemon=True).start(); "
        "sys.stdin.readline(); say(closed=True); sys.stdout.flush(); import os; os._exit(3)",
        "its exit code was 3",
    ),
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_program_that_does_not_do_its_part_fails_the_case(what):
    program, told = PROGRAMS[what]
    (case,) = of_text("[{name: a case, why: none, story: [the client subscribes]}]")
    within = 1 if what == "it asks for nothing" else None
    begun = time.monotonic()
    with pytest.raises(CaseFailed, match=told):
        Player(case, [sys.executable, "-c", program], within).play()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "wrong",
    [
        "[{name: a, why: b, story: [the client dances]}]",
        "[{name: a, why: b, story: [], faults: [{poll 1: it rains}]}]",
        "[{name: a, why: b, story: [], faults: [{poll one: silence}]}]",
        "[{name: a, why: b, story: [], expect: {luck: 1}}]",
        "[{name: a, why: b, story: [], colour: red}]",
    ],
)
def test_a_word_that_nobody_knows_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"no such|nobody knows"):
        of_text(wrong)


def test_a_case_says_what_it_is_about():
    with pytest.raises(KeyError):
        of_text("[{name: a, story: []}]")
