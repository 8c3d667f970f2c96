"""A client that was made, and used, before its process forks: as gunicorn's workers have it with --preload."""

import subprocess
import sys

from tests.support.servers import ROOT, environment

PROGRAM = """
import os
import sys

from app.client import Client

bide = Client(sys.argv[1])
assert bide.publish("news", "of the parent") == 1
for number in (2, 3):
    if os.fork() == 0:
        try:
            assert bide.publish("news", "of a child") == number
            if number == 3:
                bide.close()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert bide.publish("news", "of the parent") == 4
bide.close()
if os.fork() == 0:
    try:
        bide.publish("news", "of nobody")
    except Exception as error:
        os._exit(10 if "closed" in str(error) else 1)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 10
"""


def test_a_process_that_was_forked_has_connections_of_its_own_and_leaves_its_parents_alone(puppet):
    for id in (1, 2, 3, 4):
        puppet.answer(200, {"status": "published", "channel": "news", "event_id": id})
    command = [sys.executable, "-c", PROGRAM, puppet.url]
    result = subprocess.run(
        command, env=environment(PYTHONPATH=ROOT), capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert puppet.connections == 3, "the parent kept its own"
