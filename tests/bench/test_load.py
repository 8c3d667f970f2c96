"""The load generator counts exactly what a server did that loses, doubles and reorders on purpose."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.faulty import PAUSE_SECONDS, Faulty

SOURCE = Path(__file__).resolve().parents[2] / "scripts/bench"
FAULTS = {"lose": range(7, 10_000, 13), "double": range(5, 10_000, 11), "delay": range(9, 10_000, 17), "misplace": {4}}
NONE = {"lost": 0, "doubled": 0, "disordered": 0, "foreign": 0}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """The program, built as scripts/bench/run builds it."""
    program = tmp_path_factory.mktemp("load") / "load"
    assert shutil.which("gcc"), "scripts/test installs gcc on Debian; elsewhere do it yourself"
    subprocess.run([SOURCE / "build", program], check=True)
    return program


def run(load, mode, server, *, pids=None, code=0, **options):
    ours = {"port": server.port, "pids": pids or os.getpid(), "patience": 0.3, "seconds": 0.3, "warmup": 0.1}
    words = [word for name, value in (ours | options).items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words += ["--nchan"] if server.nchan else []
    result = subprocess.run([load, mode, *words], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout) if code == 0 else result


def counts(report):
    assert report["errors"] == 0
    return {name: report[name] for name in NONE}


@pytest.mark.parametrize("nchan", [False, True], ids=["bide's dialect", "nchan's dialect"])
@pytest.mark.parametrize("mode", ["fanout", "paced"])
def test_it_finds_nothing_where_all_is_right(load, mode, nchan):
    with Faulty(nchan=nchan) as server:
        report = run(load, mode, server, channels=3, subscribers=12, rate=200)
        assert counts(report) == NONE
        assert report["publishes_total"] == server.published > 10
        assert report["deliveries_total"] == server.published * 4
        assert report["stalls"] == 0
        assert report["deliveries_per_second"] == pytest.approx(report["deliveries"] / report["seconds"], rel=0.01)
        assert report["publishes_per_second"] == pytest.approx(report["publishes"] / report["seconds"], rel=0.01)
        assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"] <= report["latency_ms"]["max"]


@pytest.mark.parametrize("nchan", [False, True], ids=["bide's dialect", "nchan's dialect"])
def test_it_counts_what_was_lost_doubled_disordered_and_misplaced(load, nchan):
    with Faulty(**FAULTS, nchan=nchan) as server:
        report = run(load, "paced", server, channels=3, subscribers=12, rate=300)
        expected = server.counts(subscribers=4)
        assert all(expected.values()), expected
        assert counts(report) == expected


@pytest.mark.parametrize("limit", [0, 7])
def test_readers_of_a_backlog_count_as_exactly(load, limit):
    with Faulty(**FAULTS) as server:
        report = run(load, "catchup", server, channels=2, subscribers=6, backlog=60, limit=limit)
        expected = server.counts(subscribers=3)
        assert all(expected.values()), expected
        assert counts(report) == expected
        assert report["passes"] == 0


def test_a_large_answer_that_comes_in_pieces_is_put_together(load):
    """Its room grew once its length was known, and what had come was then copied from where it no longer was."""
    with Faulty(pieces=True) as server:
        report = run(load, "catchup", server, channels=2, subscribers=6, backlog=60, limit=60, size=5000)
        assert counts(report) == NONE
        assert report["passes"] >= 6


def test_readers_begin_anew_when_they_have_all(load):
    with Faulty() as server:
        report = run(load, "catchup", server, channels=2, subscribers=6, backlog=60, limit=7)
        assert counts(report) == NONE
        assert report["passes"] >= 6
        assert report["deliveries_total"] == report["passes"] * 60


def test_a_closed_loop_publishes_when_everybody_has_the_last_event(load):
    with Faulty(slow=True) as server:
        report = run(load, "fanout", server, subscribers=20)
        assert report["publishes_total"] > 2
        assert server.early == 0
    with Faulty(slow=True) as server:
        run(load, "paced", server, subscribers=20, rate=300)
        assert server.early > 0  # so the server can tell


def test_a_closed_loop_goes_on_without_what_does_not_come(load):
    with Faulty(lose={3}) as server:
        report = run(load, "fanout", server, subscribers=5, patience=0.2)
        assert counts(report) == NONE | {"lost": 5}
        assert report["stalls"] == 1
        assert server.published > 3


def test_times_are_those_that_passed(load):
    with Faulty(slow=True) as server:
        report = run(load, "fanout", server, subscribers=1)
        assert 20 <= report["latency_ms"]["p50"] < 1000
        assert report["publish_latency_ms"]["p50"] < 1000


def test_what_could_not_be_published_in_time_came_late(load):
    """An event's time is from when it was due: a server that pauses would else choose what it is measured by."""
    with Faulty(pause=60) as server:
        report = run(load, "paced", server, subscribers=1, publishers=1, rate=200, seconds=0.6)
        assert counts(report) == NONE
        assert report["latency_ms"]["max"] > PAUSE_SECONDS * 500
        assert report["publish_latency_ms"]["max"] >= PAUSE_SECONDS * 1000


