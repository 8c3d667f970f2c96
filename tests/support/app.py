"""What the tests of the parts share: a clock to turn by hand, an app on a store of the test's choice, a store that
stops between two steps of a poll or is away, and the wait until polls are parked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import gevent
import hypothesis
import msgspec
from flask import Flask

from app import factory as package
from app.config import Policy, Settings
from app.errors import StoreUnavailable
from app.events import Event, Page
from app.notifier import Notifier
from app.poll import Cursor
from app.presence import Presence
from app.server import Server
from app.stores import Store, open_store
from app.waiter import Waiter

#: When the tests' clock begins, in Unix seconds. A fixed one, so that no test depends on the day it runs.
BEGIN = 1_700_000_000.0

#: A whole second is a lifetime for a greenlet of the same process: what has not come by then does not come.
SOON_SECONDS = 1.0

#: Hypothesis as these tests use it: the same examples in every run, kept nowhere, however loaded the machine is.
law = hypothesis.settings(deadline=None, derandomize=True, database=None, max_examples=50)


class Clock:
    """Gives `now`, in Unix seconds; a test turns it."""

    def __init__(self, now: float = BEGIN) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextlib.contextmanager
def watching(notifier: Notifier, names: Iterable[str]) -> Iterator[Waiter]:
    """A waiter that is registered for the channels meanwhile."""
    names = list(names)
    waiter = Waiter()
    notifier.register(names, waiter)
    try:
        yield waiter
    finally:
        notifier.unregister(names, waiter)


@contextlib.contextmanager
def present(presence: Presence, channels: Iterable[str], client_id: str, transport: str) -> Iterator[None]:
    """A client that has a poll open meanwhile."""
    channels = list(channels)
    presence.enter(channels, client_id, transport)
    try:
        yield
    finally:
        presence.leave(channels, client_id)


class Staged:
    """A store with a script. Each of `before_read` and `after_read` runs once, inside the next read, and each of
    `before_append` inside the next append. While `away` every call that reaches the store fails."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.away = False
        self.reads = 0
        self.before_read: list[Callable[[], Any]] = []
        self.after_read: list[Callable[[], Any]] = []
        self.before_append: list[Callable[[], Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def read(self, *arguments: Any) -> Any:
        self.reads += 1
        self._reach()
        _next(self.before_read)
        reading = self.store.read(*arguments)
        _next(self.after_read)
        return reading

    def append(self, *arguments: Any) -> Any:
        self._reach()
        _next(self.before_append)
        return self.store.append(*arguments)

    def check(self) -> None:
        self._reach()
        self.store.check()

    def sweep(self) -> bool:
        self._reach()
        return self.store.sweep()

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailable("The store cannot be used at the moment: try again", retry_after=1)


def _next(steps: list[Callable[[], Any]]) -> None:
    if steps:
        steps.pop(0)()


def store_url(kind: str, folder: Path) -> str:
    """The URL of a store of a kind, `memory` or `sqlite`, in the folder."""
    return "memory://" if kind == "memory" else f"sqlite:///{folder / 'bide.db'}"


@contextlib.contextmanager
def server(url: str = "memory://", clock: Clock | None = None, policy: Policy | None = None) -> Iterator[Server]:
    """One process's parts on a staged store; closed at the end. Several on one file are several workers."""
    policy = policy or Policy()
    store = open_store(url, policy, clock or Clock())
    parts = Server(Settings(store=url), Staged(store))  # type: ignore[arg-type]
    try:
        yield parts
    finally:
        parts.close()


@contextlib.contextmanager
def serving(url: str = "memory://", clock: Clock | None = None, **settings: Any) -> Iterator[Flask]:
    """A whole app on a staged store; closed at the end."""

    def opened(url: str, policy: Policy) -> Staged:
        return Staged(open_store(url, policy, clock or Clock()))

    with mock.patch.object(package, "open_store", opened):
        app = package.create_app(Settings(store=url, **settings))
    try:
        yield app
    finally:
        parts(app).close()


def parts(app: Flask) -> Server:
    """The server behind an app."""
    found: Server = app.extensions["bide"]
    return found


def staged(server: Server) -> Staged:
    """The staged store of a server made here."""
    assert isinstance(server.store, Staged)
    return server.store


def wait_until(true: Callable[[], object], what: str) -> None:
    """Let the other greenlets run until something is so."""
    with gevent.Timeout(SOON_SECONDS * 2, AssertionError(f"{what}: it never came to that")):
        while not true():
            gevent.sleep(0.001)


def parked(server: Server, polls: int = 1) -> None:
    """Return when so many polls are open, each at its wait."""
    wait_until(lambda: server.counts()["polls"] == polls, f"{polls} parked")
    gevent.sleep(0)


def poll(server: Server, cursor: Cursor = 0, channel: str = "news", timeout: float = 0.0, **more: Any) -> Page:
    """One poll of one channel, which does not wait unless told to."""
    return server.subscriber.poll({channel: cursor}, timeout=timeout, **more)


def parked_poll(server: Server, *arguments: Any, **more: Any) -> gevent.Greenlet:
    """One poll of one channel, waiting."""
    greenlet = gevent.spawn(poll, server, *arguments, timeout=50, **more)
    parked(server)
    return greenlet


def answer(greenlet: gevent.Greenlet) -> Page:
    """What a poll that was waiting answers."""
    page: Page = greenlet.get(timeout=SOON_SECONDS)
    return page


def ids(page: Page) -> list[int]:
    """The ids of a page's events."""
    return [event.id for event in page.events]


def sweep_all(server: Server) -> None:
    """A whole round of housekeeping, and one more, since some of it takes two looks."""
    for _ in range(2):
        while server.store.sweep():
            pass


def assert_nothing_left(server: Server) -> None:
    """No poll left anything behind."""
    counts = server.counts()
    assert {name: counts[name] for name in ("polls", "waiters", "deadlines", "hang_ups")} == {
        "polls": 0,
        "waiters": 0,
        "deadlines": 0,
        "hang_ups": 0,
    }


def event(id: int, prev: int = 0, channel: str = "news", at_us: int | None = None, message: bytes = b"1") -> Event:
    """An event as a store would make it; its time is its id where none is given."""
    return Event(channel, id, prev, id if at_us is None else at_us, None, message)


def chain(ids: Iterable[int], prev: int = 0, channel: str = "news", message: bytes = b"1") -> list[Event]:
    """Events of one channel, each linked to the one before it."""
    events = []
    for id in ids:
        events.append(event(id, prev, channel, message=message))
        prev = id
    return events


def problem(answer: Any) -> dict[str, Any]:
    """The members of a problem document, held to its form (RFC 9457 and docs/protocol.md)."""
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    document: dict[str, Any] = msgspec.json.decode(answer.data)
    assert document["status"] == answer.status_code
    assert document["error"] == document["title"]
    assert document["type"].startswith("/problems/")
    assert document["detail"]
    return document
