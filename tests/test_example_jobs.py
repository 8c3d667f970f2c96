"""docs/examples/jobs, as it is: its worker and the server are killed at random moments, and nothing shows it."""

import contextlib
import json
import random
import sqlite3
import subprocess
import time

import pytest

from tests.support.servers import ROOT, Server, await_that, environment

EXAMPLE = ROOT / "docs/examples/jobs"
#: How many jobs are published before each kill.
PORTION = 10


class Example:
    """The example's two programs, with the server they talk to."""

    def __init__(self, python, server, folder):
        self._python, self._server, self._folder = python, server, folder
        folder.mkdir()
        self.published = 0
        self.publisher = self._start("publisher.py", stdin=subprocess.PIPE)
        self.worker = None

    def _start(self, program, *arguments, **streams):
        command = [self._python, EXAMPLE / program, self._server.url, *arguments]
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                command, env=environment(), text=True, **{"stdout": output, "stderr": subprocess.STDOUT, **streams}
            )

    def publish(self, count):
        for _ in range(count):
            self.published += 1
            self.publisher.stdin.write(f"{self.published} {self.published * 10}\n")
        self.publisher.stdin.flush()

    def work(self):
        self.worker = self._start("worker.py", self._folder)

    def kill_worker(self):
        self.worker.kill()
        self.worker.wait()

    def booked(self):
        """What the worker has booked, in the order in which it did."""
        with contextlib.closing(sqlite3.connect(self._folder / "worker.db")) as database:
            with contextlib.suppress(sqlite3.OperationalError):  # it has not made its tables yet
                return database.execute("SELECT payment, amount FROM booked ORDER BY entry").fetchall()
            return []

    def await_booked(self, count):
        await_that(lambda: len(self.booked()) >= count)
        assert self.worker.poll() is None, self.output()

    def cursor(self):
        with contextlib.suppress(FileNotFoundError):
            return json.loads((self._folder / "worker.cursor").read_text()).get("jobs", 0)
        return 0

    def forget_the_cursor(self):
        (self._folder / "worker.cursor").unlink()

    def output(self):
        return (self._folder / "output").read_text()

    def close(self):
        for process in (self.publisher, self.worker):
            if process is not None:
                process.kill()
                process.wait()
        self.publisher.stdin.close()


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def example(installed, server, tmp_path):
    example = Example(installed, server, tmp_path / "example")
    yield example
    example.close()


def expected(count):
    return [(number, number * 10) for number in range(1, count + 1)]


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_each_job_is_done_once_and_in_order_whoever_is_killed(example, server, kills, request):
    seed = request.config.getoption("--seed") or random.randrange(10**6)
    print(f"--seed {seed}")
    chance = random.Random(seed)
    for kill in range(kills):
        example.work()
        example.publish(PORTION)
        if kill % 3 == 1:
            server.kill9()
            server.start()
        example.await_booked(example.published - chance.randint(0, PORTION - 1))
        time.sleep(chance.uniform(0, 0.01))  # it is killed anywhere in its round, not only where a job was done
        example.kill_worker()
    example.work()
    example.await_booked(example.published)
    assert example.booked() == expected(example.published), example.output()

    # The crash that comes between a job and its cursor, for all jobs at once: they all come again.
    example.kill_worker()
    example.forget_the_cursor()
    example.publish(1)
    example.work()
    example.await_booked(example.published)
    assert example.booked() == expected(example.published), example.output()


def test_a_worker_that_was_away_too_long_says_so_and_passes_nothing_over(example, server):
    example.publish(1)
    example.work()
    await_that(lambda: example.cursor() > 0)
    example.kill_worker()
    example.publish(1)
    await_that(lambda: len(server.events("jobs")) == 2)
    assert server.request("DELETE", "/channels/jobs")[0] == 204
    example.publish(1)
    await_that(lambda: len(server.events("jobs")) == 1)
    for _ in range(2):
        example.work()
        assert example.worker.wait(30) == 1
    assert example.output().count("the oldest that is left is") == 2
    assert example.booked() == expected(1)
