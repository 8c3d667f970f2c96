"""Clients of a server to which anything happens: each does what docs/protocol.md asks of it, for as long as it takes.

What they met is kept small, numbers instead of messages, so that half an hour of it can be judged: the message that
belongs to a number is known beforehand.
"""

import contextlib
import itertools
import random
import socket
import struct
import threading
import time
from array import array
from collections import Counter

from tests.support.clients import Follower, Followers, Line, get, post, publication

#: Channels of which nothing is ever trimmed or deleted.
DURABLE = ("a", "b", "c", "d")
#: Keeps SMALL_KEEPS events; is deleted now and then; is never published to.
SMALL, DELETED, SILENT = "small", "deleted", "silent"
SMALL_KEEPS = 50
#: Of followers; see Wanderer.
HABITS = ("steady", "slow", "leaving")
ENV = {
    "BIDE_RETENTION": f"{SMALL}={SMALL_KEEPS}/86400",
    "BIDE_RETENTION_EVENTS": 10_000_000,
    "BIDE_MAX_IDEMPOTENCY_KEYS": 1_000_000,
}
REFUSED_PAUSE_SECONDS = 0.1
#: Of a proxy whose server did not answer it: nobody knows what came of the request.
CUT = (502, 504)


def content(uid):
    """The message of a number; one in fifty is large."""
    return {"uid": uid, "pad": "x" * (9000 if uid % 50 == 0 else uid * 37 % 300)}


def uid_of(message):
    """The number of a message, held to its content."""
    assert message == content(message["uid"])
    return message["uid"]


class Doors:
    """The servers that are open to clients at this moment, for whoever connects: one of them by chance."""

    def __init__(self, server, seed):
        self.servers = [server]
        #: Whether there is work; while it is not set everybody who publishes or reads on his own pauses.
        self.work = threading.Event()
        self.work.set()
        self._chance = random.Random(f"doors {seed}")

    def connect(self, timeout=60):
        return self._chance.choice(self.servers).connect(timeout)


class Job:
    """One publish, and what came of it. Without a key it is sent once."""

    def __init__(self, channels, uids, key):
        self.channels = channels
        self.uids = uids
        self.key = key
        self.begun_at = time.monotonic()
        #: Per channel the ids, once it was acknowledged.
        self.ids = None
        self.replayed = False
        self.cuts = 0
        self.refusals = 0

    def request(self, *headers):
        messages = [content(uid) for uid in self.uids]
        if self.key is not None:
            headers = (f"Idempotency-Key: {self.key}", *headers)
        if len(self.channels) == 1:
            return publication(self.channels[0], messages, *headers)
        return post("/publish", {"channels": self.channels, "message": messages[0]}, *headers)

    def take(self, answer):
        """Note an answer; anything but 200 and 503 is an error of the server's."""
        if answer is None or answer.status in CUT:
            self.cuts += 1
            return
        assert answer.status in (200, 503), (answer.status, answer.body)
        body = answer.json()
        if answer.status == 503:
            self.refusals += 1
            return
        self.replayed = b"idempotency-replayed" in answer.headers
        if len(self.channels) == 1:
            self.ids = {self.channels[0]: body.get("event_ids", [body["event_id"]])}
        else:
            self.ids = {each["channel"]: [each["event_id"]] for each in body["events"]}
        assert [(channel, len(ids)) for channel, ids in self.ids.items()] == [
            (c, len(self.uids)) for c in self.channels
        ]


class Ledger:
    """Every publish that there was, by whomever."""

    def __init__(self):
        self.jobs = []
        #: Per channel the greatest id that was acknowledged.
        self.newest = Counter()
        self._numbers = itertools.count(1)

    def job(self, channels, size=1, keyed=True):
        uids = [next(self._numbers) for _ in range(size)]
        job = Job(channels, uids, f"key-{uids[0]}" if keyed else None)
        self.jobs.append(job)
        return job

    def acknowledged(self, job):
        for channel, ids in job.ids.items():
            self.newest[channel] = max(self.newest[channel], ids[-1])


class Patient:
    """Publishes to an open door, and repeats until it is acknowledged."""

    def __init__(self, doors, ledger):
        self._doors = doors
        self._ledger = ledger
        self._line = None

    def publish(self, job, *headers):
        """`headers` go with the first attempt alone."""
        while job.ids is None:
            answer = self.ask(job.request(*headers))
            job.take(answer)
            if job.ids is None and job.key is None:
                return
            if answer is not None and answer.status == 503:
                time.sleep(REFUSED_PAUSE_SECONDS)
            headers = ()
        self._ledger.acknowledged(job)

    def ask(self, request):
        """The answer, None where the connection was cut."""
        if self._line is None:
            self._line = Line(self._doors)
        answer = None
        with contextlib.suppress(ConnectionError):
            answer = self._line.ask(request)
        if answer is None or answer.closes:
            self.leave()
        return answer

    def insist(self, request, *statuses):
        """The answer, asked until it is one of those; a cut and 503 are borne."""
        while True:
            answer = self.ask(request)
            if answer is not None and answer.status in statuses:
                return answer
            assert answer is None or answer.status in (503, *CUT), (answer.status, answer.body)
            time.sleep(REFUSED_PAUSE_SECONDS)

    def leave(self):
        if self._line is not None:
            self._line.sock.close()
            self._line = None


