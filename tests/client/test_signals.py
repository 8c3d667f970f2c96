"""A service that ends its subscription where SIGTERM comes, amid whatever it does."""

import signal
import subprocess
import sys

import pytest

from tests.support.servers import ROOT, await_that

PROGRAM = """
import signal, sys
from app.client import Client

client = Client(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: client.close())
print(sum(1 for event in client.subscribe("a")), flush=True)
"""


@pytest.mark.parametrize("waits", ["for an event", "to try again"])
def test_it_ends_as_a_loop_that_is_over(puppet, waits):
    puppet.answer(200, {"events": [], "last_event_id": 5})
    if waits == "to try again":
        puppet.answer(503, b"", Retry_After=1000)
    command = [sys.executable, "-c", PROGRAM, puppet.url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            await_that(lambda: len(puppet.asked) == 2)
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=20)[0] == "0\n"
        finally:
            process.kill()
    assert process.returncode == 0
