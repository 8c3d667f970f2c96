"""Programs that publish to a Redis server and know nothing of gevent: with threads, in forks, on asyncio's loop."""

import subprocess
import sys

import pytest

from tests.support.servers import ROOT, environment

from .support import everything, messages

EVENTS = 50

THREADS = """
def publish(name):
    publisher = Publisher(open_store(url))
    for number in range(count):
        publisher.publish("a", [name, number])

threads = [threading.Thread(target=publish, args=(name,)) for name in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

FORKS = """
publisher = Publisher(open_store(url))
publisher.publish("before", 1)
children = []
for name in range(2):
    child = os.fork()
    if child == 0:
        signal.alarm(15)  # or nobody would end it where it waits for ever
        publisher = Publisher(open_store(url))
        for number in range(count):
            publisher.publish("a", [name, number])
        os._exit(0)
    children.append(child)
for number in range(count):
    publisher.publish("a", [2, number])
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
"""

ASYNCIO = """
async def publish(name):
    publisher = Publisher(open_store(url))
    for number in range(count):
        publisher.publish("a", [name, number])
        await asyncio.sleep(0)

async def publish_all():
    await asyncio.gather(*[publish(name) for name in range(3)])

asyncio.run(publish_all())
"""

BEGINNING = f"""
import asyncio, os, signal, sys, threading
from app import Publisher, open_store
url, count = sys.argv[1], {EVENTS}
"""


@pytest.mark.parametrize("program", [THREADS, FORKS, ASYNCIO], ids=["threads", "forks", "asyncio"])
def test_a_program_publishes_from_wherever_each_has_a_store_of_its_own(redis_url, joined, program):
    words = [sys.executable, "-c", BEGINNING + program, redis_url]
    subprocess.run(words, env=environment(PYTHONPATH=ROOT), timeout=20, check=True)
    found = messages(everything(joined(redis_url), "a"))
    for name in range(3):
        assert [number for by, number in found if by == name] == list(range(EVENTS))
    assert len(found) == 3 * EVENTS
