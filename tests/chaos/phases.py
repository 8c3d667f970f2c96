"""A phase of chaos: a Redis server, two servers of two workers on it and nginx before them, a load, and what happens.

Each thing hits while publishes are on their way, and what it forced is awaited before the next one comes, or not:
then it is counted with what the next one forced. A phase in which nothing may be lost is apart from one in which Redis
loses something, which must be told.
"""

import contextlib
import math
import random
import re
import time
import traceback
from collections import Counter

from tests.chaos.faults import OPTIONS, Faults
from tests.chaos.table import Row
from tests.support.deck import Deck
from tests.support.proxies import Proxy
from tests.support.redis_servers import RedisServer
from tests.support.scaled_out import ScaledOut, since
from tests.support.servers import await_that
from tests.support.tcp_proxy import TcpProxy
from tests.support.verdict import Verdict

#: Within this whatever a fault forces has come of it.
WITHIN_SECONDS = 10
#: How often what happens next waits for what the last one forced, and how often it is seen that nobody is deaf.
WAITS, PULSES = 0.7, 0.2
#: So many publishes are awaited to be on their way before anything happens to them.
IN_FLIGHT = 2
#: At most, between two publishes of one publisher: who takes one event at a time must not fall behind for good.
PAUSE_SECONDS = 0.6
#: The same of a brief phase, and its followers: fewer, which can have more.
BRIEF_LOAD = {"pause": 0.4, "count": 40}
#: Listeners take so much silence for a dead connection, and calls for an answer that will not come, in short phases.
BRIEF_SECONDS = 1.5
#: Housekeeping comes round as often as it can, so that much of it is hit.
ENV = {"BIDE_INSECURE": 1, "TEST_SWEEP_SECONDS": 1}


class Phase:
    """On one server, by its binary. `loses`: of the other sort. `brief`: with the times of tests, and no longer than
    each kind takes to come once."""

    def __init__(self, binary, folder, seed, *, loses, brief, say):
        self.loses = loses
        self._chance = random.Random(f"chaos {seed}")
        self._seed = seed
        self._folder = folder
        self._brief = brief
        self._say = say
        self._binary = binary

    def run(self, rows, seconds=0.0):
        """So long, and until each kind has come: what came of it. `rows` are by kind, to be added to."""
        ends_at = time.monotonic() + seconds
        with contextlib.ExitStack() as stack:
            fsync = "everysec" if self.loses else "always"
            store = RedisServer(self._binary, self._folder / "redis", appendfsync=fsync, **OPTIONS)
            self._store = stack.enter_context(store)
            self._network = stack.enter_context(TcpProxy(store.port, self._seed))
            self.load = stack.enter_context(self._loaded(stack))
            faults = Faults(self.load, store, self._network, self._chance, brief=self._brief)
            try:
                verdict = self._go_through(faults.losing if self.loses else faults.keeping, rows, ends_at)
            except Exception:
                # Whatever ended it: in a run of hours the others go on.
                verdict = Verdict()
                verdict.find("ended", 1, f"amid {self._doing}: {traceback.format_exc()}")
            for error in re.findall(r"Traceback(?:\n.*){1,30}", self.load.log()):
                verdict.find("errors", 1, error)
            return verdict

    def _go_through(self, kinds, rows, ends_at):
        for name, kind in kinds.items():
            rows.setdefault(name, Row(kind))
        deck, done, gaps = Deck(kinds, self._chance), Counter(), 0
        self._doing, self._seen = "its begin", self._look()
        while time.monotonic() < ends_at or len(done) < len(kinds):
            name = self._doing = deck.deal()
            self._say(name)
            done[name] += 1
            gaps += kinds[name].gaps
            self._inject(kinds[name], rows[name], waits=done[name] == 1 or self._chance.random() < WAITS)
            if not self._brief and self._chance.random() < PULSES:
                self.load.pulse()
        self._doing = "its end"
        self.load.pulse()
        await_that(self._is_named, within=WITHIN_SECONDS)
        # After a loss a gap may be told again and again: an index that was evicted is doubted until all have named
        # their channels to it anew, and meanwhile each look at a channel that is gone tells of it.
        return self.load.verdict(self.load.settle(), loses=self.loses, gaps=math.inf if self.loses else gaps)

    def _loaded(self, stack):
        """Clients come to one of the servers, or to nginx before both, by chance."""
        url, more = self._network.url, {"pause": PAUSE_SECONDS}
        if self._brief:
            url, more = f"{url}?socket_timeout={BRIEF_SECONDS}", BRIEF_LOAD | {"TEST_DEAF_SECONDS": BRIEF_SECONDS}
        load = ScaledOut(self._folder, url, seed=self._seed, **ENV, **more)
        upstream = "; server ".join("{}:{}".format(*server.address) for server in load.servers)
        load.doors.servers = [*load.servers, stack.enter_context(Proxy(self._folder / "nginx", upstream))]
        return load

    def _inject(self, kind, row, *, waits):
        row.in_flight.append(self.load.await_publishes(IN_FLIGHT))
        hit = kind.do()
        if waits:
            self.load.go_on(5)
        ends_at = time.monotonic() + WITHIN_SECONDS
        while True:
            now = self._look()
            forced = forced_between(self._seen, now)
            if not waits or all(forced[what] for what in kind.forces) or time.monotonic() > ends_at:
                break
        self._seen = now
        row.forced += forced + Counter(hit=hit)

    def _look(self):
        """Everything that a fault may force, as counted so far: by whom, and how much."""
        self.load.check()
        jobs = list(self.load.ledger.jobs)
        seen = {
            "load": Counter(
                connections=self._network.opened,
                refused=sum(job.refusals for job in jobs),
                cut=sum(job.cuts for job in jobs),
                replayed=sum(job.replayed for job in jobs),
                gaps=self.load.told(),
            ),
            f"redis {self._store.process.pid}": Counter(scripts=self._store.calls()["script|load"]),
            "index": Counter({"named again": self._is_named()}),
        }
        return seen | {f"worker {pid}": counts for pid, counts in self.load.hearing().items()}

    def _is_named(self):
        with contextlib.closing(self._store.client) as client:
            return client.zcard("{bide}:channels") > len(self.load.ledger.newest)

    def figures(self):
        jobs, followers = self.load.ledger.jobs, list(self.load.followers)
        return Counter(
            {
                "publishes acknowledged": sum(job.ids is not None for job in jobs),
                "events acknowledged": sum(len(job.uids) for job in jobs if job.ids is not None),
                "events delivered": self.load.delivered(),
                "gaps told": self.load.told(),
                "publishes refused (503)": sum(job.refusals for job in jobs),
                "publishes cut, and repeated": sum(job.cuts for job in jobs),
                "publishes answered as replayed": sum(job.replayed for job in jobs),
                "subscribers' polls": sum(each.polls for each in followers),
                "polls refused (503)": sum(each.statuses[503] for each in followers),
                "workers met": len({pid for each in followers for pid in each.pids}),
            }
        )


def forced_between(before, after):
    """What came between two looks. A worker or a Redis that began since has counted from nothing on."""
    forced = since(before, after)
    forced["named again"] = after["index"]["named again"]
    forced["workers"] = sum(name.startswith("worker") for name in before.keys() ^ after.keys())
    return forced
