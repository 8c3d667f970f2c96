"""Connections on which no request becomes whole, by the thousand, and a worker that has no descriptors left."""

import os
import resource
import socket
import time
from pathlib import Path

import pytest

from tests.support.clients import Herd, Line, get
from tests.support.servers import Server, await_that

HALF_OPEN = 5000
#: Ten seconds otherwise.
HEAD_SECONDS = 3
HALF = (b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
#: Both workers keep an idle connection longer than that.
KEEP_ALIVE = ("--keep-alive", "75")


def half_open(herd, count=HALF_OPEN):
    for number in range(count):
        herd.add(HALF[number % len(HALF)])


@pytest.mark.parametrize("conf", [True, False])
def test_a_head_that_does_not_become_whole_in_time_ends_its_connection(tmp_path, conf):
    """One byte now and then kept it open for gunicorn's whole keep-alive time, or for ever where there is none."""
    with (
        Server(tmp_path, inspected=True, conf=conf, env={"TEST_HEAD_SECONDS": 1}, options=KEEP_ALIVE) as server,
        Line(server) as kept,
        Herd(server) as herd,
    ):
        # A connection that has asked is kept, and its next head is gunicorn's affair.
        assert not kept.ask(get("/healthz")).closes
        since = time.monotonic()
        for begun in HALF:
            herd.add(begun)
        herd.read(lambda: len(herd.open) < len(HALF), within=10)
        assert time.monotonic() - since > 0.8
        herd.read(lambda: not herd.open, within=10)
        assert herd.answers == []
        assert kept.ask(get("/healthz")).status == 200
        assert "Traceback" not in server.output()


def test_five_thousand_half_open_connections_keep_nobody_out(tmp_path):
    with Server(tmp_path, inspected=True, env={"TEST_HEAD_SECONDS": HEAD_SECONDS}) as server, Herd(server) as herd:
        light = server.weight()
        half_open(herd)
        await_that(lambda: server.weight()["connections"] > HALF_OPEN * 0.9 or len(herd.answers))
        for _ in range(10):
            assert server.get("/healthz", timeout=5)[0] == 200
        herd.read(lambda: not herd.open)
        assert herd.answers == []
        await_that(lambda: server.weight()["connections"] == 1)
        await_that(lambda: server.weight()["descriptors"] <= light["descriptors"] + 5)
        assert "Traceback" not in server.output()


def test_nor_do_they_on_a_worker_that_cannot_hold_them_all(tmp_path):
    """The plain worker has a thousand connections. Full, it is silent to everybody until one of them ends."""
    with Server(tmp_path, inspected=True, conf=False, options=KEEP_ALIVE) as server, Herd(server) as herd:
        half_open(herd, 3000)
        begun = time.monotonic()
        for _ in range(5):
            assert server.get("/healthz", timeout=20)[0] == 200
        assert time.monotonic() - begun < 40
        # They were let in because others were sent away long before their time was up.
        herd.read(lambda: len(herd.open) <= 1000, within=20)
        assert herd.answers == []
        assert "Traceback" not in server.output()


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_worker_without_descriptors_waits_for_one_and_does_not_spin(tmp_path):
    """Its bound of connections keeps it from that, unless something else takes the descriptors."""
    with Server(tmp_path, inspected=True) as server:
        (pid,) = server.worker_pids()
        bounds = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        with Line(server) as kept:
            kept.ask(get("/healthz"))
            used = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, bounds[1]))
            waiting = [socket.create_connection(server.address) for _ in range(20)]
            for sock in waiting:
                sock.sendall(get("/healthz"))
            await_that(lambda: "Too many open files" in server.output())
            before, since = cpu_seconds(pid), time.monotonic()
            while time.monotonic() - since < 3:
                # Those who are in are served.
                assert kept.ask(get("/healthz")).status == 200
                time.sleep(0.1)
            assert cpu_seconds(pid) - before < 1.5
            # At most one for each second, after the first few.
            assert server.output().count("Too many open files") < 20
            resource.prlimit(pid, resource.RLIMIT_NOFILE, bounds)
            for sock in waiting:
                sock.settimeout(20)
                assert sock.recv(1000).startswith(b"HTTP/1.1 200")
                sock.close()