def test_a_publish_that_is_refused_is_an_error_and_no_publish(load):
    with Faulty(refuse={3}) as server:
        report = run(load, "publish", server, channels=5)
        assert report["errors"] == 5
        assert report["publishes_total"] == server.published


def test_a_publish_that_was_not_answered_is_an_error_and_no_publish(load):
    with Faulty(drop={3}) as server:
        report = run(load, "publish", server, channels=5)
        assert report["errors"] == 5
        assert report["publishes_total"] == server.published


def test_a_poll_that_is_refused_is_an_error_and_loses_nothing(load):
    with Faulty(refuse_polls={5, 9, 10}) as server:
        report = run(load, "fanout", server, channels=2, subscribers=6)
        assert report["errors"] == 3
        assert {name: report[name] for name in NONE} == NONE


def test_parked_polls_are_shown_to_wait(load):
    with Faulty() as server:
        assert counts(run(load, "park", server, channels=10, subscribers=50)) == NONE
    with Faulty(lose={1}) as server:
        assert counts(run(load, "park", server, channels=10, subscribers=50)) == NONE | {"lost": 50}


def test_a_connection_that_is_closed_costs_no_event(load):
    with Faulty(closing=True) as server:
        report = run(load, "fanout", server, channels=2, subscribers=6)
        assert counts(report) == NONE
        assert report["reconnects"] >= report["deliveries_total"] > 0
    with Faulty(hangup=7) as server:
        report = run(load, "fanout", server, channels=2, subscribers=6)
        assert counts(report) == NONE
        assert report["reconnects"] == server.hung_up > 0


def test_a_poll_can_have_the_head_of_a_browser(load):
    with Faulty() as server:
        assert counts(run(load, "fanout", server, subscribers=3, head="browser")) == NONE
        ours = [head for head in server.heads if head.startswith("GET")]
        assert len(ours) > 3
        for head in ours:
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            assert 1400 < len(head) < 1600
            assert len(fields) == head.count("\r\n") - 2  # none is there twice
            assert fields["host"] == "127.0.0.1"
            assert fields["user-agent"].startswith("mozilla/5.0")
            assert {"accept", "accept-encoding", "referer", "sec-fetch-site", "sec-ch-ua", "cookie"} <= fields.keys()
            assert "origin" not in fields
    with Faulty() as server:
        run(load, "fanout", server, subscribers=3)
        assert all("\r\nHost: 127.0.0.1\r\n\r\n" in head for head in server.heads if head.startswith("GET"))
        assert run(load, "fanout", server, head="robot", code=1).stderr == "load: no head robot\n"


@pytest.mark.parametrize("closing", [False, True])
def test_the_next_polls_first_bytes_can_come_behind_a_poll(load, closing):
    with Faulty(closing=closing) as server:
        assert counts(run(load, "fanout", server, channels=2, subscribers=6, behind=3)) == NONE
        assert server.behind == {b"GET"}
        assert all(head.startswith(("GET /subscribe/", "POST /publish/")) for head in server.heads)
    with Faulty() as server:
        run(load, "fanout", server, subscribers=6)
        assert server.behind == {b""}


def test_publishers_count_what_was_acknowledged(load):
    with Faulty() as server:
        report = run(load, "publish", server, channels=5)
        assert report["publishes_total"] == server.published
        assert 0 < report["publishes"] <= server.published


def test_it_does_not_report_where_it_was_itself_the_bound(load):
    with Faulty() as server:
        result = run(load, "fanout", server, subscribers=10, own_cpu=0, code=3)
        assert result.stdout == ""
        assert "no report" in result.stderr


def test_memory_and_cpu_are_those_of_the_processes_named(load):
    program = "import time; kept = b'x' * 50_000_000; print(flush=True); time.sleep(60)"
    with (
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as idle,
        Faulty() as server,
    ):
        try:
            idle.stdout.readline()
            of_idle = run(load, "fanout", server, subscribers=10, pids=idle.pid)
            of_both = run(load, "fanout", server, subscribers=10, pids=f"{idle.pid},{os.getpid()}")
        finally:
            idle.kill()
    assert of_idle["server_cpu_seconds"] < 0.01 < of_both["server_cpu_seconds"]
    assert 50_000_000 / 1024 < of_idle["server_memory_kib"] < of_both["server_memory_kib"]
    (of_idle,), both = of_idle["server_descriptors"], of_both["server_descriptors"]
    assert of_idle == both[0] == 3
    assert both[1] >= 3 + 10  # ours, and a connection of each subscriber


def test_no_file_of_it_is_long():
    for path in SOURCE.glob("*.[ch]"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 300, path
        assert max(map(len, lines)) <= 120, path
