"""One client for many: the same program with threads, and in a process that gevent has patched with greenlets."""

import json
import subprocess
import sys

import pytest

from tests.support.servers import ROOT, environment

#: Argument 1 is the server, 2 whether gevent is to patch the process. What it saw is printed as JSON.
PROGRAM = """
import sys

if sys.argv[2] == "greenlets":
    from gevent import monkey

    monkey.patch_all()

import json
import threading
import time

from app.client import Client, ClientError

PUBLISHERS, EACH, CHANNELS = 8, 24, ("one", "two")

bide = Client(sys.argv[1])
acknowledged, came, ended = [], {"followers": {}, "listener": []}, []
all_came = threading.Event()


def publish(number):
    for count in range(EACH):
        channel = CHANNELS[count % 2]
        acknowledged.append((bide.publish(channel, [number, count]), channel, [number, count]))


def follow(number, subscription):
    seen = came["followers"][number] = []
    for event in subscription:
        seen.append((event.id, event.channel, event.message))
    ended.append(number)


def hear(event):
    came["listener"].append((event.id, event.channel, event.message))


listening = bide.listen(hear, *CHANNELS, since="oldest")
# The second follows one channel alone.
subscriptions = [bide.subscribe(*CHANNELS, hold=50), bide.subscribe("two", hold=50)]
followers = [threading.Thread(target=follow, args=each) for each in enumerate(subscriptions)]
publishers = [threading.Thread(target=publish, args=(number,)) for number in range(PUBLISHERS)]
for thread in followers + publishers:
    thread.start()
for thread in publishers:
    thread.join()

total = PUBLISHERS * EACH
deadline = time.monotonic() + 30
wanted = [(came["followers"][0], total), (came["followers"][1], total // 2), (came["listener"], total)]
while any(len(seen) < count for seen, count in wanted) and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.3)  # the followers wait in polls that are held for 50 seconds

begun = time.monotonic()
subscriptions[1].close()
followers[1].join(20)
one_ended = ended == [1]
bide.close()
followers[0].join(20)
listening.join(20)
json.dump(
    {
        "acknowledged": acknowledged,
        "came": [came["followers"][0], came["followers"][1], came["listener"]],
        "one_ended": one_ended,
        "ended": ended,
        "seconds": time.monotonic() - begun,
        "kind": type(threading.current_thread()).__module__ + " " + threading.Event.__module__,
        "patched": "gevent" in sys.modules,
    },
    sys.stdout,
)
"""


@pytest.mark.parametrize("kind", ["threads", "greenlets"])
def test_a_client_is_shared_by_publishers_and_followers_and_closing_it_ends_them_at_once(server, kind):
    for channel in ("one", "two"):
        server.request("DELETE", f"/channels/{channel}")
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, server.url, kind],
        cwd=ROOT,
        env=environment(PYTHONPATH=ROOT),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    saw = json.loads(result.stdout)
    assert saw["patched"] is (kind == "greenlets")
    events = {"one": [], "two": []}
    for id, channel, message in sorted(saw["acknowledged"]):
        events[channel].append([id, channel, message])
    both, two, listener = saw["came"]
    for channel, published in events.items():
        assert len({id for id, *_ in published}) == 96, "each has an id of its own"
        assert [[event["id"], channel, event["message"]] for event in server.events(channel)] == published
        for seen in (both, listener):
            assert [event for event in seen if event[1] == channel] == published
    assert two == events["two"]
    assert saw["one_ended"]
    assert saw["ended"] == [1, 0]
    assert saw["seconds"] < 10, "a poll is held for 50"
