"""The driver of scripts/bench: what it refuses, what it starts, and how it tells what came out."""

import http.client
import io
import json
import os
import subprocess
import sys
import threading

import pytest

from scripts.bench.driver import rows, servers, settings, table
from scripts.bench.driver.__main__ import say_what_went_wrong
from scripts.bench.driver.progress import Progress
from tests.support.servers import environment

BY_NAME = {server.name: server for server in servers.SERVERS}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A place for what is built, and an environment with no settings in it."""
    plain = environment()
    for name in os.environ.keys() - plain.keys():
        monkeypatch.delenv(name)
    for module in (servers, settings):
        monkeypatch.setattr(module, "BUILD", tmp_path)
    return tmp_path


def test_the_shipped_settings_are_told(here):
    told = settings.shipped_settings()
    assert told["settings"]["max_channels"] == "10000"
    assert told["gunicorn"]["worker_class"] == "app.worker.Worker"


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("BIDE_STORE", "memory://", "store=memory://"),
        ("BIDE_MAX_CHANNELS", "20000", "max_channels=20000"),
        ("WEB_CONCURRENCY", "2", "workers=2"),
        ("GUNICORN_CMD_ARGS", "--keep-alive 3", "gunicorn's keepalive=3"),
        ("BIDE_MAX_CHANELS", "20000", "did you mean BIDE_MAX_CHANNELS?"),
    ],
)
def test_settings_that_are_not_the_shipped_ones_are_refused(here, monkeypatch, variable, value, named):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match="bench: ") as refused:
        settings.shipped_settings()
    assert named in str(refused.value)


@pytest.mark.parametrize("name", ["bide", "naive"])
def test_a_server_holds_a_poll_until_there_is_an_event_and_reads_on_from_a_cursor(here, name):
    with servers.Running(BY_NAME[name]) as running:
        assert len(running.pids()) == 2  # gunicorn's master and its worker
        assert all(os.sched_getaffinity(pid) == {servers.cores()[0]} for pid in running.pids())

        def ask(method, path, body=None):
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            read = answer.headers["Last-Event-ID"], json.loads(answer.read())
            connection.close()
            return read

        assert ask("GET", "/subscribe/a?timeout=0")[1]["status"] == "timeout"
        waited = []
        poll = threading.Thread(target=lambda: waited.append(ask("GET", "/subscribe/a?timeout=20")))
        poll.start()
        for number in range(3):
            ask("POST", "/publish/a", json.dumps({"message": f"m{number}"}))
        poll.join()
        ((cursor, event),) = waited
        assert event["message"] == "m0"
        last, page = ask("GET", f"/subscribe/a?last_event_id={cursor}&limit=10")
        assert [event["message"] for event in page["events"]] == ["m1", "m2"]
        assert ask("GET", f"/subscribe/a?last_event_id={last}&timeout=0")[0] == last
    assert not list(here.iterdir())


def test_a_server_that_does_not_start_says_why(here, monkeypatch):
    monkeypatch.setenv("BIDE_STORE", "nowhere://")
    with pytest.raises(SystemExit, match="Bide does not start"), servers.Running(BY_NAME["bide"]):
        pass


def test_what_has_a_server_of_its_own_comes_first_on_it():
    for server in servers.SERVERS:
        groups = rows.groups_of(server)
        assert [row for group in groups for row in group] == rows.rows_of(server)
        assert all(row.fresh is (place == 0) for group in groups for place, row in enumerate(group))


def test_a_server_with_settings_of_its_own_is_measured_in_the_rows_that_name_it_only():
    of = {name: [row.name for row in rows.rows_of(server)] for name, server in BY_NAME.items()}
    assert of["bide-2"] == ["fanout-2"]
    assert of["bide-18000"] == ["park-18000"]
    assert of["bide-redis"] == ["fanout", "publish", "way"]
    assert of["naive"] == ["park", "fanout", "publish", "catchup", "paced", "burst"]
    assert set(of["naive"]) < set(of["nchan"]) < set(of["bide"])
    assert set().union(*of.values()) == {row.name for row in rows.ROWS}


def test_its_settings_are_the_servers_alone(here):
    with servers.Running(BY_NAME["bide-2"]) as running:
        assert len(running.pids()) == 3  # gunicorn's master and two workers
        # On one core two workers take it from each other every few milliseconds, which is what would be measured.
        assert all(os.sched_getaffinity(pid) == set(servers.cores()) for pid in running.pids())
    assert settings.shipped_settings()["settings"]["workers"] == "1"


def test_a_store_on_redis_has_a_server_of_its_own(here):
    with servers.Running(BY_NAME["bide-redis"]) as running:
        assert len(running.pids()) == 2  # what Redis takes is not the worker's
        (redis,) = here.rglob("appendonlydir")
        assert redis.parent == running.folder
        assert not list(running.folder.rglob("bide.db"))
    assert not list(here.iterdir())


def report(mode="fanout", **changes):
    plain = {"mode": mode, "deliveries": 100, "publishes": 10, "server_cpu_seconds": 0.001}
    plain |= {"deliveries_per_second": 100}
    return plain | dict.fromkeys(rows.WRONGS, 0) | changes


def test_a_row_is_the_median_of_those_runs_that_were_not_refused():
    runs = [report(server_cpu_seconds=cpu) for cpu in (0.001, 0.009, 0.002)] + [{"refused": "its own CPU"}]
    assert table.middle(runs, rows.cost) == pytest.approx(20)
    assert table.middle([{"refused": "its own CPU"}], rows.cost) is None
    assert rows.cost(report(mode="publish")) == pytest.approx(100)
    results = {"bide": {"fanout-100": runs, "fanout-5000": [report(server_cpu_seconds=0.003)]}}
    assert "| 20 → 30: 1.50 times |" in table.of_growth([BY_NAME["bide"]], results)


def test_an_aim_is_judged_beside_what_it_is_measured_by():
    def told(results, row):
        aims = table.of_aims(results).split("\n")
        return [line for line in aims if row in line]

    def parked(kib):
        return report("park", kib_per_poll=kib, subscribers=10_000, seconds=2)

    runs = {"bide": (0.005, 1.5), "naive": (0.02, 20), "bide-2": (0.006, 0), "gevent": (0.018, 18)}
    results = {
        name: {"fanout": [report(server_cpu_seconds=cpu)], "park": [parked(kib)]} for name, (cpu, kib) in runs.items()
    }
    results["bide-2"] = {"fanout-2": [report(server_cpu_seconds=0.006, server_descriptors=[9, 640, 360])]}
    delivery, unmeasured, gevent, two, *_ = told(results, "delivery to 1,000")
    assert delivery.endswith("| 50 | naive Flask: 200 | 4.00 | at least 4 | yes |")
    assert unmeasured.endswith("| 50 | aiohttp: - | - | at least 1 | - |")
    assert gevent.endswith("| 180 | naive Flask: 200 | 1.11 | at least 1.1 | yes |")
    assert two.endswith("| 60 | Bide: 50 | 1.20 | at most 1.15 | **no** |")
    assert told(results, "has fewer") == ["| % of these connections at the one that has fewer | 36 | - | - | - | - |"]
    assert told(results, "of 10,000 |") == ["| KiB a parked poll of 10,000 | 1.5 | - | - | at most 2 | yes |"]
    results["bide"]["park"] = [parked(2.01)]
    assert told(results, "of 10,000 |")[0].endswith("| at most 2 | **no** |")
    results["bide-redis"] = {"fanout": [report(deliveries_per_second=900)], "way": [report(latency_ms={"p50": 2.5})]}
    results["bide"] |= {"fanout": [report(deliveries_per_second=1000)], "way": [report(latency_ms={"p50": 1.4})]}
    each, way = told(results, "on Redis |")[:2]
    assert each.endswith("| 1,111 | Bide: 1,000 | 0.90 | at least 0.9 | yes |")
    assert way.endswith("| 2.5 | Bide: 1.4 | +1.10 | at most 1 more | **no** |")
    results["bide-18000"] = {"park-18000": [parked(4.5) | {"server_cpu_seconds": 0.03}]}
    memory, cpu = told(results, "18,000")
    assert memory.endswith("| 43.9 | - | - | at most 45 | yes |")
    assert cpu.endswith("| 1.5 | - | - | at most 1 | **no** |")


def test_there_is_no_p99_of_nothing():
    assert table.p99(report(latency_ms={"p99": 3})) == 3
    assert table.p99(report(deliveries=0, latency_ms={"p99": 0})) is None


def test_every_aim_is_of_something_that_is_measured():
    for aim in table.AIMS:
        for server, row in filter(None, [(aim.server, aim.row), aim.beside]):
            assert row in [row.name for row in rows.rows_of(BY_NAME[server])]


def test_a_server_that_loses_events_fails_the_run_and_one_too_fast_for_the_load_does_not(capsys):
    bide = [BY_NAME["bide"]]
    assert say_what_went_wrong(bide, {"bide": {"fanout": [report(), {"refused": "its own CPU"}]}}) == 0
    assert say_what_went_wrong(bide, {"bide": {"fanout": [report(lost=3)]}}) == 1
    assert say_what_went_wrong(bide, {"bide": {"fanout": [{"refused": "closed", "failed": True}]}}) == 1
    assert "Bide, fanout: {'lost': 3}" in capsys.readouterr().out


def test_a_terminal_gets_a_bar_and_a_file_gets_lines():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, wanted in ((io.StringIO(), "1/2 a\n2/2 b\n"), (Terminal(), "\r\x1b[K[" + "#" * 15)):
        progress = Progress(2, stream)
        progress.step("a")
        progress.step("b")
        progress.end()
        assert wanted in stream.getvalue()


def test_the_command_says_what_it_takes():
    command = [sys.executable, "-m", "scripts.bench.driver", "--only", "nobody"]
    result = subprocess.run(command, cwd=servers.ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "there is no nobody" in result.stderr


@pytest.mark.parametrize(("text", "cpus"), [("0\n", {0}), ("0,2\n", {0, 2}), ("0-1,8\n", {0, 1, 8}), (None, {0})])
def test_threads_of_one_core_are_not_two_cores(tmp_path, text, cpus):
    topology = tmp_path / "cpu0/topology"
    topology.mkdir(parents=True)
    if text is not None:
        (topology / "thread_siblings_list").write_text(text)
    assert servers.siblings(0, tmp_path) == cpus
