"""Medians, and the Markdown that tells them."""

from statistics import median

from .rows import cost

COLUMNS = [
    ("KiB a parked poll", "park", lambda report: report["kib_per_poll"]),
    ("CPU µs a second for it", "park", lambda report: report["cpu_us_per_poll_second"]),
    ("fan-out: deliveries/s", "fanout", lambda report: report["deliveries_per_second"]),
    ("CPU µs each", "fanout", cost),
    ("p99 ms", "fanout", lambda report: report["latency_ms"]["p99"]),
    ("publishes/s", "publish", lambda report: report["publishes_per_second"]),
    ("CPU µs each", "publish", cost),
    ("p99 ms", "publish", lambda report: report["publish_latency_ms"]["p99"]),
    ("catch-up: events/s", "catchup", lambda report: report["deliveries_per_second"]),
    ("CPU µs each", "catchup", cost),
    ("1,000 events/s: CPU µs each", "paced", cost),
    ("p99 ms", "paced", lambda report: report["latency_ms"]["p99"]),
]

GROWTH = [
    ("a delivery, 100 → 5,000 subscribers on a channel", "fanout-100", "fanout-5000"),
    ("a publish and its delivery, 100 → 5,000 channels of one subscriber", "pairs-100", "pairs-5000"),
    ("a publish, 1 → 9,999 channels", "publish", "publish-10000"),
    ("a publish, 100 → 9,999 channels", "publish-100", "publish-10000"),
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
