"""A process of its own for the store tests: `python -m tests.stores.process <what> <file> …`, from the checkout.

It tells what it did on standard output, a line each, written at once; an append's line comes after the append.
"""

import os
import sys

import gevent

from app.stores import open_store, sqlite_checkpoint

from .support import Ear, message, policy, put


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def opened(path, kept=None):
    return open_store(f"sqlite:///{path}", kept)


def append(path, channel, who, batches):
    """Append batches of three, without end where `batches` is 0. A line: the number, the first id, the last."""
    store = opened(path)
    say("open")
    number = 0
    while number < int(batches) or batches == "0":
        first, last, _ = put(store, channel, *([who, number, part] for part in range(3)))
        say(number, first, last)
        number += 1
    store.close()


def listen(path):
    """Tell what is heard, until killed."""

    class Telling(Ear):
        def announce(self, events):
            for event in events:
                say("event", event.channel, event.id, message(event))

        def control(self, kind, data):
            say("control", kind, data)

        def lost(self):
            say("lost")

    store = opened(path)
    store.listen(Telling())
    say("open")
    gevent.get_hub().join()
    gevent.sleep(1000)


def hold(path):
    """Hold the write lock until a line comes."""
    store = opened(path)
    with store._file.writing:
        say("open")
        sys.stdin.readline()
    store.close()


def reopen(path, times):
    """Append, listen and close again and again, while the log is moved all the time."""
    sqlite_checkpoint.PAUSE_SECONDS = 0.001
    for number in range(int(times)):
        store = opened(f"{path}{number}")
        store.listen(Ear())
        for _ in range(20):
            put(store, "a", "x" * 40_000)
            gevent.sleep(0.0005)
        store.close()
    say("closed", times)


def fill(path):
    """Append until the log begins anew instead of growing; the size that it kept."""
    sqlite_checkpoint.PAUSE_SECONDS = 0.01
    store = opened(path, policy(events=10))
    store.listen(Ear())
    sizes = [-1, 0]
    while sizes[-1] != sizes[-2]:
        for _ in range(10):
            put(store, "a", "x" * 20_000)
        sizes.append(os.stat(f"{path}-wal").st_size)
        gevent.sleep(0.05)
    say("steady", sizes[-1])
    os._exit(0)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
