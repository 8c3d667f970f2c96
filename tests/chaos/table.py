"""What a run of phases came to, for people and for an exit code."""

from collections import Counter

#: What a fault may force, as the columns are headed.
FORCED = ("hit", "connections", "reconnects", "reads", "rereads", "refused", "cut", "workers", "scripts", "gaps")
LEGEND = """\
in flight: publishes on their way when it came, least and most; hit: connections, pieces of what passes on them,
workers, keys or servers; then what came until the next one: connections opened to Redis, listeners connected anew,
streams read by these, and of them read since an announcement did not follow; publishes refused and cut; workers that
came and went; scripts loaded; gaps that subscribers were told"""


class Row:
    """What became of one kind of fault in all phases."""

    def __init__(self, kind):
        self.kind = kind
        self.in_flight = []
        self.forced = Counter()

    def faults(self):
        """What is missing for it to have been one."""
        if not self.in_flight:
            return ["was not injected"]
        missing = [f"forced nothing: {what}" for what in ("hit", *self.kind.forces) if not self.forced[what]]
        return missing + ["came while no publish was in flight"] * (min(self.in_flight) == 0)

    def cells(self):
        flying = f"{min(self.in_flight)}-{max(self.in_flight)}" if self.in_flight else "-"
        return [len(self.in_flight), flying, *(self.forced[what] or "" for what in FORCED)]


class Outcome:
    """Of all phases so far."""

    def __init__(self):
        self.phases = 0
        self.figures = Counter()
        #: By whether something may be lost: rows by kind, what was found, and how many events the store has lost.
        self.rows = {False: {}, True: {}}
        self.found = {False: Counter(), True: Counter()}
        self.gone = Counter()
        self.details = []

    def take(self, loses, verdict, figures, name):
        """Add a phase."""
        self.phases += 1
        self.found[loses] += verdict.counts
        self.gone[loses] += verdict.gone
        self.figures += figures
        self.details += [f"{name}: {detail}" for detail in verdict.details]

    def faults(self):
        """Everything that is not as it must be."""
        faults = list(self.details)
        for rows in self.rows.values():
            faults += [f"{name}: {fault}" for name, row in rows.items() for fault in row.faults()]
        if self.rows[True] and not (self.gone[True] and self.figures["gaps told"]):
            faults.append("nothing was lost where something may be")
        return faults

    def table(self, title):
        lines = [title, ""]
        head = ["times", "in flight", *FORCED]
        for loses, rows in self.rows.items():
            heading = "what Redis loses is told" if loses else "nothing may be lost"
            lines.append(_line(heading, head, head))
            lines += [_line(f"  {name}", row.cells(), head) for name, row in rows.items()]
            found = {"lost": 0, "doubled": 0, "disordered": 0} | ({} if loses else {"gaps told of nothing": 0})
            found |= self.found[loses]
            lines.append("  " + ", ".join(f"{what}: {count}" for what, count in found.items()))
            if loses:
                lines.append(f"  acknowledged events that Redis has lost: {self.gone[loses]:,}")
            lines.append("")
        lines += [LEGEND, ""]
        return "\n".join(lines + [f"{count:9,}  {name}" for name, count in self.figures.items()])


def _line(name, cells, head):
    return f"{name:<46}" + "".join(
        f"{cell!s:>{max(7, len(title) + 2)}}" for cell, title in zip(cells, head, strict=True)
    )
