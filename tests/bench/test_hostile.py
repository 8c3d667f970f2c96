"""The benchmark beside attackers: what each attacker does, what is refused, and how the table tells it."""

import os
import subprocess
import sys
import time

import pytest

from scripts.bench.driver import hostile, servers
from scripts.bench.driver.attack import ATTACKS, costly
from tests.support.servers import environment

#: What an attacker must have met after a moment.
MET = {
    "slow-heads": {"bytes"},
    "half-open": {"connections"},
    "noise": {"connections"},
    "large-bodies": {"status 413"},
    "refused": {"status 400", "status 404", "status 413"},
    "json": {"status 400"},
    "unread": {"connections", "status 200"},
    "polls-again": {"status 200"},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Bide as the benchmark starts it, in a folder of the test's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment().keys():
            patch.delenv(name)
        patch.setattr(servers, "BUILD", tmp_path_factory.mktemp("hostile"))
        with servers.Running(hostile.BIDE) as running:
            yield running
            log = (running.folder / "log").read_text()
            assert "Traceback" not in log


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attacker_does_what_it_says_until_it_is_told_to_end(running, name):
    for seconds in (1.5, 5, 20):  # the time of an attack; on a busy machine one needs longer
        with hostile.Attacker(name, running.port) as attacker:
            time.sleep(seconds)
        if set(attacker.report["done"]) == MET[name]:
            break
    assert set(attacker.report["done"]) == MET[name]
    assert 0 < attacker.report["cpu_percent"] < 101


def test_an_attacker_that_ends_by_itself_is_a_failure(running):
    with pytest.raises(SystemExit, match="ended by itself"), hostile.Attacker("nobody", running.port) as attacker:
        attacker._process.wait()


def test_the_costliest_batch_fits_a_body():
    assert 2**20 * 0.98 < len(costly()) <= 2**20


def report(p50=1, p99=10, own=30, attacker=20, **changes):
    plain = {"latency_ms": {"p50": p50, "p99": p99}, "own_cpu_percent": own, "server_cpu_seconds": 1, "seconds": 2}
    return plain | {"attacker": {"cpu_percent": attacker}} | changes


def test_a_run_whose_load_was_short_of_its_core_is_refused():
    assert "refused" not in hostile.judged(report(own=50, attacker=35))
    assert "86 %" in hostile.judged(report(own=50, attacker=36))["refused"]


def test_the_table_says_plainly_where_the_time_is_more_than_doubled():
    def told(*p99s):
        return hostile.of_attacks({"noise": [{"alone": report(), "beside": report(p99=p99)} for p99 in p99s]})

    assert "| 1 → 1 | 1.0 | 10 → 20 | 2.0 | 50 → 50 % | 50 % | yes |" in told(19, 20, 900)
    assert "| 10 → 21 | 2.1 | 50 → 50 % | 50 % | **no** |" in told(21)
    refused = {"alone": report(), "beside": {"refused": "no"}}
    assert hostile.of_attacks({"noise": [refused]}).endswith("a second | - | - | - | - | - | - | - |")


def test_events_that_are_lost_beside_an_attacker_fail_the_run(capsys):
    beside = report(lost=0)
    assert hostile.say_what_went_wrong({"noise": [{"alone": report(), "beside": beside}]}) == 0
    assert hostile.say_what_went_wrong({"noise": [{"alone": report(), "beside": beside | {"lost": 2}}]}) == 1
    assert hostile.say_what_went_wrong({"noise": [{"alone": report(), "beside": {"refused": "its own CPU"}}]}) == 0
    assert "noise, beside: {'lost': 2}" in capsys.readouterr().out


def test_the_command_says_what_it_takes():
    command = [sys.executable, "-m", "scripts.bench.driver.hostile", "--only", "nobody"]
    result = subprocess.run(command, cwd=servers.ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "there is no nobody" in result.stderr
