"""One attacker of a server on this machine, bounded in its rate: `-m scripts.bench.driver.attack NAME PORT`.

It goes on until SIGTERM, and then tells as JSON what it did and which part of a core it took.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from collections import Counter, deque
from itertools import count, cycle

HOST = "127.0.0.1"
MEBIBYTE = 1024 * 1024
#: How long a head may take, and so how long a connection that says nothing is kept.
HEAD_SECONDS = 10

SLOW_HEADS = 1000
HALF_OPEN = 3000
NOISE_RATE = 200
BODY_RATE = 20
JSON_RATE = 2
LOOPS = 4
UNREAD = 50
UNREAD_RATE = 5

done = Counter()


def request(method, path, *headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def post(path, body, length=None):
    size = len(body) if length is None else length
    return request("POST", path, "Content-Type: application/json", f"Content-Length: {size}", body=body)


def costly():
    """A batch of a mebibyte, as nested as may be, that is refused for its last message."""
    unit = b"[" + b",".join([b"[" * 63 + b"]" * 63] * 8) + b"]"
    batch = b",".join([unit] * (MEBIBYTE // (len(unit) + 1) - 1))
    return b'{"messages":[' + batch + b",null]}"


REFUSED = (
    request("GET", "/subscribe/a?last_event_id=x"),
    request("GET", "/no/such/path"),
    request("GET", "/channels/nobody-ever"),
    post("/publish/a", b'{"message":'),
    post("/publish/a", b"", length=2 * MEBIBYTE),
)


async def at_rate(rate, work):
    """Begin the work so many times a second, whether it has ended or not."""
    begun, tasks = time.monotonic(), set()
    for number in count():
        await asyncio.sleep(max(0, begun + number / rate - time.monotonic()))
        task = asyncio.ensure_future(work())
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def exchange(reader, writer, data):
    """Send a request; the answer's status, and whether the connection goes on."""
    writer.write(data)
    head = await reader.readuntil(b"\r\n\r\n")
    size = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(size or 0))
    done[f"status {head.split()[1].decode()}"] += 1
    return b"connection: close" not in head.lower()


async def loop(port, requests):
    """One connection that asks again as soon as it was answered."""
    turn = cycle(requests)
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(HOST, port)
            while await exchange(reader, writer, next(turn)):
                pass
            writer.close()


async def slow_head(port):
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(HOST, port)
            for byte in cycle(b"X: y\r\n"):
                writer.write(bytes([byte]))
                done["bytes"] += 1
                await asyncio.sleep(1)
                if reader.at_eof():
                    break
            writer.close()


async def slow_heads(port):
    tasks = []
    for _ in range(SLOW_HEADS):
        tasks.append(asyncio.ensure_future(slow_head(port)))
        await asyncio.sleep(1 / SLOW_HEADS)
    await asyncio.gather(*tasks)


async def half_open(port):
    """As many as the server keeps for the time of a head, and as many new ones as end."""
    waiting = deque()

    def connect():
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((HOST, port))
        waiting.append(sock)
        done["connections"] += 1
        if len(waiting) > HALF_OPEN:
            waiting.popleft().close()

    for _ in range(HALF_OPEN):
        connect()
        if len(waiting) % 30 == 0:
            await asyncio.sleep(0.01)

    async def again():
        connect()

    await at_rate(HALF_OPEN / HEAD_SECONDS, again)


async def noise(port):
    chance = random.Random(1)

    async def one():
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.write(chance.randbytes(chance.choice((10, 100, 1000, 10_000))))
            if chance.random() < 0.5:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            done["connections"] += 1
            writer.close()

    await at_rate(NOISE_RATE, one)


async def large_bodies(port):
    data = post("/publish/a", bytes(MEBIBYTE), length=2 * MEBIBYTE)

    async def one():
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(HOST, port)
            await exchange(reader, writer, data)
            writer.close()

    await at_rate(BODY_RATE, one)


async def refused(port):
    await asyncio.gather(*(loop(port, REFUSED) for _ in range(LOOPS)))


async def costly_json(port):
    data = post("/publish/a", costly())

    async def one():
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(HOST, port)
            await exchange(reader, writer, data)
            writer.close()

    await at_rate(JSON_RATE, one)


async def unread(port):
    reader, writer = await asyncio.open_connection(HOST, port)
    for _ in range(20):
        await exchange(reader, writer, post("/publish/large", b'{"message":"' + b"x" * 60_000 + b'"}'))
    kept = []

    async def one():
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (HOST, port))
        await asyncio.get_running_loop().sock_sendall(sock, request("GET", "/subscribe/large?limit=1000") * 10)
        kept.append(sock)
        done["connections"] += 1

    for _ in range(UNREAD):
        await one()
    await at_rate(UNREAD_RATE, one)


async def polls_again(port):
    await asyncio.gather(*(loop(port, [request("GET", "/subscribe/a?timeout=0")]) for _ in range(LOOPS)))


ATTACKS = {
    "slow-heads": (f"{SLOW_HEADS:,} heads, a byte a second each", slow_heads),
    "half-open": (f"{HALF_OPEN:,} silent connections, {HALF_OPEN // HEAD_SECONDS} new a second", half_open),
    "noise": (f"{NOISE_RATE} connections of random bytes a second", noise),
    "large-bodies": (f"{BODY_RATE} bodies over the bound a second, a MiB sent of each", large_bodies),
    "refused": (f"400, 404, 413 without a pause on {LOOPS} connections", refused),
    "json": (f"{JSON_RATE} refused batches of a MiB a second, as nested as may be", costly_json),
    "unread": (f"{UNREAD} clients that read none of ten pages of a MiB, {UNREAD_RATE} new a second", unread),
    "polls-again": (f"polls of timeout=0 without a pause on {LOOPS} connections", polls_again),
}


async def run(name, port):
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    attack = asyncio.ensure_future(ATTACKS[name][1](port))
    told = asyncio.ensure_future(ending.wait())
    await asyncio.wait([attack, told], return_when=asyncio.FIRST_COMPLETED)
    if attack.done():
        attack.result()


def main(name, port):
    begun = time.monotonic()
    asyncio.run(run(name, port))
    cpu = sum(os.times()[:2])
    print(json.dumps({"cpu_percent": 100 * cpu / (time.monotonic() - begun), "done": done}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
