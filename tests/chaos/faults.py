"""What can happen to two servers on one Redis server, to that, and to the network between them, one thing at a time.

Each kind does it whole, so that afterwards all could be well, and returns how many it hit: connections, pieces of what
passes on them, workers, keys, or servers.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.support.crowd import DURABLE, Patient
from tests.support.servers import await_that, is_running

#: More than a listener's output buffer takes (see OPTIONS), of no meaning to those that hear it. Large ones would be in
#: it by reference.
FLOOD = 400, b'{"by": "", "kind": "noise", "data": "%s"}' % (b"x" * 5000)
#: Of Redis' configuration, for both kinds of phases.
OPTIONS = {"appendonly": "yes", "client_output_buffer_limit": "pubsub 1mb 512kb 5"}
#: Off the end of the append-only file: what a machine that goes down has not written, some ten events.
TAIL_BYTES = 5000


class Kind(NamedTuple):
    """`forces` is what it must be seen to have forced, each at least once in a run. `gaps`: how many each follower may
    be told for it in each channel, where nothing is lost."""

    do: Callable[[], int]
    forces: tuple[str, ...]
    gaps: int = 0


class Faults:
    """All kinds, to be done to one load. Those of `keeping` lose nothing, those of `losing` do."""

    def __init__(self, load, store, network, chance, *, brief):
        self._load = load
        self._store = store
        self._network = network
        self._chance = chance
        #: For how long Redis stands still: longer than a listener waits for a word.
        self._still = (2, 2) if brief else (6, 15)
        self._moment = (0.3, 0.6) if brief else (0.5, 3)
        heard_anew = ("connections", "reconnects", "reads")
        self.keeping = {
            "CLIENT KILL of connections that ask": Kind(lambda: self._kill("normal"), ("connections",)),
            "CLIENT KILL of connections that listen": Kind(self._kill_listeners, heard_anew),
            "kill -9 of Redis and start, AOF always": Kind(self._restart, (*heard_anew, "scripts"), gaps=1),
            "SCRIPT FLUSH": Kind(self._flush_scripts, ("scripts",)),
            "SIGSTOP of Redis": Kind(self._stop, heard_anew),
            "DEBUG SLEEP": Kind(self._sleep, heard_anew),
            "output buffers overrun by a flood": Kind(self._flood, heard_anew),
            "network: slow": Kind(self._slow, ()),
            "network: connections cut": Kind(self._cut, ("connections",)),
            "network: answers and questions torn": Kind(self._tear, ("connections",)),
            "network: open, nothing comes up": Kind(lambda: self._swallow("up"), ("connections", "refused")),
            "network: open, nothing comes down": Kind(lambda: self._swallow("down"), (*heard_anew, "refused")),
            "network: open, listeners hear nothing": Kind(lambda: self._swallow("down", listeners=True), heard_anew),
            "kill -9 of a worker": Kind(self._kill_worker, ("workers",)),
            "kill -9 of a worker before its answer": Kind(self._kill_before_answer, ("workers", "replayed")),
            "SIGHUP: other workers": Kind(self._reload, ("workers",)),
            "SIGTTIN: a worker more": Kind(self._one_more, ("workers",)),
            "SIGTTOU: a worker less": Kind(self._one_less, ("workers",)),
        }
        self.losing = {
            "kill -9 of Redis, the AOF's tail lost": Kind(self._lose_tail, (*heard_anew, "gaps")),
            "FLUSHALL": Kind(self._flush_all, ("reads", "gaps")),
            "a stream evicted": Kind(lambda: self._evict("s"), ()),  # who has all is told of nothing
            "a hash evicted": Kind(lambda: self._evict("h"), ("gaps",)),
            "a channel and the base evicted": Kind(lambda: self._evict("shkx", "{bide}:base"), ("gaps",)),
            "the index of channels evicted": Kind(lambda: self._evict("", "{bide}:channels"), ("named again",)),
        }

    def _seconds(self, between):
        return self._chance.uniform(*between)

    def _client(self):
        return contextlib.closing(self._store.client)

    # -- Redis

    def _kill(self, type):
        with self._client() as client:
            return client.execute_command("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")

    def _kill_listeners(self):
        """And again amid the last publishes for a while, which only the streams tell of."""
        hit = self._kill("pubsub")
        self._load.pulse(amid=lambda: self._kill("pubsub"))
        return hit

    def _restart(self):
        self._store.kill()
        time.sleep(self._seconds(self._moment))
        self._store.start()
        return 1

    def _lose_tail(self):
        self._store.kill()
        self._store.lose(TAIL_BYTES)
        self._store.start()
        return 1

    def _flush_scripts(self):
        with self._client() as client:
            return int(client.script_flush())

    def _flush_all(self):
        with self._client() as client:
            return client.dbsize() * client.flushall()

    def _stop(self):
        self._store.signal(signal.SIGSTOP)
        try:
            time.sleep(self._seconds(self._still))
        finally:
            self._store.signal(signal.SIGCONT)
        return 1

    def _sleep(self):
        with self._client() as client:
            client.execute_command("DEBUG", "SLEEP", min(8, self._seconds(self._still)))
        return 1

    def _flood(self):
        count, message = FLOOD
        with self._client() as client, client.pipeline(transaction=True) as flood:
            for _ in range(count):
                flood.publish("{bide}:controls:0", message)
            return flood.execute()[0]

    def _evict(self, parts, *more):
        channel = self._chance.choice(DURABLE)
        with self._client() as client:
            return client.delete(*(f"{{bide:{channel}}}:{part}" for part in parts), *more)

    # -- the network

    def _slow(self):
        before = self._network.delayed
        self._network.delay = 0.05
        time.sleep(self._seconds(self._moment))
        self._network.heal()
        return self._network.delayed - before

    def _cut(self):
        """Until others were opened: a worker has some to spare."""
        before, opened = self._network.cuts, self._network.opened
        await_that(lambda: self._network.cut(0.5) or self._network.opened > opened, step=0.05)
        return self._network.cuts - before

    def _tear(self):
        """Until others were opened, as well."""
        before, opened = self._network.truncated, self._network.opened
        self._network.truncates = 0.1
        await_that(lambda: self._network.truncated > before + 2 and self._network.opened > opened)
        self._network.heal()
        return self._network.truncated - before

    def _swallow(self, way, *, listeners=False):
        """New connections are whole; those that have lost something stay as they are."""
        before = self._network.swallowed
        self._network.only_pubsub, self._network.swallows = listeners, frozenset([way])
        await_that(lambda: self._network.swallowed > before + 10)
        self._network.heal()
        return self._network.swallowed - before

    # -- workers

    def _kill_worker(self):
        server = self._chance.choice(self._load.servers)
        pid = self._chance.choice(server.worker_pids())
        os.kill(pid, signal.SIGKILL)
        await_that(lambda: not is_running(pid))
        server.await_ready()
        return 1

    def _kill_before_answer(self):
        """It is stored, and the publisher cannot know."""
        patient = Patient(self._load.doors, self._load.ledger)
        job = self._load.ledger.job([self._chance.choice(DURABLE)], self._chance.choice((1, 50)))
        patient.publish(job, "X-Die: after")
        patient.leave()
        for server in self._load.servers:
            server.await_ready()
        return job.cuts

    def _reload(self):
        server = self._chance.choice(self._load.servers)
        server.workers = 2
        return len(server.hup())

    def _one_more(self):
        min(self._load.servers, key=lambda server: server.workers).one_more()
        return 1

    def _one_less(self):
        max(self._load.servers, key=lambda server: server.workers).one_less()
        return 1
