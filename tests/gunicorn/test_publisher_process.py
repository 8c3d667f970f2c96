"""A process without Flask publishes into the file of a server on the machine, and its polls see it at once."""

import contextlib
import json
import subprocess
import sys
import time

import pytest

from tests.support.clients import Herd, Line, subscription
from tests.support.servers import ROOT, Server, await_that, environment

# A held poll on any worker sees an event within 100 ms; a busy machine takes its time.
SEEN_SECONDS = 1.0

# What a cron job or a worker of some other program would be, reading its orders from standard input.
PROGRAM = """
import json, sys

from app import Publisher, open_store

publisher = Publisher(open_store(sys.argv[1]))
print(json.dumps({"modules": sorted(sys.modules)}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    try:
        if "messages" in order:
            given = publisher.publish_batch(order["channel"], order["messages"])
        else:
            given = publisher.publish(order["channel"], order["message"], idempotency_key=order.get("key"))
        print(json.dumps({"given": given}), flush=True)
    except Exception as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)
"""


class Program:
    """The publishing process."""

    def __init__(self, process):
        self._process = process
        self.modules = self._answer()["modules"]

    def _answer(self):
        return json.loads(self._process.stdout.readline())

    def order(self, **order):
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def publish(self, channel, message, **more):
        return self.order(channel=channel, message=message, **more)["given"]


@contextlib.contextmanager
def publishing_program(url, folder):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url],
        cwd=folder,
        env=environment(PYTHONPATH=ROOT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Program(process)
        process.stdin.close()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def url_of(server):
    return "sqlite:///" + str(server.database).replace("%", "%25").replace(" ", "%20")


def seen_after(server, program, channel="news"):
    """Publish to parked polls on every worker; how long the last of them took to see it."""
    cursor = server.poll(channel, last_event_id="latest")["last_event_id"]
    with Herd(server) as herd:
        herd.add(subscription(channel, cursor), 10)
        await_that(lambda: server.counts()["polls"] == 10)
        begun = time.monotonic()
        id = program.publish(channel, {"hello": "world"})
        herd.read(lambda: len(herd.answers) == 10)
        events = [answer.json() for answer in herd.answers]
        assert all((event["id"], event["message"]) == (id, {"hello": "world"}) for event in events)
        return max(answer.at for answer in herd.answers) - begun


def test_polls_see_what_a_process_without_a_server_publishes(tmp_path):
    with (
        Server(tmp_path / "server", inspected=True) as server,
        publishing_program(url_of(server), tmp_path) as program,
    ):
        took = [seen_after(server, program) for _ in range(5)]
        assert max(took) < SEEN_SECONDS
        # Not by the safety look alone, which comes every 100 ms.
        assert min(took) < 0.05


def test_publishing_needs_no_flask(tmp_path):
    with publishing_program(f"sqlite:///{tmp_path}/bide.db", tmp_path) as program:
        assert program.publish("news", 1) > 0
        assert {"flask", "werkzeug"} & set(program.modules) == set()


def test_polls_on_every_worker_see_it(tmp_path):
    with (
        Server(tmp_path / "server", inspected=True, workers=2) as server,
        publishing_program(url_of(server), tmp_path) as program,
    ):
        cursor = program.publish("news", 0)
        lines, pids = [], set()
        while len(pids) < 2:
            assert len(lines) < 1000
            line = Line(server)
            lines.append(line)
            pids.add(line.ask(subscription("news", 0, timeout=0)).pid)
        for line in lines:
            line.send(subscription("news", cursor))
        for number in range(1, 6):
            id = program.publish("news", number)
            answers = [line.answer() for line in lines]
            assert {answer.json()["id"] for answer in answers} == {id}
            assert {answer.pid for answer in answers} == pids
            for line in lines:
                line.send(subscription("news", id))
        for line in lines:
            line.sock.close()


def test_in_a_folder_whose_path_has_200_characters_and_blanks(tmp_path):
    """Longer than the path of a unix socket may be, by which processes wake one another."""
    folder = tmp_path / "a folder with blanks & 100 % of a name"
    while len(str(folder / "data")) < 200:
        folder = folder / "deep er"
    assert len(str(folder / "data")) >= 200
    with Server(folder, inspected=True) as server, publishing_program(url_of(server), tmp_path) as program:
        took = [seen_after(server, program) for _ in range(5)]
        assert max(took) < SEEN_SECONDS
        assert min(took) < 0.05
        assert server.database.exists()


def test_it_trims_by_the_servers_retention_and_holds_to_its_bounds(tmp_path):
    env = {
        "BIDE_RETENTION": "jobs.*=7/3600 *=20/3600",
        "BIDE_MAX_CHANNELS": 3,
        "BIDE_MAX_IDEMPOTENCY_KEYS": 2,
    }
    with (
        Server(tmp_path / "server", inspected=True, env=env) as server,
        publishing_program(url_of(server), tmp_path) as program,
    ):
        jobs = [program.publish("jobs.mail", number) for number in range(30)]
        news = [program.publish("news", number) for number in range(30)]
        assert [event["id"] for event in server.events("jobs.mail")] == jobs[-7:]
        assert [event["id"] for event in server.events("news")] == news[-20:]
        assert program.order(channel="jobs.mail", messages=list(range(1, 9)))["error"] == "InvalidRequest"
        assert len(program.order(channel="jobs.mail", messages=list(range(1, 8)))["given"]) == 7
        first = program.publish("news", "once", key="one")
        assert program.publish("news", "once", key="one") == first
        program.publish("news", "twice", key="two")
        assert program.order(channel="news", message="thrice", key="three")["error"] == "TooManyKeys"
        program.publish("third", 1)
        assert program.order(channel="fourth", message=1)["error"] == "TooManyChannels"
        # The server goes by the same, and a key counts over both.
        assert server.publish("news", "once", {"Idempotency-Key": "one"}) == first


@pytest.mark.parametrize("later", [{"BIDE_RETENTION_EVENTS": 5}, {"BIDE_RETENTION_EVENTS": 50}], ids=["less", "more"])
def test_a_program_that_starts_after_the_settings_were_changed_goes_by_the_new_ones(tmp_path, later):
    folder = tmp_path / "server"
    with Server(folder, env={"BIDE_RETENTION_EVENTS": 10}) as server:
        server.publish_all("news", list(range(1, 11)))
        server.kill9()
    with Server(folder, env=later) as server, publishing_program(url_of(server), tmp_path) as program:
        for number in range(60):
            program.publish("news", number)
        assert len(server.events("news")) == later["BIDE_RETENTION_EVENTS"]
