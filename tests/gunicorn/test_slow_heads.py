"""Thousands of connections that hold back their heads, a token in the middle of them, or say nothing at all: clients
with tokens beside them publish and poll as if they were alone.
"""

import statistics
import threading
import time

import pytest

from tests.support.clients import Line, publication, subscription
from tests.support.servers import Server, await_that, make_certificate
from tests.support.slow_heads import Attacker
from tests.support.tokens import ENV, token

CLIENTS = 10
#: Between two publishes of a client.
PAUSE_SECONDS = 0.05
#: The time from a publish to its event may grow so much by the attack. It is some milliseconds, and counts as at least
#: so many, since others may be at work on the machine.
MOST = 10
LEAST_MILLISECONDS = 20
#: Nobody waits longer than this even once.
MOST_SECONDS = 3

MANY, FEW = 5000, 300
LONG = [pytest.mark.long, pytest.mark.timeout(240)]


class Client(threading.Thread):
    """Publishes and polls on two kept connections, and notes how long each event took."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self._server = server
        self._channel = f"client-{number}.news"
        sub = token({"publish": ["{sub}.*"], "subscribe": ["{sub}.*"]}, sub=f"client-{number}")
        self._header = f"Authorization: Bearer {sub}"
        self._stopping = threading.Event()
        self._seconds = []
        self.failure = None
        self.start()

    def run(self):
        try:
            with Line(self._server) as publishes, Line(self._server) as polls:
                cursor = 0
                while not self._stopping.wait(PAUSE_SECONDS):
                    polls.send(subscription(self._channel, cursor, 20, None, self._header))
                    begun = time.monotonic()
                    published = publishes.ask(publication(self._channel, ["hello"], self._header))
                    assert published.status == 200, published.body
                    answer = polls.answer()
                    assert answer.status == 200, answer.body
                    self._seconds.append(time.monotonic() - begun)
                    cursor = answer.json()["id"]
                    assert cursor == published.json()["event_id"]
        except BaseException as error:
            self.failure = error

    def taken(self):
        """How long each took since this was asked the last time."""
        if self.failure is not None:
            raise self.failure
        taken, self._seconds = self._seconds, []
        return taken

    def stop(self):
        self._stopping.set()
        self.join()


def taken(clients, seconds):
    """How long what they do in so many seconds takes: median, 95th of a hundred, and the longest, in milliseconds."""
    for client in clients:
        client.taken()
    time.sleep(seconds)  # the time of the measurement
    of_each = [client.taken() for client in clients]
    assert all(of_each), "everybody comes to its turn"
    times = sorted(each * 1000 for taken in of_each for each in taken)
    return statistics.median(times), times[len(times) * 95 // 100], times[-1]


def check(server, kind, count, seconds):
    clients = [Client(server, number) for number in range(CLIENTS)]
    try:
        await_that(lambda: all(len(client._seconds) > 2 or client.failure for client in clients))
        alone = taken(clients, min(seconds / 2, 3))
        with Attacker(server.port, kind, count) as attacker:
            beside = taken(clients, seconds)
            # Who comes anew is let in as well.
            clients.append(Client(server, CLIENTS))
            await_that(lambda: clients[-1].taken())
    finally:
        for client in clients:
            client.stop()
    for client in clients:
        client.taken()
    milliseconds = [" / ".join(f"{each:.1f}" for each in times) for times in (alone, beside)]
    told = f"{kind} x {count}: {attacker.told}; ms (median / 95 % / most) {milliseconds[0]} -> {milliseconds[1]}"
    assert attacker.told["open"] > count * 0.6, told
    assert attacker.told["had"] > count, told
    assert attacker.told["answers"] == 0, told
    assert beside[0] < max(alone[0], LEAST_MILLISECONDS) * MOST, told
    assert beside[1] < max(alone[1], LEAST_MILLISECONDS) * MOST, told
    assert beside[2] < MOST_SECONDS * 1000, told
    return told


@pytest.mark.parametrize("kind", ["slow-heads", pytest.param("silent", marks=pytest.mark.long)])
def test_hundreds_that_hold_back_their_heads_slow_nobody(tmp_path, kind):
    """Each is ended after a second, and comes again."""
    with Server(tmp_path, inspected=True, env={**ENV, "TEST_HEAD_SECONDS": 1}) as server:
        check(server, kind, FEW, 1.0)
        assert "Traceback" not in server.output()


@pytest.mark.parametrize(
    ("road", "kind"),
    [
        pytest.param(road, kind, marks=LONG)
        for road, kind in [
            ("bide", "slow-heads"),
            ("bide", "silent"),
            ("gevent", "slow-heads"),
            ("gevent", "silent"),
            ("tls", "slow-handshakes"),
            ("tls", "silent"),
        ]
    ],
)
def test_five_thousand_that_hold_back_their_heads_slow_nobody(tmp_path, record_property, road, kind):
    """Through the moment at which the time of their heads is up, and they are ended and come again."""
    tls = make_certificate(tmp_path) if road == "tls" else None
    with Server(tmp_path, env=ENV, gevent=road == "gevent", tls=tls) as server:
        record_property("table", f"{road}, {check(server, kind, MANY, 15)}")
        assert "Traceback" not in server.output()
