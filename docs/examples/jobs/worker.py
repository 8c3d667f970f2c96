"""Books each payment of the channel `jobs` once: `python worker.py http://127.0.0.1:8000 FOLDER`.

Kill it whenever you like, and start it again: it leaves no job out and does none twice.
"""

import sqlite3
import sys
from pathlib import Path

from bide.client import Client, Gap

SCHEMA = """
CREATE TABLE IF NOT EXISTS done (job INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS booked (entry INTEGER PRIMARY KEY AUTOINCREMENT, payment INTEGER, amount INTEGER);
"""


def give_up(gap: Gap) -> None:
    """Jobs that were not kept until we came cannot be done: for a person to see, not to be passed over."""
    sys.exit(f"jobs after {gap.after} are gone; the oldest that is left is {gap.oldest_event_id}")


def main(url: str, folder: Path) -> None:
    database = sqlite3.connect(folder / "worker.db")
    database.executescript(SCHEMA)
    with Client(url) as bide:
        # The cursor moves when the next job is asked for. Whoever dies before that is given the last one again.
        for event in bide.subscribe("jobs", cursor_file=folder / "worker.cursor", on_gap=give_up):
            with database:  # one transaction: the job is done, and known to be done, or neither
                new = database.execute("INSERT INTO done VALUES (?) ON CONFLICT DO NOTHING", (event.id,)).rowcount
                if new:
                    payment, amount = event.message["payment"], event.message["amount"]
                    database.execute("INSERT INTO booked (payment, amount) VALUES (?, ?)", (payment, amount))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
