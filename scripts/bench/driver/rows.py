"""What is measured: each row is one call of the load generator on a server."""

import json
import os
import subprocess
from dataclasses import dataclass, field

from .servers import BUILD, cores

#: Any of these above zero and the row's figures are those of a server that did not do its work.
WRONGS = ("lost", "doubled", "disordered", "foreign", "errors", "stalls")


LONGEST_SECONDS = 300


@dataclass(frozen=True)
class Row:
    """`fresh` rows have a server of their own: memory that an earlier row has left, or its channels, would change them.
    `scaling` rows are run for Bide and Nchan."""

    name: str
    mode: str
    options: dict = field(default_factory=dict)
    fresh: bool = False
    scaling: bool = False


ROWS = [
    Row("park", "park", {"subscribers": 3000, "timeout": 55}, fresh=True),
    Row("fanout", "fanout", {"subscribers": 1000}),
    Row("publish", "publish", {"publishers": 8}),
    Row("catchup", "catchup", {"subscribers": 100, "backlog": 1000, "limit": 100}),
    Row("paced", "paced", {"channels": 1000, "subscribers": 1000, "rate": 1000}),
    Row("fanout-100", "fanout", {"subscribers": 100}, fresh=True, scaling=True),
    Row("fanout-5000", "fanout", {"subscribers": 5000}, scaling=True),
    Row("pairs-100", "fanout", {"channels": 100, "subscribers": 100}, scaling=True),
    Row("publish-100", "publish", {"channels": 100, "publishers": 8}, scaling=True),
    Row("pairs-5000", "fanout", {"channels": 5000, "subscribers": 5000}, fresh=True, scaling=True),
    # One less than Bide keeps: the server was asked once whether it is there.
    Row("publish-10000", "publish", {"channels": 9999, "publishers": 8}, fresh=True, scaling=True),
]


def measure(running, row, seconds):
    """One run: what the load generator reports, or {"refused": why}."""
    _, core = cores()
    options = {"seconds": seconds, "warmup": min(2, seconds / 3), "prefix": row.name} | row.options
    words = [f"--{name}={value}" for name, value in options.items()]
    words += ["--port", str(running.port), "--pids", ",".join(map(str, running.pids()))]
    words += ["--nchan"] if running.server.nchan else []
    try:
        result = subprocess.run(
            [BUILD / "load", row.mode, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    except subprocess.TimeoutExpired:
        return {"refused": f"no end after {LONGEST_SECONDS} s", "failed": True}
    if result.returncode == 3:
        return {"refused": result.stderr.strip()}
    if result.returncode:
        return {"refused": result.stderr.strip() or f"exit code {result.returncode}", "failed": True}
    return json.loads(result.stdout)


def cost(report):
    """The server's CPU time in µs for a delivery, or for a publish where nobody subscribes."""
    done = report["publishes"] if report["mode"] == "publish" else report["deliveries"]
    return report["server_cpu_seconds"] * 1e6 / done if done else None


def wrongs(report):
    return {name: report[name] for name in WRONGS if report.get(name)}
