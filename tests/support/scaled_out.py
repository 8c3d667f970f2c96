"""Two servers of two workers each on one Redis server, under load, and what must hold of it.

Publishers repeat until they are acknowledged, each job under a key of its own; subscribers hop from worker to worker
and from server to server. Nothing is ever trimmed.
"""

import bisect
import contextlib
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.support.clients import Line, get
from tests.support.crowd import DURABLE, ENV, Doors, Ledger, Patient, Publishing, Wanderer, Wanderers, uid_of
from tests.support.servers import Server, await_that
from tests.support.verdict import Verdict

PUBLISHERS = 8
FOLLOWERS = 60
#: At most, between two publishes of one publisher: the faults are what a worker has to do.
PAUSE_SECONDS = 0.15
#: How long a publish may take, through whatever happens.
SETTLE_SECONDS = 40
#: So long after the last fault no worker is deaf. Without an event for so long somebody who is behind is not slow but
#: deaf; less than a poll lasts, whose end cures it.
DEAF_SECONDS = 10


class Keyed(Publishing):
    """Publishes to durable channels under keys alone: a job that was not answered is repeated until it is."""

    #: The one that it is at, or was at last.
    job = None

    def work(self):
        channel = self.chance.choice(DURABLE)
        self.job = self.ledger.job([channel], self.chance.choice((1, 1, 1, 2, 7)))
        self.patient.publish(self.job)


def followers(count, seed):
    """So many: of one channel and of all, with limits and without, each hopping. Some are always behind: what a server
    loses, they have not got yet."""
    its = []
    for number in range(count):
        channels = DURABLE if number % 3 == 0 else (DURABLE[number % len(DURABLE)],)
        limit = (1000, None, 20, 7)[number % 4]
        habit = {4: "slow", 9: "leaving"}.get(number % 10, "steady")
        limit = limit if habit == "steady" else 1000  # or it would be hours behind
        its.append(Wanderer(channels, limit, habit=habit, hop=1 + number % 5, timeout=20, seed=f"{seed} {number}"))
    return its


