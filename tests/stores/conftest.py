"""Fixtures of the store tests; the checks in what they share are explained like those in the tests."""

import contextlib
import itertools

import pytest

from app.stores import open_store
from tests.support.redis_servers import RedisServer, binaries

for name in (
    "support",
    "contract",
    "appending",
    "reading",
    "retaining",
    "heads",
    "keys",
    "listing",
    "listening",
    "revoking",
    "model",
    "stream",
):
    pytest.register_assert_rewrite(f"tests.stores.{name}")

from app.stores import sqlite_checkpoint  # noqa: E402

from .stream import Stream, watching  # noqa: E402
from .support import Clock, Ear, Opener  # noqa: E402

_prefixes = itertools.count()


@pytest.fixture(autouse=True)
def no_thread_beside(monkeypatch):
    """The log is moved in the tests of real processes only: here nothing happens but what a test does."""
    monkeypatch.setattr(sqlite_checkpoint, "PAUSE_SECONDS", 3600)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bide.db"


@pytest.fixture
def opened(path, clock):
    """Opens the file, as one more process would; what is still open at the end is closed."""
    opener = Opener(path, clock)
    yield opener
    opener.close()


def _binary(name):
    found = binaries()[name]
    assert found, f"scripts/test installs {name}"
    return found


@pytest.fixture(scope="module", params=["redis", "valkey"])
def server(request, tmp_path_factory):
    """A server that the tests of a file share, each with a prefix of its own."""
    with RedisServer(_binary(request.param), tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def own_server(tmp_path):
    """Starts a server that the test may do anything to."""
    with contextlib.ExitStack() as running:
        yield lambda **options: running.enter_context(RedisServer(_binary("redis"), tmp_path / "redis", **options))


@pytest.fixture
def new_url(server):
    return lambda: f"{server.url}?prefix=t{next(_prefixes)}"


@pytest.fixture
def redis_url(new_url):
    return new_url()


@pytest.fixture
def joined():
    """Opens a store at a URL, as one more process would; with an ear, at `.ear`, it listens."""
    with contextlib.ExitStack() as opened:

        def joined(url, kept=None, ear=None, **more):
            store = open_store(url, kept, **more)
            opened.callback(store.close)
            store.ear = ear
            if ear is not None:
                store.listen(ear)
            return store

        yield joined


@pytest.fixture
def pair(redis_url, joined):
    """Two processes that listen, on one server."""
    return [joined(redis_url, ear=Ear()) for _ in range(2)]


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def ear():
    return Ear()


@pytest.fixture
def asked():
    """What the watches asked of Pub/Sub."""
    return []


@pytest.fixture
def watches(stream, ear, asked):
    watches = watching(ear, stream, asked)
    yield watches
    watches.stop()
