"""scripts/bench/run: every row for every server, by turns, several times; prints the medians and writes all as JSON."""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from .progress import Progress
from .rows import SCALED, groups_of, measure, rows_of, wrongs
from .servers import BUILD, ROOT, SERVERS, Running
from .settings import shipped_settings
from .table import of_aims, of_growth, of_servers


def arguments():
    names = [server.name for server in SERVERS]
    parser = argparse.ArgumentParser(prog="scripts/bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of each: to see that all works")
    parser.add_argument("--only", help=f"some of the servers: {','.join(names)}", default=",".join(names))
    parser.add_argument("--json", type=Path, default=BUILD / "results.json", help="where all figures are written")
    given = parser.parse_args()
    given.only = given.only.split(",")
    for name in given.only:
        if name not in names:
            parser.error(f"there is no {name}")
    return given


def main():
    given = arguments()
    runs, seconds = (1, 0.3) if given.quick else (5, 3)
    servers = [server for server in SERVERS if server.name in given.only and server.available()]
    settings = shipped_settings()
    print("Bide:", ", ".join(f"{name}={value}" for name, value in settings["settings"].items()))
    print("gunicorn:", ", ".join(f"{name}={value}" for name, value in settings["gunicorn"].items()))
    print("checkout:", settings["checkout"])
    for server in servers:
        changed = [f"{name}={value}" for name, value in server.settings.items()]
        command = " ".join([*changed, *server.command("PORT", BUILD)])
        command = command.replace(str(BUILD), "FOLDER").replace(f"{ROOT}/", "")
        print(f"{server.title}: {server.versions()}: {command.replace(sys.executable, 'python')}")
    sys.stdout.flush()

    results = {server.name: {} for server in servers}
    begun = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    progress = Progress(runs * sum(len(rows_of(server)) for server in servers))
    for run in range(runs):
        for server in servers:
            for group in groups_of(server):
                with Running(server) as running:
                    for row in group:
                        progress.step(f"{server.title}: {row.name}, run {run + 1} of {runs}")
                        results[server.name].setdefault(row.name, []).append(measure(running, row, seconds))
    progress.end()

    print(f"\n{of_servers([server for server in servers if server.is_shipped], results)}\n")
    print(f"{of_aims(results)}\n")
    scaled = [server for server in servers if server.name in SCALED]
    if scaled:
        print(f"{of_growth(scaled, results)}\n")
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    about = {"begun": begun, "quick": given.quick, "runs": runs, "seconds": seconds, "machine": machine}
    versions = {server.name: server.versions() for server in servers}
    everything = about | {"bide": settings, "versions": versions, "results": results}
    given.json.write_text(json.dumps(everything, indent=1) + "\n")
    return say_what_went_wrong(servers, results)


def say_what_went_wrong(servers, results):
    """The rows without figures, and those whose server did not do its work; 1 where there are any of these."""
    code = 0
    for server in servers:
        for row, reports in results[server.name].items():
            for report in reports:
                if wrong := wrongs(report) or report.get("refused"):
                    print(f"{server.title}, {row}: {wrong}")
                    code = code if report.keys() == {"refused"} else 1
    return code


if __name__ == "__main__":
    sys.exit(main())
