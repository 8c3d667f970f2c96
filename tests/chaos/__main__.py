"""Everything that can happen to servers on Redis, at random, for so many minutes: scripts/chaos."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.phases import Phase
from tests.chaos.table import Outcome
from tests.support.redis_servers import binaries

#: Of a server's turn, roughly, where there is time for several, and what of it each sort of phase has: by whether
#: something may be lost.
TURN_SECONDS = 180
SHARES = {False: 0.8, True: 0.2}
#: Of a phase, for its end.
END_SECONDS = 5


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"scripts/chaos: {message}\n")


def minutes(text):
    count = float(text)
    if not 0 < count <= 24 * 60:
        raise ValueError(text)
    return count


def options():
    parser = Parser(
        prog="scripts/chaos", allow_abbrev=False, description="Everything that can happen to servers on Redis."
    )
    parser.add_argument(
        "--minutes", type=minutes, required=True, help="at least; each kind comes once, however long it takes"
    )
    parser.add_argument("--seed", type=int, help="what a run goes by, as far as processes can be repeated")
    parser.add_argument("--on", choices=("redis", "valkey"), help="this server alone; else both, by turns")
    return parser.parse_args()


def run(outcome, names, seconds, seed, folder):
    """The servers by turns, each with both sorts of phases, until the time is over."""
    found, begun = binaries(), time.monotonic()
    turns = names * max(1, round(seconds / len(names) / TURN_SECONDS))
    ends_at = begun - END_SECONDS
    phases = [(name, loses, share) for name in turns for loses, share in SHARES.items()]
    for number, (name, loses, share) in enumerate(phases):
        title = f"{name}, {'what it loses is told' if loses else 'nothing may be lost'}"

        def say(what, title=title):
            print(f"{time.monotonic() - begun:8.2f}  {title}: {what}", flush=True)

        say("servers start")
        its = folder / f"phase-{number}"
        its.mkdir()
        phase = Phase(found[name], its, f"{seed} {number}", loses=loses, brief=False, say=say)
        ends_at += seconds / len(turns) * share
        verdict = phase.run(outcome.rows[loses], ends_at - time.monotonic())
        outcome.take(loses, verdict, phase.figures(), title)
        say("well" if not verdict.details else f"{len(verdict.details)} things are wrong")


def interrupted(*_):
    # Once is enough: the next one would end it amid the end of what it started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    asked = options()
    names = [asked.on] if asked.on else ["redis", "valkey"]
    if missing := [name for name in names if not binaries().get(name)]:
        sys.exit(f"scripts/chaos: there is no server of {' and '.join(missing)} here")
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    seed = random.randrange(1, 1_000_000) if asked.seed is None else asked.seed
    folder, outcome, begun = Path(tempfile.mkdtemp(prefix="bide-chaos-")), Outcome(), time.monotonic()
    was_interrupted = False
    try:
        run(outcome, names, asked.minutes * 60, seed, folder)
    except KeyboardInterrupt:
        was_interrupted = True
    title = f"scripts/chaos --seed {seed}, on {' and '.join(names)}: {time.monotonic() - begun:.0f} s"
    print("\n" + outcome.table(f"{title}, {outcome.phases} phases"))
    faults = ["it was interrupted"] if was_interrupted else outcome.faults()
    if faults:
        print("\n" + "\n".join(f"WRONG: {fault}" for fault in faults))
    if outcome.details:
        print(f"\nWhat the servers wrote is in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(130 if was_interrupted else 1 if faults else 0)


main()
