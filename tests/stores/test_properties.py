"""Any sequence of calls, restarts and steps of the clock: every store does what the model says (see model.py)."""

import tempfile
from pathlib import Path

import gevent
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from app.errors import KeyReused, TooManyChannels, TooManyKeys
from app.stores import open_store, sqlite_append
from app.stores.base import Key

from .model import Kept, Model
from .support import PLENTY, PLENTY_BYTES, Clock, Ear, eventually, everything, message, names, policy, put, sweep

POLICY = policy(
    events=5,
    seconds=100,
    rules=[("b*", 2, 7200), ("@bide.*", 3, 50)],
    max_channels=3,
    idempotency_seconds=150,
    max_idempotency_keys=2,
)
CHANNELS = ["a", "b", "bb", "@bide.x"]
REFUSALS = {KeyReused: "reused", TooManyKeys: "too many keys", TooManyChannels: "too many channels"}

#: The contract holds while the clock steps back by less than this, over all steps together.
STEP_SECONDS = 60

channels = st.sampled_from(CHANNELS)
keys = st.none() | st.builds(Key, st.sampled_from("st"), st.sampled_from("kl"), st.sampled_from([b"1", b"1", b"2"]))


def shown(event):
    return Kept(event.id, event.prev, event.at_us, event.type, message(event))


class StoreMachine(RuleBasedStateMachine):
    """One store, in memory."""

    processes = 1

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.latest = self.clock()
        self.count = 0
        self.model = Model(POLICY, self.clock.us)
        self.stores = []
        self.ears = []
        self.since = []
        for _ in range(self.processes):
            self.stores.append(None)
            self.ears.append(None)
            self.since.append(0)
        for number in range(self.processes):
            self.begin(number)

    def opened(self, number):
        return open_store("memory://", POLICY, self.clock)

    def begin(self, number):
        self.stores[number] = self.opened(number)
        self.ears[number] = Ear()
        self.since[number] = len(self.model.log)
        self.stores[number].listen(self.ears[number])

    def teardown(self):
        try:
            for ear, since in zip(self.ears, self.since, strict=True):
                eventually(lambda ear=ear, since=since: ear.losses or len(ear.events) >= len(self.due(ear, since)), 2)
                self.heard_right(ear, since)
        finally:
            for store in self.stores:
                store.close()

    def heard_right(self, ear, since):
        """In order, nothing twice, and nothing missed unless that was told."""
        heard = [(event.channel, event.id) for event in ear.events]
        assert [event for event in self.model.log[since:] if event in set(heard)] == heard
        if not ear.losses:
            assert heard == self.due(ear, since)[: len(heard)]

    def due(self, ear, since):
        """What was appended, but for what it was told that it was deleted, where it did not hear of it before."""
        heard = {(event.channel, event.id) for event in ear.events}
        deleted = {}
        for _, data in ear.controls:  # a channel that was forgotten meanwhile is deleted up to 0
            deleted[data["channel"]] = max(data["to"], deleted.get(data["channel"], 0))
        return [event for event in self.model.log[since:] if event in heard or event[1] > deleted.get(event[0], 0)]

    def now(self):
        return self.clock.us

    process = st.runner().flatmap(lambda machine: st.integers(0, machine.processes - 1))

    @rule(process=process, name=channels, count=st.integers(1, 3), type=st.sampled_from([None, "t"]), key=keys)
    def append(self, process, name, count, type, key):
        values = [self.count + n for n in range(min(count, POLICY.retention(name).events))]
        self.count += len(values)
        possible = self.model.outcomes(name, key, self.now())
        try:
            appended = put(self.stores[process], name, *values, type=type, key=key)
            ended = "replayed" if appended.replayed else "stored"
        except tuple(REFUSALS) as refusal:
            appended, ended = None, REFUSALS[refusal.__class__]
        assert ended in possible, possible
        if ended == "replayed":
            remembered = self.model.channels[name].keys[key[:2]]
            assert appended[:2] == (remembered.first_id, remembered.last_id)
        if ended == "stored":
            before = max([0, *self.model.given.get(name, ()), self.model.handed.get(name, 0)])
            assert appended.first_id > before, "not above every id and every cursor"
            ids = self.model.append(name, values, type, key, self.now())
            assert appended[:2] == (ids[0], ids[-1])
            assert [event.id for event in self.ears[process].events[-len(ids) :]] == list(ids), "not announced"

    @rule(process=process, name=channels)
    def delete(self, process, name):
        self.stores[process].delete(name)
        to = self.model.delete(name)
        assert self.ears[process].controls[-1] == ("deleted", {"channel": name, "to": to})

    @rule(seconds=st.sampled_from([0.25, 1, 10, 40, 60, 110, 200, 3500, 7500]))
    def time_passes(self, seconds):
        self.clock.step(seconds)
        self.latest = max(self.latest, self.clock())

    @rule(seconds=st.sampled_from([0.25, 1, 10, 29, 55]))
    def the_clock_steps_back(self, seconds):
        if self.clock() - seconds > self.latest - STEP_SECONDS:
            self.clock.step(-seconds)

    @rule(process=process)
    def sweep(self, process):
        sweep(self.stores[process])
        for name in list(self.model.channels):
            forgotten = self.stores[process].info(name) is None
            if forgotten:
                assert self.model.may_forget(name, self.now()), f"{name} was forgotten too early"
                assert name not in self.ears[process].watched
                self.model.forget(name)
            else:
                assert not self.model.must_forget(name, self.now()), f"{name} was not forgotten"

    @rule(process=process, watched=st.sets(channels, max_size=2))
    def subscribers_come_and_go(self, process, watched):
        self.ears[process].watched = watched

    @rule(name=channels, process=process, back=st.integers(0, 12))
    def a_client_polls(self, name, process, back):
        """It comes with a cursor that it was handed, and is handed the next."""
        given = self.model.given.get(name, [])
        cursor = given[-back] if 0 < back <= len(given) else self.model.handed.get(name, 0) if back else 0
        reading = everything(self.stores[process], name, cursor)
        missed = {id for id in given if id > cursor} - {event.id for event in reading.events}
        if missed and cursor:
            assert cursor < reading.floor, "events are gone and nobody tells"
        if reading.events:
            following = reading.events[0].id
        elif reading.known:
            following = max(cursor, reading.head)
        else:
            following = max(cursor, reading.head, self.now() - STEP_SECONDS * 1_000_000)
        self.model.handed[name] = max(following, self.model.handed.get(name, 0))

    @rule(process=process, name=channels, back=st.integers(0, 8), beside=st.integers(-1, 1), limit=st.integers(0, 6))
    def somebody_reads(self, process, name, back, beside, limit):
        """From an id of the channel or right beside one, retained or not."""
        store, channel = self.stores[process], self.model.channels.get(name)
        if channel is None:
            return
        whole = everything(store, name)
        id = [0, *self.model.given[name]][-back - 1 :][0] + beside
        expected = [event for event in channel.after(whole.floor) if event.id > id]
        reading = store.read(name, id, limit, PLENTY_BYTES)
        assert reading[:4] == whole[:4]
        assert [shown(event) for event in reading.events] == expected[:limit]
        expected = [event for event in channel.after(whole.floor) if event.id < id]
        reading = store.read_before(name, id, limit, PLENTY_BYTES)
        assert reading[:4] == whole[:4]
        assert [shown(event) for event in reading.events] == (expected[-limit:] if limit else [])

    @rule()
    def the_event_loop_runs(self):
        gevent.sleep(0.001)

    @invariant()
    def every_store_is_the_model(self):
        self.model.observe(self.now(), set().union(*(ear.watched for ear in self.ears)))
        for store in self.stores:
            for name in CHANNELS:
                self.reads_right(store, name)
            self.lists_right(store)

    def reads_right(self, store, name):
        reading = everything(store, name)
        channel = self.model.channels.get(name)
        if channel is None:
            assert reading == (False, self.model.base, self.model.base, None, [])
            assert store.info(name) is None
            return
        assert channel.floor(self.now()) <= reading.floor <= channel.highest_floor
        expected = channel.after(reading.floor)
        first = expected[0] if expected else None
        assert reading.known
        assert reading.head == channel.head
        assert reading.floor == (first.prev if first else channel.head)
        assert reading.oldest == (first.id if first else None)
        assert [shown(event) for event in reading.events] == expected
        published = channel.last_at_us / 1e6
        assert store.info(name) == (name, len(expected), reading.oldest, channel.head, published)

    def lists_right(self, store):
        there = sorted(self.model.channels)
        listed = store.channels("", "", PLENTY)
        assert listed == [store.info(name) for name in there]
        for prefix in ("b", "@bide."):
            assert names(store, prefix) == [name for name in there if name.startswith(prefix)]
        assert names(store, "", "a", 1) == [name for name in there if name > "a"][:1]


