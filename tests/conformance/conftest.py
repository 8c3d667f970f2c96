"""Which server is under test: the one named by `--url`, else each of the targets started here.

Every test runs on every target, but for those marked `direct`, which ask for what a proxy decides: they are left out
behind nginx. tests/test_conformance_suite.py holds both to that. A server that has a key is asked with a token that may
do everything; of the one at `--url` it is in BIDE_TOKEN. What is so only without a key is marked `keyless`, and left
out there.
"""

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.proxies import Proxy
from tests.support.redis_servers import RedisServer, binaries
from tests.support.tokens import ENV, all_rights

from .client import Bide, fresh

ROOT = Path(__file__).resolve().parents[2]

# What each server is started with, besides the defaults. Of store, count of workers and kind of worker each two meet in
# each of their ways; "nginx" is as a user deploys it, two workers behind a proxy and a key.
NGINX = "nginx"
GEVENT = {"GUNICORN_CMD_ARGS": "-k gevent"}
TARGETS = {
    "sqlite": {},
    NGINX: {"WEB_CONCURRENCY": "2", **ENV, **GEVENT},
    "redis-2-workers": {"WEB_CONCURRENCY": "2"},
    "valkey-gevent": GEVENT,
}
# With --long what the pairs leave out, and nginx as a user has it.
LONG = {
    "nginx-bide": {"WEB_CONCURRENCY": "2", "BIDE_INSECURE": "1"},
    "sqlite-gevent": GEVENT,
    "sqlite-2-workers": {"WEB_CONCURRENCY": "2"},
    "sqlite-2-workers-gevent": {"WEB_CONCURRENCY": "2", **GEVENT},
    "memory": {"BIDE_STORE": "memory://"},
    "memory-gevent": {"BIDE_STORE": "memory://", **GEVENT},
}

#: The servers of the targets that have one, by the beginning of their names.
BINARIES = binaries()

# A cold start imports everything once; a loaded machine needs several times the usual second.
START_SECONDS = 30
# The drain and the last kept connections; well above both.
STOP_SECONDS = 30


def pytest_addoption(parser):
    parser.addoption("--url", help="run the conformance suite against this server")


def pytest_generate_tests(metafunc):
    if "server_url" in metafunc.fixturenames:
        # The default is for a run over all of tests/, where this file is read after the options were.
        url = metafunc.config.getoption("--url", default=None)
        # In other runs thousands would be collected only to be left out.
        is_long = metafunc.config.getoption("--long", default=False)
        long = [pytest.param(target, marks=pytest.mark.long) for target in LONG] if is_long else []
        targets = [pytest.param(url, id="url")] if url else [*TARGETS, *long]
        metafunc.parametrize("server_url", targets, indirect=True, scope="session")


def pytest_collection_modifyitems(config, items):
    """Leave out what cannot be: deselected and counted, not skipped."""
    left_out = {item: None for item in items if is_left_out(item)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def is_left_out(item):
    target = item.callspec.params.get("server_url") if hasattr(item, "callspec") else None
    return (str(target).startswith(NGINX) and item.get_closest_marker("direct")) or (
        target is not None and token_for(target) and item.get_closest_marker("keyless")
    )


@functools.cache
def token_for(target):
    """What the suite shows the target; None where there is no key."""
    if target not in TARGETS | LONG:
        return os.environ.get("BIDE_TOKEN")
    return all_rights() if "BIDE_JWT_SECRET" in (TARGETS | LONG)[target] else None


@pytest.fixture(scope="session")
def server_url(request, tmp_path_factory):
    target = request.param
    started = TARGETS | LONG
    if target not in started:
        yield target
        return
    folder = tmp_path_factory.mktemp(target)
    with ExitStack() as stack:
        settings = started[target]
        if (kind := target.partition("-")[0]) in BINARIES:
            store = stack.enter_context(RedisServer(BINARIES[kind], folder / "redis"))
            settings = settings | {"BIDE_STORE": store.url}
        url = stack.enter_context(running(folder, settings))
        if target.startswith(NGINX):
            with Proxy(folder / "proxy", url.removeprefix("http://")) as proxy:
                yield proxy.url
        else:
            yield url


@pytest.fixture
def bide(request, server_url):
    return Bide(server_url, token_for(request.node.callspec.params["server_url"]))


@pytest.fixture
def channel():
    return fresh()


@contextmanager
def running(folder, settings):
    """A real server on a socket that is bound before it starts, so that nobody else can take its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
    command += ["-b", f"fd://{listener.fileno()}", "wsgi:app"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(folder) | settings,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    # Only the server may hold it: were it kept open here, requests to a dead server would hang.
    listener.close()
    url = f"http://127.0.0.1:{port}"
    try:
        await_ready(url, process, log)
        yield url
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = "none: it did not stop"
    assert code == 0, f"exit code {code}\n{log.read_text(errors='replace')}"


def environment(folder):
    """The caller's environment without any setting of the caller's, since the suite counts on the defaults."""
    theirs = ("BIDE_", "GUNICORN_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    for name in ("HOST", "PORT", "WEB_CONCURRENCY"):
        env.pop(name, None)
    # Who has left is shown for less than the usual five seconds, which test_disconnects.py waits for on every target.
    return env | {"BIDE_DATA_DIR": str(folder), "BIDE_PRESENCE_SECONDS": "2"}


def await_ready(url, process, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url + "/readyz", timeout=5).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.02)
    pytest.fail(f"the server did not start\n{log.read_text(errors='replace')}", pytrace=False)