class ScaledOut:
    """The servers and their clients, from entry to exit of a `with` block."""

    def __init__(self, folder, url, *, servers=2, workers=2, count=FOLLOWERS, pause=PAUSE_SECONDS, seed=0, **env):
        env = ENV | {"BIDE_STORE": url} | env
        self.servers = [
            Server(folder / f"server-{number}", workers=workers, inspected=True, env=env) for number in range(servers)
        ]
        self.doors = Doors(self.servers[0], seed)
        self.doors.servers = self.servers
        self.ledger = Ledger()
        self.publishers = [
            Keyed(self.doors, self.ledger, f"{number} {seed}", pause, channels=DURABLE) for number in range(PUBLISHERS)
        ]
        self.followers = Wanderers(self.doors, followers(count, seed))
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            with ThreadPoolExecutor() as starting:
                list(starting.map(self._stack.enter_context, self.servers))
            self._begun = self.hearing()
            self._stack.enter_context(self.followers)
            for publisher in self.publishers:
                publisher.start()
            self.go_on(20)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_):
        for publisher in self.publishers:
            publisher.stopping = True
        self._stack.close()

    def acknowledged(self):
        """Per channel and id the number of each event that was acknowledged."""
        return {
            (channel, id): uid
            for job in list(self.ledger.jobs)
            if job.ids is not None
            for channel, ids in job.ids.items()
            for id, uid in zip(ids, job.uids, strict=True)
        }

    def forced(self):
        """What the workers' listeners had to do over since the load began; see tests/support/inspected.py."""
        return since(self._begun, self.hearing())

    def hearing(self):
        """The same of each worker that runs, since it started."""
        done = {}
        for server in self.servers:
            while not done.keys() >= set(server.worker_pids()):
                with contextlib.suppress(ConnectionError), Line(server) as line:
                    answer = line.ask(get("/-test-/hearing"))
                    if answer is not None:
                        done[answer.pid] = Counter(answer.json())
        return done

    def await_publishes(self, least=1):
        """A moment at which so many publishes are on their way: then something is to happen to them. Returns how many
        there were."""
        return await_that(lambda: self.check() or max(0, self.unanswered() + 1 - least), step=0.0005) + least - 1

    @contextlib.contextmanager
    def pause(self):
        """Nobody publishes, and everything published was answered."""
        self.doors.work.clear()
        try:
            await_that(lambda: self.check() or not self.unanswered())
            yield
        finally:
            self.doors.work.set()

    def unanswered(self):
        """Publishes that are on their way."""
        return sum(each.job is not None and each.job.ids is None for each in self.publishers)

    def go_on(self, count=50, within=SETTLE_SECONDS):
        """Wait until so many more jobs were acknowledged."""
        before = self.done()
        await_that(lambda: self.check() or self.done() >= before + count, within=within)

    def done(self):
        """How many jobs were acknowledged."""
        return sum(publisher.rounds for publisher in self.publishers)

    def delivered(self):
        """How many events have come to all followers together."""
        return sum(follower.count for follower in self.followers)

    def check(self):
        """Raise what ended somebody, if anything did."""
        self.followers.check()
        for publisher in self.publishers:
            if publisher.failure is not None:
                raise publisher.failure

    def told(self):
        """How many gaps all followers together were told."""
        return sum(len(told) for follower in self.followers for told in follower.told.values())

    def pulse(self, amid=lambda: None):
        """Publish to every channel while nobody else does, and see that all get it: no worker has gone deaf. What comes
        later would make good what was lost. Who takes one by one may be behind for other reasons, and is not waited
        for. `amid` is called before each of the four."""
        with self.pause():
            patient = Patient(self.doors, self.ledger)
            jobs = [self.ledger.job([channel]) for channel in DURABLE]
            for job in jobs:
                amid()
                patient.publish(job)
            patient.leave()
            newest = {channel: ids[0] for job in jobs for channel, ids in job.ids.items()}
            self._await_newest(newest, SETTLE_SECONDS, [each for each in self.followers if each.limit is not None])

    def settle(self, within=SETTLE_SECONDS):
        """No more is published; everybody has what there is."""
        for publisher in self.publishers:
            publisher.stopping = True
        self.doors.work.set()
        for publisher in self.publishers:
            publisher.join(SETTLE_SECONDS)
            assert not publisher.is_alive(), "a publish was not answered in time"
        self.check()
        await_that(lambda: not self._deaf(), within=DEAF_SECONDS, step=0.1)
        held = self.held()
        newest = {channel: rows[-1][0] for channel, rows in held.items() if rows}
        self._await_newest(newest, within, self.followers)
        return held

    def _await_newest(self, newest, within, followers):
        """Until all of them have the event of that id in each channel."""
        begun = time.monotonic()
        had = {}
        while behind := [
            follower
            for follower in followers
            for channel in follower.channels
            if channel in newest and not follower.has(channel, newest[channel])
        ]:
            self.followers.check()
            now = time.monotonic()
            for follower in behind:
                if had.get(follower, (-1,))[0] != follower.count:
                    had[follower] = follower.count, now
            names = sorted({follower.name for follower in behind})
            assert now < begun + within, f"{len(names)} are behind: {names[:5]}"
            deaf = sorted({follower.name for follower in behind if now > had[follower][1] + DEAF_SECONDS})
            assert not deaf, f"{len(deaf)} hear nothing: {deaf[:5]}"
            time.sleep(0.02)

    def _deaf(self):
        return [pid for pid, counts in self.hearing().items() if counts["deaf"]]

    def held(self):
        """What the store holds: per channel (id, uid), by id."""
        patient = Patient(self.doors, self.ledger)
        held = {}
        for channel in DURABLE:
            rows, after = [], 0
            while True:
                page = patient.insist(get(f"/channels/{channel}/events?after={after}&limit=1000"), 200).json()
                if not page["events"]:
                    break
                rows += [(event["id"], uid_of(event["message"])) for event in page["events"]]
                after = rows[-1][0]
            held[channel] = rows
        patient.leave()
        return held

    def judge(self, held, *, loses=False, gaps=0):
        """The same as `verdict`, which must find nothing."""
        self.verdict(held, loses=loses, gaps=gaps).hold()

    def verdict(self, held, *, loses=False, gaps=0):
        """Hold all against what was acknowledged. `loses`: the store may have lost some of it, which followers that did
        not get it must be told. `gaps`: so often there was a cause to tell of one in each channel."""
        verdict = Verdict()
        acknowledged = self.acknowledged()
        stored = {(channel, id): uid for channel, rows in held.items() for id, uid in rows}
        gone = acknowledged.keys() - stored.keys()
        verdict.gone = len(gone)
        if not loses:
            verdict.find("lost", len(gone), f"were acknowledged and are not stored: {sorted(gone)[:3]}")
            uids = [uid for rows in held.values() for _, uid in rows]
            verdict.find("doubled", len(uids) - len(set(uids)), "are stored twice")
        others = [event for event, uid in acknowledged.items() if stored.get(event, uid) != uid]
        verdict.find("under another's id", len(others), f"{others[:3]}")
        truth = {channel: set() for channel in DURABLE}
        for channel, id in acknowledged.keys() | stored.keys():
            truth[channel].add(id)
        for follower in self.followers:
            verdict.find("doubled", follower.doubles, f"for {follower.name}")
            verdict.find("disordered", follower.disorder, f"for {follower.name}")
            for channel in follower.channels:
                name = f"for {follower.name} in {channel}"
                ids, told = list(follower.ids[channel]), set(follower.told[channel])
                verdict.find("gaps told of nothing", max(0, len(follower.told[channel]) - gaps), name)
                missing = [id for id in truth[channel].difference(ids) if bisect.bisect(ids, id) not in told]
                if loses and missing and bisect.bisect(ids, min(missing)) == 0:
                    # Who had none of its events yet asks from the oldest on, and is told of no gap.
                    missing = [id for id in missing if ids and id > ids[0]]
                verdict.find("lost", len(missing), f"{name}, the first is {min(missing, default=0)}")
        return verdict

    def log(self):
        return "".join(server.output() for server in self.servers)


def since(before, after):
    """What workers did between two answers of `hearing`."""
    done = Counter()
    for pid, counts in after.items():
        done += counts - before.get(pid, Counter())
    return done
