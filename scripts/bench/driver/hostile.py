"""scripts/bench/hostile: how late well-behaved clients of Bide have their events, alone and beside each attacker."""

import argparse
import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

from .attack import ATTACKS
from .progress import Progress
from .rows import Row, measure, wrongs
from .servers import BUILD, ROOT, SERVERS, Running, cores, on_cores
from .settings import shipped_settings
from .table import line, told

#: Far from what one worker can do, so that the attack and not the load is what makes it late.
LOAD = {"channels": 100, "subscribers": 100, "rate": 200}
#: From the first event until an attacker is at work.
SETTLED_SECONDS = 5
BEGIN_SECONDS = 60
#: Of the load's core, by the load generator and the attacker together.
MOST_CPU_PERCENT = 85
BIDE = next(server for server in SERVERS if server.name == "bide")


class Attacker:
    """A process that attacks, for the time of a `with` block; `report` is what it told at its end."""

    def __init__(self, name, port):
        self._command = [sys.executable, "-m", "scripts.bench.driver.attack", name, str(port)]
        self.report = {}

    def __enter__(self):
        _, core = cores()
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=on_cores(core),
        )
        return self

    def __exit__(self, *_):
        early = self._process.poll() is not None
        self._process.terminate()
        told, _ = self._process.communicate(timeout=30)
        if early or self._process.returncode:
            raise SystemExit(f"bench: the attacker ended by itself: {' '.join(self._command)}")
        self.report = json.loads(told)


def await_events(port, prefix):
    """Wait until the load publishes: it begins only on a server that is at rest, and so before the attack."""
    deadline = time.monotonic() + BEGIN_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.3)  # asked more often, the server would not be at rest
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", f"/channels?prefix={prefix}&limit=1")
        channels = json.loads(connection.getresponse().read())["channels"]
        connection.close()
        if channels and channels[0]["events"]:
            return
    raise SystemExit("bench: the load does not begin")


def beside(running, name, seconds):
    """One run of the load beside an attacker: the load's report, with what the attacker did."""
    reports = []
    row = Row("beside", "paced", LOAD | {"warmup": SETTLED_SECONDS})
    load = threading.Thread(target=lambda: reports.append(measure(running, row, seconds)))
    load.start()
    await_events(running.port, row.name)
    with Attacker(name, running.port) as attacker:
        load.join()
    return judged(reports[0] | {"attacker": attacker.report})


def judged(report):
    """The report, refused where what makes the load was short of its core."""
    if "refused" not in report:
        used = report["own_cpu_percent"] + report["attacker"]["cpu_percent"]
        if used > MOST_CPU_PERCENT:
            report["refused"] = f"load and attacker took {used:.0f} % of their core, over {MOST_CPU_PERCENT} %"
    return report


def of_attacks(results):
    """The table: medians over the runs that were not refused."""
    heads = ["beside", "p50 ms", "times", "p99 ms", "times", "server's CPU", "load's core", "at most doubled"]
    lines = [line(heads), line(["---"] * len(heads))]
    for name, runs in results.items():
        good = [run for run in runs if not any("refused" in report for report in run.values())]
        lines.append(line([ATTACKS[name][0], *(cells(good) if good else ["-"] * (len(heads) - 1))]))
    return "\n".join(lines)


def cells(runs):
    found, most = [], 0.0
    for part in ("p50", "p99"):
        alone, attacked = (median(run[which]["latency_ms"][part] for run in runs) for which in ("alone", "beside"))
        most = max(most, attacked / alone)
        found += [f"{told(alone)} → {told(attacked)}", f"{attacked / alone:.1f}"]
    server = [
        median(100 * run[which]["server_cpu_seconds"] / run[which]["seconds"] for run in runs) for which in runs[0]
    ]
    load = median(run["beside"]["own_cpu_percent"] + run["beside"]["attacker"]["cpu_percent"] for run in runs)
    return [*found, f"{server[0]:.0f} → {server[1]:.0f} %", f"{load:.0f} %", "yes" if most <= 2 else "**no**"]


def say_what_went_wrong(results):
    """What the load met in spite of which it must be served; 1 where there is any."""
    code = 0
    for name, runs in results.items():
        for which, report in ((which, report) for run in runs for which, report in run.items()):
            if wrong := wrongs(report) or report.get("refused"):
                print(f"{name}, {which}: {wrong}")
                code = code if "refused" in report and not report.get("failed") else 1
    return code


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench/hostile", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of each: to see that all works")
    parser.add_argument("--only", help=f"some of the attackers: {','.join(ATTACKS)}", default=",".join(ATTACKS))
    parser.add_argument("--json", type=Path, default=BUILD / "hostile.json", help="where all figures are written")
    given = parser.parse_args()
    given.only = given.only.split(",")
    for name in given.only:
        if name not in ATTACKS:
            parser.error(f"there is no {name}")
    return given


def main():
    given = arguments()
    runs, seconds = (1, 3) if given.quick else (3, 5)
    settings = shipped_settings()
    print("checkout:", settings["checkout"], "| load:", ", ".join(f"{name} {value}" for name, value in LOAD.items()))
    sys.stdout.flush()
    results = {name: [] for name in given.only}
    progress = Progress(runs * len(results))
    for number in range(runs):
        for name in results:
            progress.step(f"{name}, run {number + 1} of {runs}")
            with Running(BIDE) as running:
                alone = measure(running, Row("alone", "paced", LOAD), seconds)
                results[name].append({"alone": alone, "beside": beside(running, name, seconds)})
    progress.end()
    print(f"\n{of_attacks(results)}\n")
    everything = {"quick": given.quick, "runs": runs, "seconds": seconds, "bide": settings, "results": results}
    given.json.write_text(json.dumps(everything, indent=1) + "\n")
    return say_what_went_wrong(results)


if __name__ == "__main__":
    sys.exit(main())
