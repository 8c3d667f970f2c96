"""Medians, and the Markdown that tells them."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from .rows import cost
from .servers import SERVERS

TITLES = {server.name: server.title for server in SERVERS}


def kib(report):
    return report["kib_per_poll"]


def mib(report):
    """Of all its polls together, above what the server took before them."""
    return report["kib_per_poll"] * report["subscribers"] / 1024


def idle(report):
    """Per cent of a core, while all polls wait."""
    return 100 * report["server_cpu_seconds"] / report["seconds"]


def p99(report):
    """None where nothing came in time to be measured."""
    return report["latency_ms"]["p99"] if report["deliveries"] else None


def p50(report):
    """None where nothing came in time to be measured."""
    return report["latency_ms"]["p50"] if report["deliveries"] else None


def each(report):
    """From one delivery to the next, in µs."""
    return 1e6 / report["deliveries_per_second"] if report["deliveries"] else None


def smaller_part(report):
    """Per cent of the connections that the one of two workers has which has fewer."""
    fewer, more = sorted(report["server_descriptors"])[-2:]
    return 100 * fewer / (fewer + more)


COLUMNS = [
    ("KiB a parked poll", "park", kib),
    ("CPU µs a second for it", "park", lambda report: report["cpu_us_per_poll_second"]),
    ("fan-out: deliveries/s", "fanout", lambda report: report["deliveries_per_second"]),
    ("CPU µs each", "fanout", cost),
    ("p99 ms", "fanout", p99),
    ("3 events/s to 1,000: p99 ms", "burst", p99),
    ("publishes/s", "publish", lambda report: report["publishes_per_second"]),
    ("CPU µs each", "publish", cost),
    ("p99 ms", "publish", lambda report: report["publish_latency_ms"]["p99"]),
    ("catch-up: events/s", "catchup", lambda report: report["deliveries_per_second"]),
    ("CPU µs each", "catchup", cost),
    ("1,000 events/s: CPU µs each", "paced", cost),
    ("p99 ms", "paced", p99),
]

GROWTH = [
    ("a delivery, 100 → 5,000 subscribers on a channel", "fanout-100", "fanout-5000"),
    ("a publish and its delivery, 100 → 5,000 channels of one subscriber", "pairs-100", "pairs-5000"),
    ("a publish, 1 → 9,999 channels", "publish", "publish-10000"),
    ("a publish, 100 → 9,999 channels", "publish-100", "publish-10000"),
]


@dataclass(frozen=True)
class Aim:
    """What Bide's worker must reach: beside another server or itself (`least` or `most` times its figure, `more` than
    it), or alone."""

    title: str
    server: str
    row: str
    value: Callable
    beside: tuple[str, str] | None = None
    least: float | None = None
    most: float | None = None
    more: float | None = None


#: "least" where the other's figure is to be so many times ours, all of which are the better the smaller they are.
AIMS = [
    Aim("CPU µs of a delivery to 1,000", "bide", "fanout", cost, ("naive", "fanout"), least=4),
    Aim("CPU µs of a delivery to 1,000", "bide", "fanout", cost, ("aiohttp", "fanout"), least=1),
    Aim("CPU µs of a delivery to 1,000, -k gevent", "gevent", "fanout", cost, ("naive", "fanout"), least=1.1),
    Aim("CPU µs of a delivery to 1,000, two workers", "bide-2", "fanout-2", cost, ("bide", "fanout"), most=1.15),
    Aim("% of these connections at the one that has fewer", "bide-2", "fanout-2", smaller_part),
    Aim("p99 ms of one event to 1,000, at 3 events/s", "bide", "burst", p99, ("nchan", "burst"), most=1),
    Aim("KiB a parked poll of 10,000", "bide", "park", kib, most=2),
    Aim("KiB a parked poll of 10,000 with a browser's head", "bide", "park-browser", kib, most=2),
    Aim("idle CPU %, 10,000 polls with a byte behind each", "bide", "park-behind", idle, most=1),
    Aim(
        "µs from a delivery to the next, to 1,000, on Redis",
        "bide-redis",
        "fanout",
        each,
        ("bide", "fanout"),
        least=0.9,
    ),
    Aim(
        "CPU µs of a delivery, with tokens, limits, CORS", "bide-guarded", "fanout", cost, ("bide", "fanout"), least=0.9
    ),
    Aim("CPU µs of a publish, with tokens, limits, CORS", "bide-guarded", "publish", cost, ("bide", "publish")),
    Aim("p50 ms of an event, on Redis", "bide-redis", "way", p50, ("bide", "way"), more=1),
    Aim("CPU µs of a publish, on Redis", "bide-redis", "publish", cost, ("bide", "publish")),
    Aim("MiB of 18,000 parked polls", "bide-18000", "park-18000", mib, most=45),
    Aim("idle CPU % of 18,000 parked polls", "bide-18000", "park-18000", idle, most=1),
]


def middle(runs, value):
    """The median over the runs that were not refused; None where there is none."""
    values = [value(report) for report in runs if "refused" not in report]
    values = [found for found in values if found is not None]
    return median(values) if values else None


def told(number):
    if number is None:
        return "-"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def line(cells):
    return "| " + " | ".join(cells) + " |"


def of_servers(servers, results):
    """One line for each server."""
    lines = [line(["server", *(title for title, _, _ in COLUMNS)]), line(["---"] * (len(COLUMNS) + 1))]
    for server in servers:
        found = results[server.name]
        lines.append(line([server.title, *(told(middle(found.get(row, []), value)) for _, row, value in COLUMNS)]))
    return "\n".join(lines)


def of_growth(servers, results):
    """The cost at the small end and at the large end, and how many times the first the second is."""
    heads = [f"{server.title}: CPU µs, growth" for server in servers]
    lines = [line(["as it grows", *heads]), line(["---"] * (len(servers) + 1))]
    for title, small, large in GROWTH:
        cells = []
        for server in servers:
            low, high = (middle(results[server.name].get(row, []), cost) for row in (small, large))
            growth = f": {high / low:.2f} times" if low and high else ""
            cells.append(f"{told(low)} → {told(high)}{growth}")
        lines.append(line([title, *cells]))
    return "\n".join(lines)


def of_aims(results):
    """What the worker must reach, and whether it did."""
    heads = ["Bide's worker", "figure", "beside", "times", "aim", "reached"]
    lines = [line(heads), line(["---"] * len(heads))]
    for aim in AIMS:
        ours = middle(results.get(aim.server, {}).get(aim.row, []), aim.value)
        cells = [aim.title, told(ours), "-", "-", "-", "-"]
        judged = ours
        if aim.beside:
            server, row = aim.beside
            theirs = middle(results.get(server, {}).get(row, []), aim.value)
            cells[2] = f"{TITLES[server]}: {told(theirs)}"
            judged = None
            if ours and theirs:
                judged = theirs / ours if aim.least else ours - theirs if aim.more else ours / theirs
                cells[3] = f"{judged:+.2f}" if aim.more else f"{judged:.2f}"
        if bound := aim.least or aim.most or aim.more:
            cells[4] = f"at {'least' if aim.least else 'most'} {bound:g}" + (" more" if aim.more else "")
            if judged is not None:
                cells[5] = "yes" if (judged >= bound if aim.least else judged <= bound) else "**no**"
        lines.append(line(cells))
    return "\n".join(lines)
