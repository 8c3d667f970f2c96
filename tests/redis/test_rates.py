"""Limits that workers share on a Redis server, and what is left of them while it is away."""

import contextlib
import signal
import time

from tests.support.clients import get, line_to, publication
from tests.support.redis_servers import on
from tests.support.servers import Server, await_that

HEADER = "X-Forwarded-For: {}"


class Door:
    """Asks one of the workers, on a connection that is made anew where the last was closed with a refusal."""

    def __init__(self, server, pid):
        self.server, self.pid = server, pid
        self.line = None

    def ask(self, request):
        if self.line is None:
            self.line = line_to(self.server, self.pid)
        answer = self.line.ask(request)
        assert answer.pid == self.pid
        if answer.closes:
            self.close()
        return answer.status

    def close(self):
        if self.line is not None:
            self.line.sock.close()
            self.line = None


@on("redis")
def test_two_workers_share_a_limit_and_divide_it_while_the_server_is_away(redis_server, tmp_path):
    env = {
        "BIDE_STORE": redis_server.url,
        "BIDE_INSECURE": 1,
        "BIDE_RATE_PUBLISH": "64/day",
        "BIDE_RATE_SUBSCRIBE": "64/day",
    }
    with (
        Server(tmp_path / "server", workers=2, inspected=True, env=env) as server,
        contextlib.ExitStack() as stack,
        contextlib.closing(redis_server.client) as client,
    ):
        one, other = [stack.enter_context(contextlib.closing(Door(server, pid))) for pid in server.worker_pids()]

        def publish(door, count, address):
            return [door.ask(publication("a", [1], HEADER.format(address))) for _ in range(count)].count(200)

        def polled(door, count, address):
            # With a cursor for which the worker need not ask the store, once it has.
            request = get(f"/subscribe/a?timeout=0.01&last_event_id={cursor}", HEADER.format(address))
            return [door.ask(request) for _ in range(count)].count(200)

        cursor = server.publish("a", 0)
        # One has it all, and the other a block at most; of two that take turns none has more.
        assert publish(one, 64, "198.51.100.1") == 64
        assert publish(other, 64, "198.51.100.1") <= 64 // 8 // 2
        turns = sum(publish(door, 1, "198.51.100.2") for _ in range(64) for door in (one, other))
        assert 64 <= turns <= 64 + 2 * 4
        # Another client's is another.
        assert publish(other, 10, "198.51.100.3") == 10
        # What is polled in vain is another number.
        cursor = server.publish("a", 1)
        assert polled(one, 20, "198.51.100.1") + polled(other, 11, "198.51.100.1") == 31

        keys = list(client.scan_iter("{bide}:rates:*"))
        assert keys
        assert all(86_400 < client.ttl(key) <= 86_400 + 60 for key in keys)
        assert all(int(client.get(key)) <= 64 + 4 for key in keys)

        # While nobody answers each counts by itself; a poll waits for that once, for a moment.
        redis_server.signal(signal.SIGSTOP)
        try:
            begun = time.monotonic()
            for door in (one, other):
                assert polled(door, 16, "198.51.100.4") == 16
            assert time.monotonic() - begun < 4  # sooner than anybody gives the server up
        finally:
            redis_server.signal(signal.SIGCONT)
        await_that(lambda: server.get("/readyz")[0] == 200)
        done = 0

        def has_all():
            nonlocal done
            done += publish(one, 64 - done, "198.51.100.5")
            return done == 64

        await_that(has_all, step=0.1)
        assert publish(one, 10, "198.51.100.5") == 0
