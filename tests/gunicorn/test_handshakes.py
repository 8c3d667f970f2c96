"""TLS clients that never finish their handshake, or speak something else: bounded, and no traces in the log."""

import os
import signal
import socket

import pytest

from tests.support.clients import get, reset
from tests.support.servers import Server, await_that, is_running, make_certificate

#: The beginning of a handshake: a record that says it is 512 bytes long.
BEGUN = b"\x16\x03\x01\x02\x00\x01"


@pytest.fixture
def start(tmp_path):
    """Starts a server with TLS whose clients have so many seconds for their first head."""
    tls = make_certificate(tmp_path)
    return lambda seconds: Server(tmp_path, inspected=True, tls=tls, env={"TEST_HEAD_SECONDS": seconds})


def connected(server, data):
    sock = socket.create_connection(server.address, timeout=20)
    sock.sendall(data)
    return sock


def ends(sock):
    """Whether the server ends the connection, without a word that would be HTTP."""
    with sock:
        try:
            return b"HTTP" not in sock.recv(1000) and not sock.recv(1000)
        except ConnectionError:
            return True


def test_a_handshake_that_does_not_become_whole_in_time_ends_its_connection(start):
    """gevent made it before anybody knew of the connection: it was open for ever."""
    with start(1) as server:
        assert all(ends(connected(server, begun)) for begun in (b"", BEGUN))
        assert server.get("/healthz")[0] == 200
        await_that(lambda: server.weight()["connections"] == 1)
        assert "Traceback" not in server.output()


def test_a_handshake_that_never_ends_does_not_hold_a_worker_that_stops(start):
    with start(60) as server:
        silent = [connected(server, begun) for begun in (b"", BEGUN)]
        await_that(lambda: server.weight()["connections"] == 3)
        code, seconds = server.terminate()
        # Otherwise gunicorn's graceful_timeout ended it, after ten.
        assert (code, seconds < 8) == (0, True)
        assert all(map(ends, silent))


def test_what_is_no_handshake_leaves_no_trace_in_the_log(start):
    with start(60) as server:
        assert ends(connected(server, get("/healthz")))
        reset(connected(server, BEGUN))
        connected(server, BEGUN).close()
        (pid,) = server.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        try:
            reset(connected(server, BEGUN))  # gone before it is accepted
        finally:
            os.kill(pid, signal.SIGCONT)
        assert server.get("/healthz")[0] == 200
        await_that(lambda: server.weight()["connections"] == 1)
        assert is_running(pid)
        assert "Traceback" not in server.output()