class FileMachine(StoreMachine):
    """A process and its file."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        super().__init__()

    def opened(self, number):
        return open_store(
            f"sqlite:///{Path(self.folder.name) / 'bide.db'}", POLICY if number == 0 else None, self.clock
        )

    def teardown(self):
        try:
            super().teardown()
        finally:
            self.folder.cleanup()

    @rule(process=StoreMachine.process)
    def a_process_restarts(self, process):
        self.stores[process].close()
        self.heard_right(self.ears[process], self.since[process])
        self.begin(process)


class SharedFileMachine(FileMachine):
    """Two processes on one file."""

    processes = 2


FORMS = [
    pytest.param(StoreMachine, 64, id="in memory"),
    pytest.param(FileMachine, 2, id="one process"),
    pytest.param(SharedFileMachine, 2, id="two processes"),
    pytest.param(SharedFileMachine, 64, id="two processes that trim late"),
]


def run(machine, examples, steps):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize(("machine", "trim_rows"), FORMS)
def test_whatever_happens_a_store_is_the_model(machine, trim_rows, monkeypatch):
    monkeypatch.setattr(sqlite_append, "TRIM_ROWS", trim_rows)
    run(machine, examples=30, steps=40)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("machine", "trim_rows"), FORMS)
def test_whatever_happens_over_a_long_time_a_store_is_the_model(machine, trim_rows, monkeypatch):
    monkeypatch.setattr(sqlite_append, "TRIM_ROWS", trim_rows)
    run(machine, examples=2000, steps=80)
