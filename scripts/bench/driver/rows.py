"""What is measured: each row is one call of the load generator on a server."""

import json
import os
import subprocess
from dataclasses import dataclass, field

from .servers import BUILD, cores, on_cores

#: Any of these above zero and the row's figures are those of a server that did not do its work.
WRONGS = ("lost", "doubled", "disordered", "foreign", "errors", "stalls")


LONGEST_SECONDS = 300

#: Whose costs are looked at as channels and subscribers grow.
SCALED = ("bide", "nchan")


@dataclass(frozen=True)
class Row:
    """`fresh` rows have a server of their own: memory that an earlier row has left, or its channels, would change them.
    A row is run for the servers that it names, else for all that are as shipped, and for those `beside` them. It takes
    `times` as long as others, and at least `least` seconds, however short a run is to be: in less there may be nothing
    to see."""

    name: str
    mode: str
    options: dict = field(default_factory=dict)
    fresh: bool = False
    servers: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    times: float = 1
    least: float = 0


#: None of these polls may end while it is measured.
PARKED = {"subscribers": 10_000, "timeout": 55}

ROWS = [
    Row("park", "park", PARKED, fresh=True),
    Row("fanout", "fanout", {"subscribers": 1000}, fresh=True, beside=("bide-redis", "bide-guarded")),
    Row("publish", "publish", {"publishers": 8}, beside=("bide-redis", "bide-guarded")),
    Row("catchup", "catchup", {"subscribers": 100, "backlog": 1000, "limit": 100}),
    Row("paced", "paced", {"channels": 1000, "subscribers": 1000, "rate": 1000}),
    Row("burst", "paced", {"subscribers": 1000, "rate": 3}, times=3, least=1),
    Row("fanout-100", "fanout", {"subscribers": 100}, fresh=True, servers=SCALED),
    Row("fanout-5000", "fanout", {"subscribers": 5000}, servers=SCALED),
    Row("pairs-100", "fanout", {"channels": 100, "subscribers": 100}, servers=SCALED),
    Row("publish-100", "publish", {"channels": 100, "publishers": 8}, servers=SCALED),
    Row("pairs-5000", "fanout", {"channels": 5000, "subscribers": 5000}, fresh=True, servers=SCALED),
    # One less than Bide keeps: the server was asked once whether it is there.
    Row("publish-10000", "publish", {"channels": 9999, "publishers": 8}, fresh=True, servers=SCALED),
    Row("park-browser", "park", PARKED | {"head": "browser"}, fresh=True, servers=SCALED),
    Row("park-behind", "park", PARKED | {"behind": 1}, fresh=True, servers=("bide",), least=1),
    Row("park-18000", "park", PARKED | {"subscribers": 18_000}, fresh=True, servers=("bide-18000",), least=1),
    Row("fanout-2", "fanout", {"subscribers": 1000}, fresh=True, servers=("bide-2",)),
    # Far from what any of them can do: what is measured is the way of an event, and no queue.
    Row("way", "paced", {"channels": 100, "subscribers": 100, "rate": 100}, servers=("bide", "bide-redis"), times=2),
]


def rows_of(server):
    return [
        row
        for row in ROWS
        if (server.name in row.servers if row.servers else server.is_shipped or server.name in row.beside)
    ]


def groups_of(server):
    """The rows that one start of the server serves."""
    groups = []
    for row in rows_of(server):
        if row.fresh or not groups:
            groups.append([])
        groups[-1].append(row)
    return groups


def for_the_load(core):
    """For the load generator's new process: it stays on the core. Where a worker shares that it waits until this rests:
    else each answer would take the core from the worker, as no client on another machine does."""
    keep_to_core = on_cores(core)

    def prepare():
        keep_to_core()
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    return prepare


def measure(running, row, seconds):
    """One run: what the load generator reports, or {"refused": why}."""
    _, core = cores()
    seconds = max(seconds * row.times, row.least)
    options = {"seconds": seconds, "warmup": min(2, seconds / 3), "prefix": row.name} | row.options
    words = [f"--{name}={value}" for name, value in options.items()]
    words += ["--port", str(running.port), "--pids", ",".join(map(str, running.pids()))]
    words += [f"--field={field}" for field in running.server.fields]
    words += ["--nchan"] if running.server.nchan else []
    try:
        result = subprocess.run(
            [BUILD / "load", row.mode, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
            preexec_fn=for_the_load(core),
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
