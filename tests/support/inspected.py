"""The server with a window for tests, and with the accidents that they need: `gunicorn tests.support.inspected:app`.

It is the very app of wsgi.py. What is added lives here, so that nothing of it is in the product:

- every answer names its process in `X-Pid`;
- `/-test-/counts` tells what the app holds for its polls, `/-test-/weight` what the process holds altogether;
- a request with `X-Die` ends the process with SIGKILL: `before` the view runs, `after` it has (what it did is
  committed, nothing of the answer is sent), or at the n-th statement that the store's file executes from then on;
- `TEST_CLOCK` names a file whose content, in seconds, is added to the store's clock;
- `TEST_REMEMBERED` is how many matched paths, names of fields and standings are remembered;
- `TEST_IDLE_SECONDS` is how long a tail outlives its last poll, so that a test need not wait for ten seconds;
- `TEST_SWEEP_SECONDS` is the pause between two rounds of the store's housekeeping, five seconds otherwise;
- `/-test-/hearing` tells what the Redis store's listener had to do over: streams read since an announcement did not
  follow (`rereads`), streams read at all (`reads`), connections lost (`reconnects`); and whether it is `deaf`;
- `TEST_DEAF_SECONDS` and `TEST_RED_SECONDS` are how long that listener takes silence for nothing, and how long
  `/readyz` does;
- `TEST_BUSY_SECONDS` is how long a file that another process has locked is waited for, five seconds otherwise;
- `TEST_FETCH_SECONDS` is how long a fetch of keys may take, and what is waited between two of them;
- `TEST_HEAD_SECONDS`, `TEST_SEND_SECONDS` and `TEST_BODY_SECONDS` are how long a request's head, an answer that nobody
  takes and a request's body are waited for.
"""

import contextlib
import ctypes
import gc
import itertools
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import greenlet
from flask import request

if "TEST_CLOCK" in os.environ:
    from app import stores

    _file = Path(os.environ["TEST_CLOCK"])
    _policy, _ = stores.open_store.__defaults__
    # Before the app opens its store. The default itself: gunicorn.conf.py has imported the module already.
    stores.open_store.__defaults__ = (_policy, lambda: time.time() + float(_file.read_text()))

if "TEST_IDLE_SECONDS" in os.environ:
    from app import notifier

    notifier.IDLE_SECONDS = float(os.environ["TEST_IDLE_SECONDS"])

if "TEST_REMEMBERED" in os.environ:
    from app import dispatch
    from app.worker import fanout, plain

    dispatch.PATHS = plain.NAMES = plain.HEADS = fanout.STANDINGS = int(os.environ["TEST_REMEMBERED"])

if "TEST_SWEEP_SECONDS" in os.environ:
    from app import lifecycle

    lifecycle.SWEEP_SECONDS = float(os.environ["TEST_SWEEP_SECONDS"])

if "TEST_BUSY_SECONDS" in os.environ:
    from app.stores import sqlite_commits, sqlite_durable, sqlite_file

    _busy_seconds = float(os.environ["TEST_BUSY_SECONDS"])
    sqlite_file.BUSY_SECONDS = sqlite_commits.BUSY_SECONDS = sqlite_durable.BUSY_SECONDS = _busy_seconds

if "TEST_DEAF_SECONDS" in os.environ:
    from app.stores import redis_listener

    redis_listener.DEAF_SECONDS = float(os.environ["TEST_DEAF_SECONDS"])

if "TEST_RED_SECONDS" in os.environ:
    from app.stores import redis_listener

    redis_listener.RED_SECONDS = float(os.environ["TEST_RED_SECONDS"])

if os.environ.get("BIDE_STORE", "").startswith("redis"):
    from app.stores.redis_listener import RedisListener
    from app.stores.redis_watches import Watches

    _done = Counter()

    def _counted(kind, name, as_):
        does = getattr(kind, name)

        def counting(*arguments):
            _done[as_] += 1
            return does(*arguments)

        setattr(kind, name, counting)

    _counted(Watches, "_read_on", "reads")
    _counted(RedisListener, "_hang_up", "reconnects")

if "TEST_FETCH_SECONDS" in os.environ:
    from app.access import jwks

    jwks.FETCH_SECONDS = jwks.RETRY_SECONDS = jwks.EARLY_SECONDS = float(os.environ["TEST_FETCH_SECONDS"])

if "TEST_HEAD_SECONDS" in os.environ:
    from app import lifecycle

    lifecycle.HEAD_SECONDS = float(os.environ["TEST_HEAD_SECONDS"])

if "TEST_SEND_SECONDS" in os.environ:
    from app import guard

    guard.SEND_SECONDS = float(os.environ["TEST_SEND_SECONDS"])

if "TEST_BODY_SECONDS" in os.environ:
    from app.channels import body

    body.BODY_SECONDS = float(os.environ["TEST_BODY_SECONDS"])

from wsgi import app

_server = app.extensions["bide"]


@app.before_request
def _die_before():
    how = request.headers.get("X-Die", "")
    if how == "before":
        _die()
    if how.isdigit():
        left = itertools.count(int(how), -1)
        # Called when a statement is about to be executed.
        _server.store._file._connection.set_trace_callback(lambda statement: next(left) <= 1 and _die())


@app.after_request
def _name_process(response):
    if request.headers.get("X-Die") == "after":
        _die()
    response.headers["X-Pid"] = str(os.getpid())
    return response


@app.get("/-test-/counts")
def _counts():
    return _server.counts()


@app.get("/-test-/hearing")
def _hearing():
    hearing = _server.store._hearing
    done = {"rereads": hearing.watches.rereads, "reads": _done["reads"], "reconnects": _done["reconnects"]}
    return done | {"deaf": int(not hearing.hears)}


@app.get("/-test-/weight")
def _weigh():
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        # What is free goes back to the system, so that the resident memory is what is held.
        ctypes.CDLL(None).malloc_trim(0)
    return {
        "connections": app.wsgi_app.__self__.connections.open,  # the one that asks among them
        "greenlets": sum(isinstance(each, greenlet.greenlet) and not each.dead for each in gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "resident": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }


def _die():
    os.kill(os.getpid(), signal.SIGKILL)
