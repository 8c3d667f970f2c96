"""What the store tests share: a clock that is set by hand, an ear, and short forms of the calls."""

import json
import time
from urllib.parse import quote

import gevent

from app.config import Policy, Retention, RetentionRule
from app.stores import open_store

#: A condition that does not come true within this never will.
PATIENCE_SECONDS = 10

PLENTY = 10_000
PLENTY_BYTES = 2**30


class Clock:
    """Unix seconds, moved by the test alone. Whole seconds and quarters are exact in microseconds."""

    def __init__(self, seconds=1_700_000_000):
        self.seconds = seconds

    def __call__(self):
        return self.seconds

    def step(self, seconds):
        self.seconds += seconds

    @property
    def us(self):
        return int(self.seconds * 1_000_000)


class Ear:
    """A listener that writes down what it is told. `watched` are the channels that have a subscriber here."""

    def __init__(self, deaf_to=(), watched=()):
        self.deaf_to = set(deaf_to)
        self.watched = set(watched)
        self.events = []
        self.controls = []
        self.losses = 0
        self.missed = 0

    def hears(self, channel):
        return channel not in self.deaf_to

    def announce(self, events):
        self.events += events

    def control(self, kind, data):
        self.controls.append((kind, data))

    def lost(self):
        self.losses += 1

    def missed_controls(self):
        self.missed += 1

    def answer(self, question):
        return [question, sorted(self.watched)]

    def subscribed(self, channels):
        return [channel for channel in channels if channel in self.watched]

    def messages(self, channel=None):
        return [message(event) for event in self.events if channel in (None, event.channel)]

    def ids(self, channel):
        return [event.id for event in self.events if event.channel == channel]


class Opener:
    """Opens stores on one SQLite file. `close` closes those that were not closed by themselves."""

    def __init__(self, path, clock, options=""):
        self.path = path
        self.clock = clock
        self.options = options
        self._open = []

    def __call__(self, kept=None, clock=None, path=None):
        store = open_store(f"sqlite:///{quote(str(path or self.path))}{self.options}", kept, clock or self.clock)
        close = store.close

        def close_once():
            self._open.remove(store)
            close()

        store.close = close_once
        self._open.append(store)
        return store

    def close(self):
        for store in list(self._open):
            store.close()


def policy(events=1000, seconds=86400, rules=(), **more):
    """Retention by default, then `(pattern, events, seconds)` rules, then the other bounds."""
    kept = tuple(RetentionRule(pattern, Retention(count, age)) for pattern, count, age in rules)
    return Policy(rules=kept, default=Retention(events, seconds), **more)


def put(store, channel, *messages, type=None, key=None):
    """Append the values as one batch."""
    return store.append(channel, [json.dumps(message).encode() for message in messages], type, key)


def everything(store, channel, after=0):
    return store.read(channel, after, PLENTY, PLENTY_BYTES)


def message(event):
    return json.loads(event.json)["message"]


def messages(reading):
    return [message(event) for event in reading.events]


def ids(reading):
    return [event.id for event in reading.events]


def said(events):
    """The events in full, to be compared."""
    return [(event.channel, event.id, event.prev, event.at_us, event.type, event.json) for event in events]


def names(store, prefix="", after="", limit=PLENTY):
    return [info.channel for info in store.channels(prefix, after, limit)]


def sweep(store):
    """A whole round of housekeeping, and the begun one's end before it."""
    for _ in range(2):
        steps = 0
        while store.sweep():
            steps += 1
            assert steps < PLENTY, "the round does not end"


def eventually(condition, seconds=PATIENCE_SECONDS):
    """Let the event loop run until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        gevent.sleep(0.002)
