"""Everything that can happen to a server of several workers on one file, at random.

What happens is dealt from a shuffled deck, so that each kind comes before any comes again. What lasts (a lock, a worker
that stands still, a second server) goes on beside what happens next.
"""

import contextlib
import itertools
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter

from tests.gunicorn.test_publisher_process import publishing_program, url_of
from tests.gunicorn.test_store_trouble import limit_files
from tests.support.clients import Herd, Line, get, post, reset, subscription
from tests.support.crowd import DELETED, DURABLE, SILENT, SMALL, Patient, content
from tests.support.deck import Deck
from tests.support.servers import ROOT, Server, await_that, environment, is_running

#: How long everybody may take to have what was published while everything is well, or soon is again.
PULSE_SECONDS = 40
#: What was on its way when publishers paused has come by then, unless something hinders it.
QUIET_SECONDS = 0.2
#: What lasts goes on at once with so many of its kind.
AT_ONCE = 2


class Chaos:
    """What happens to a server that runs. `done` counts it by its kind; `faults` is what must not have come of it."""

    #: The kinds that start something, which a file that is locked for more than 5 s refuses: they wait for its end.
    #: A worker that is started anew is not among them: it is started again until it can.
    STARTING = (
        "kill -9 of the master, start",
        "kill -9 of everything, start",
        "SIGTERM, start",
        "a second server for seconds",
        "a publisher in a process of its own",
    )

    def __init__(self, server, doors, ledger, followers, folder, seed):
        self.server = server
        self.doors = doors
        self.ledger = ledger
        self.followers = followers
        self.folder = folder
        self.chance = random.Random(f"chaos {seed}")
        self.patient = Patient(doors, ledger)
        self.faults = []
        self.logs = [server.log]
        #: When the last delete was answered.
        self.deleted_at = 0.0
        self._lasting = []
        self._locked = False
        self.kinds = {
            "kill -9 of a worker": self.kill_worker,
            "kill -9 of a worker within a publish": self.kill_within_publish,
            "kill -9 of a worker before its answer": self.kill_before_answer,
            "kill -9 of the master, start": self.kill_master,
            "kill -9 of everything, start": self.kill_everything,
            "SIGHUP": self.reload,
            "SIGTERM, start": self.stop_and_start,
            "TTIN: one worker more": self.one_more,
            "TTOU: one worker less": self.one_less,
            "SIGSTOP of a worker, SIGCONT": lambda: self.beside(self.stop_worker),
            "a second server for seconds": lambda: self.beside(self.second_server),
            "a publisher in a process of its own": lambda: self.beside(self.program),
            "a lock on the file, up to 2 s": lambda: self.beside(self.lock),
            "a lock on the file, over 5 s": self.long_lock,
            "the disk full for a moment": self.full_disk,
            "the wake-up sockets removed": self.remove_sockets,
            "a flood of aborted connections": self.flood,
            "DELETE of a channel": self.delete,
            "a backup, verified": lambda: self.beside(self.back_up),
        }
        self.done = Counter(dict.fromkeys(self.kinds, 0))

    def run(self, seconds, at_work):
        """Let it happen for so long, and each kind at least once; no longer than all who are at work go on."""
        begun, deck = time.monotonic(), Deck(self.kinds, self.chance)
        while time.monotonic() < begun + seconds or not all(self.done.values()):
            if self.faults or not all(each.is_alive() for each in at_work):
                break
            kind = deck.deal(lambda kind: not self._locked or kind not in self.STARTING)
            if kind is None:
                self.await_lasting(0)
                continue
            if "lock" in kind or "SIGSTOP" in kind:
                self.await_lasting(0)  # or two of them would last together for longer than a store waits
            print(f"{time.monotonic() - begun:8.2f} {kind}")
            self.kinds[kind]()
            self.done[kind] += 1
            if self.chance.random() < 0.3:
                self.pulse()
            time.sleep(self.chance.uniform(0.05, 0.5))
        self.await_lasting(0)

    def pulse(self, habits=("steady",)):
        """Publish to every channel, and see that all of such habits have it soon: no worker has gone deaf.

        Nobody else publishes meanwhile: what comes later makes good what was lost.
        """
        self.doors.work.clear()
        time.sleep(QUIET_SECONDS)
        jobs = [self.ledger.job([channel]) for channel in (*DURABLE, SMALL, DELETED)]
        for job in jobs:
            self.patient.publish(job)
        ids = {channel: id for job in jobs for channel, (id,) in job.ids.items()}
        deadline = time.monotonic() + PULSE_SECONDS
        listening = [each for each in self.followers if each.habit in habits and SILENT not in each.channels]
        while late := [
            each for each in listening if not all(each.has(channel, ids[channel]) for channel in each.channels)
        ]:
            self.followers.check()
            if time.monotonic() > deadline:
                self.faults.append(f"{[each.name for each in late]} did not get {ids}")
                break
            time.sleep(0.005)
        self.doors.work.set()

    def beside(self, what):
        """Let it go on beside what happens next."""
        self.await_lasting(AT_ONCE - 1)

        def run():
            try:
                what()
            except BaseException as error:
                self.faults.append(f"{what.__name__}: {error!r}")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._lasting.append(thread)

    def await_lasting(self, most):
        """Wait until no more than so many go on."""
        while len(self._lasting) > most:
            self._lasting.pop(0).join()

    def worker(self):
        return self.chance.choice(await_that(self.server.worker_pids))

    def start(self):
        time.sleep(self.chance.choice((0, 0, 0.2, 0.7)))
        self.server.workers = 2
        self.server.start()

    def kill_worker(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.worker(), signal.SIGKILL)

    def kill_within_publish(self):
        """Before it, or at a statement of its transaction or of what comes after it."""
        job = self.ledger.job([self.chance.choice(DURABLE)], self.chance.choice((1, 50)))
        self.patient.publish(job, f"X-Die: {self.chance.choice(('before', *range(1, 10)))}")

    def kill_before_answer(self):
        """It is stored, and the publisher cannot know; unless the store was in trouble just then."""
        while True:
            job = self.ledger.job([self.chance.choice(DURABLE)], self.chance.choice((1, 50)))
            self.patient.publish(job, "X-Die: after")
            if job.replayed:
                break

    def kill_master(self):
        """Its workers see it within a second; until then they serve beside the new ones."""
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.process.wait()
        self.start()

    def kill_everything(self):
        self.server.kill9()
        self.start()

    def reload(self):
        self.server.process.send_signal(signal.SIGHUP)
        self.server.workers = 2

    def stop_and_start(self):
        code, took = self.server.terminate()
        if code != 0 or took > 20:
            self.faults.append(f"SIGTERM: the exit code was {code}, after {took:.1f} s")
        self.start()

    def one_more(self):
        self.server.process.send_signal(signal.SIGTTIN)
        self.server.workers += 1

    def one_less(self):
        self.server.process.send_signal(signal.SIGTTOU)
        self.server.workers = max(1, self.server.workers - 1)

    def stop_worker(self):
        pid = self.worker()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self.chance.uniform(0.3, 3))
            os.kill(pid, signal.SIGCONT)

    def second_server(self):
        folder = self.folder / f"second-{len(self.logs)}"
        second = Server(folder, inspected=True, env=self.server.env, workers=self.chance.choice((1, 2)))
        second.data = self.server.data
        self.logs.append(second.log)
        with second:
            self.doors.servers.append(second)
            time.sleep(self.chance.uniform(1, 3))
            self.doors.servers.remove(second)
            time.sleep(0.2)  # who has just connected sends its request
            code, _ = second.terminate()
            if code != 0:
                self.faults.append(f"the second server ended with {code}")

    def program(self):
        with publishing_program(url_of(self.server), self.folder) as program:
            for _ in range(self.chance.randint(5, 30)):
                job = self.ledger.job([self.chance.choice(DURABLE)])
                order = {"channel": job.channels[0], "message": content(job.uids[0]), "key": job.key}
                while job.ids is None:
                    answer = program.order(**order)
                    if "given" in answer:
                        job.ids = {job.channels[0]: [answer["given"]]}
                    else:
                        assert answer["error"] == "StoreUnavailable", answer
                        job.refusals += 1
                self.ledger.acknowledged(job)

    def lock(self):
        self._hold_lock(self.chance.uniform(0.1, 2))

    def long_lock(self):
        self.await_opened()
        self._locked = True
        self.beside(lambda: self._hold_lock(6))

    def await_opened(self):
        """Every worker has opened the file, or the server that has just been started would stop where it cannot be."""
        time.sleep(0.3)  # the master has begun what it was last told to
        self.server.await_ready()
        opened = set()
        while not opened.issuperset(self.server.worker_pids()):
            with Line(self.server) as line:
                answer = line.ask(get("/healthz", "Connection: close"))
                opened |= {answer.pid} if answer else set()

    def _hold_lock(self, seconds):
        try:
            with contextlib.closing(sqlite3.connect(self.server.database, timeout=30, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
                other.execute("ROLLBACK")
        finally:
            self._locked = False

    def full_disk(self):
        self.await_opened()
        self.beside(self._fill_disk)

    def _fill_disk(self):
        for size in (4096, resource.RLIM_INFINITY):
            limit_files(self.server, size)
            time.sleep(self.chance.uniform(0.3, 1.5))

    def remove_sockets(self):
        for path in self.server.database.with_name("bide.db-listeners").iterdir():
            path.unlink(missing_ok=True)
        self.pulse()

    def flood(self):
        whole = subscription(SILENT)
        with Herd(self.server) as herd:
            for _ in range(self.chance.randint(20, 60)):
                # A poll, a part of its head, nothing at all, and half a publish.
                for request in (whole, whole[:40], b"", post(f"/publish/{SILENT}", {"message": "x" * 200})[:-100]):
                    with contextlib.suppress(ConnectionError):
                        herd.add(request)
            time.sleep(self.chance.uniform(0, 0.3))
            herd.leave(reset)

    def delete(self):
        """Amid what others publish, or of the file's newest event, with nothing after it but what must be heard."""
        quiet = self.chance.random() < 0.5
        if not self.deleted_at:
            # Who has no event yet asks from the oldest on, and is told of no gap: what is gone was none of his.
            self.patient.publish(self.ledger.job([DELETED]))
            theirs = [each for each in self.followers.all if DELETED in each.channels]
            await_that(lambda: all(each.ids[DELETED] for each in theirs))
        if quiet:
            self.doors.work.clear()
            self.patient.publish(self.ledger.job([DELETED]))
        self.patient.insist(b"DELETE /channels/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % DELETED.encode(), 204)
        self.deleted_at = time.monotonic()
        if quiet:
            self.pulse()

    def back_up(self):
        copy = self.folder / f"copy-{self.done['a backup, verified']}.db"
        before = {channel: self.ledger.newest[channel] for channel in DURABLE}
        command = [sys.executable, "-m", "app.backup", str(copy), str(self.server.database)]
        subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True, timeout=60)
        with contextlib.closing(sqlite3.connect(copy)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            heads = dict(database.execute("SELECT channel, head FROM channels"))
        assert all(heads.get(channel, 0) >= id for channel, id in before.items()), "it lacks what was acknowledged"
        copy.unlink()

    def finish(self):
        """Stop the server, and see that nothing of it stays behind."""
        pids = self.server.worker_pids()
        code, _ = self.server.terminate()
        if code != 0:
            self.faults.append(f"it ended with {code}")
        await_that(lambda: not any(map(is_running, pids)))
        left = sorted(each.name for each in self.server.data.rglob("*"))
        if left != ["bide.db", "bide.db-listeners"]:
            self.faults.append(f"it left {left} behind")
        for log in self.logs:
            self.faults += unexplained(log.read_text(errors="replace"))


def unexplained(text):
    """The tracebacks of a log, but for those of what could not be written into it while the disk was full."""
    parts = text.split("Traceback")
    return [after[-3000:] for before, after in itertools.pairwise(parts) if not before.endswith("Logging error ---\n")]
