"""What only a broken worker crosses: a third of a naive server's CPU time for a delivery, and 3 KiB for a parked poll.

scripts/bench/run tells the figures themselves.
"""

import os
import shutil
import subprocess

import pytest

from scripts.bench.driver import rows, servers, table
from tests.support.servers import environment

#: A busy machine must not matter: the servers take turns until it is seen, and of CPU time, to which neighbours only
#: add, the least of the turns counts. A worker that needs a greenlet a poll is far from the bound in every turn.
MOST_TURNS = 5
SECONDS = 0.7
MOST_OF_NAIVE = 1 / 3
MOST_KIB = 3

BY_NAME = {server.name: server for server in servers.SERVERS}
ROWS = {row.name: row for row in rows.ROWS}


@pytest.fixture(scope="module", autouse=True)
def _built(tmp_path_factory):
    """The load generator and the servers' data in a folder of the test's, and no settings but the shipped ones."""
    here = tmp_path_factory.mktemp("figures")
    assert shutil.which("gcc"), "scripts/test installs gcc on Debian; elsewhere do it yourself"
    subprocess.run([servers.ROOT / "scripts/bench/build", here / "load"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment().keys():
            patch.delenv(name)
        for module in (servers, rows):
            patch.setattr(module, "BUILD", here)
        yield


def measured(server, row):
    """One run of the row on a fresh server, which did its work."""
    with servers.Running(BY_NAME[server]) as running:
        report = rows.measure(running, ROWS[row], SECONDS)
    assert "refused" not in report, report["refused"]
    assert rows.wrongs(report) == {}
    return report


def test_a_parked_poll_takes_at_most_3_kib(record_property):
    taken = table.kib(measured("bide", "park"))
    record_property("table", f"KiB a parked poll of {ROWS['park'].options['subscribers']:,}: {taken:.3g}")
    assert taken <= MOST_KIB


def test_a_delivery_takes_at_most_a_third_of_a_naive_servers_time(record_property):
    found = {"naive": [], "bide": []}
    for _ in range(MOST_TURNS):
        for server, costs in found.items():
            costs.append(rows.cost(measured(server, "fanout")))
        if min(found["bide"]) <= min(found["naive"]) * MOST_OF_NAIVE:
            break
    told = "; ".join(f"{BY_NAME[name].title} {', '.join(map(table.told, costs))}" for name, costs in found.items())
    record_property("table", f"CPU µs of a delivery to 1,000: {told}")
    assert min(found["bide"]) <= min(found["naive"]) * MOST_OF_NAIVE
