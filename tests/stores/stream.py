"""What the tests of `Watches` share: a stream that is a list, each read of it answered when the test says so."""

from gevent.event import AsyncResult

from app.events import Event
from app.stores.redis_watches import Past, Watches

from .support import eventually


def event(id, prev=None):
    return Event("a", id, id - 1 if prev is None else prev, id, None, b"1")


class Stream:
    """What `Watches` reads. `held` are the reads that wait for their answer, which was true when they began."""

    def __init__(self):
        self.events = []
        self.deleted = 0
        self.holds = False
        self.held = []
        self.reads = 0
        #: Events in one read, whatever is asked for.
        self.most = 1000

    def add(self, *ids):
        new = [event(id) for id in ids]
        self.events += new
        return new

    def read(self, places, limit):
        self.reads += 1
        pasts = [self.past(after, limit) for _, after in places]
        if self.holds:
            answer = AsyncResult()
            self.held.append(answer)
            answer.get()
        return pasts

    def past(self, after, limit):
        head = self.events[-1].id if self.events else 0
        return Past([event for event in self.events if event.id > after][: min(limit, self.most)], head, self.deleted)

    def answer(self):
        self.holds = False
        for answer in self.held:
            answer.set(None)
        self.held.clear()


def watching(ear, stream, asked):
    def on(names):
        asked.append(("on", *names))

    def off(names):
        asked.append(("off", *names))

    return Watches(ear, stream.read, on, off)


def settle(watches):
    eventually(lambda: watches._reading is None)


def heard(ear, *ids):
    return ear.ids("a") == list(ids)