class Busy(threading.Thread):
    """Does the same again and again with random pauses, until it is to stop."""

    def __init__(self, doors, ledger, seed, pause):
        super().__init__(daemon=True)
        self.doors = doors
        self.ledger = ledger
        self.patient = Patient(doors, ledger)
        self.chance = random.Random(seed)
        self.pause = pause
        self.stopping = False
        self.failure = None
        self.rounds = 0

    def run(self):
        try:
            while not self.stopping:
                self.doors.work.wait()
                self.work()
                self.rounds += 1
                if self.chance.random() < 0.1:
                    self.patient.leave()
                time.sleep(self.chance.uniform(0, self.pause))
        except BaseException as error:
            self.failure = error
        finally:
            self.patient.leave()


class Publishing(Busy):
    """Publishes single events and batches; to durable channels also without a key, and to several at once."""

    def __init__(self, *arguments, channels):
        super().__init__(*arguments)
        self._channels = channels

    def work(self):
        channels = [self.chance.choice(self._channels)]
        durable = channels[0] in DURABLE
        if durable and self.chance.random() < 0.1:
            channels = self.chance.sample(DURABLE, self.chance.randint(2, 4))
        several = len(channels) > 1
        size = 1 if several else self.chance.choice((1, 1, 1, 3, 20))
        # Of several channels some may have it although it was refused, which its repetition completes.
        self.patient.publish(self.ledger.job(channels, size, several or not durable or self.chance.random() < 0.8))


class Reading(Busy):
    """Pages through the past of durable channels, from anywhere, and holds that it sees what it must."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        #: (channel, after, up to, how many events there were).
        self.seen = []

    def work(self):
        channel = self.chance.choice(DURABLE)
        ids = [0, *(job.ids[channel][0] for job in self.ledger.jobs[-200:] if job.ids and channel in job.ids)]
        after = begin = self.chance.choice(ids)
        limit, count = self.chance.randint(1, 300), 0
        for _ in range(20):
            newest = self.ledger.newest[channel]
            page = self._page(f"{channel}/events?after={after}&limit={limit}")
            count += len(page["events"])
            if not page["events"]:
                assert after >= newest, "what was acknowledged before the read is there to be read"
                break
            after = self._rising(page, after)
        self.seen.append((channel, begin, after, count))
        page = self._page(f"{channel}/events?before={after}&limit={limit}")
        if page["events"]:
            first = page["events"][0]["id"]
            self.seen.append((channel, first - 1, self._rising(page, first - 1), len(page["events"])))

    def _page(self, path):
        page = self.patient.insist(get(f"/channels/{path}"), 200).json()
        assert not page["gap"]
        return page

    def _rising(self, page, after):
        for event in page["events"]:
            assert event["id"] > after
            uid_of(event["message"])
            after = event["id"]
        return after


class Wanderer(Follower):
    """A follower with a habit: `steady`; `slow`, which rests before each poll; `leaving`, which aborts a poll now and
    then and comes back later with its cursor."""

    def __init__(self, channels, limit=None, *, habit="steady", hop=None, timeout=50, seed=0):
        super().__init__(channels, limit, hop=1 if habit == "slow" else hop, timeout=timeout)
        self.habit = habit
        self.name = f"{self.path} limit={limit} {habit}"
        self.ids = {channel: array("q") for channel in channels}
        self.uids = {channel: array("q") for channel in channels}
        #: Per channel before which of its events a gap was told, by their places in `ids`.
        self.told = {channel: [] for channel in channels}
        self.left = 0
        self._chance = random.Random(f"{seed} {channels} {limit} {habit}")
        self.leaves_at = time.monotonic() + self._chance.uniform(0.2, 3)

    def rest(self):
        return self._chance.uniform(0.3, 2) if self.habit != "steady" else 0

    def leave(self, now):
        self.left += 1
        self.leaves_at = now + self._chance.uniform(0.5, 5)
        # The end of the connection is a reset.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def take(self, answer):
        self.statuses[answer.status] += 1
        if answer.status != 200:
            return
        self.pids.add(answer.pid)
        body = answer.json()
        events = body.get("events", [body] if "id" in body else [])
        for channel in body.get("gaps", [self.path] if "gap" in body else []):
            self.told[channel].append(len(self.ids[channel]))
        self.timeouts += not events
        for event in events:
            ids = self.ids[event["channel"]]
            if ids and event["id"] <= ids[-1]:
                if event["id"] in ids:
                    self.doubles += 1
                else:
                    self.disorder += 1
            ids.append(event["id"])
            self.uids[event["channel"]].append(uid_of(event["message"]))
        self.count += len(events)
        self.cursor = answer.headers[b"last-event-id"].decode()

    def has(self, channel, id):
        return bool(self.ids[channel]) and self.ids[channel][-1] >= id


class Wanderers(Followers):
    """Followers with habits."""

    def _turn(self, now):
        for follower in self.all:
            if follower.habit == "leaving" and follower.sock is not None and now >= follower.leaves_at:
                follower.leave(now)
                self._again(follower)
        super()._turn(now)

    def _again(self, follower, after=0.0):
        super()._again(follower, after + follower.rest())

    def check(self):
        """Raise what ended the thread, if anything did."""
        if self._failure is not None:
            raise self._failure
