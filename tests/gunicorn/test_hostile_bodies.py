"""Bodies that are slow, endless, packed or not what they say, on kept connections, and without a pause."""

import contextlib
import itertools
import threading
import time

import pytest

from tests.support.clients import Line, get
from tests.support.servers import Server

#: Ten seconds otherwise.
BODY_SECONDS = 1
HIDDEN = get("/-test-/counts")
PUBLISH = "POST /publish/{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"


@pytest.fixture(scope="module", params=["conf", "plain"])
def server(request, tmp_path_factory):
    env = {"TEST_BODY_SECONDS": BODY_SECONDS}
    with Server(
        tmp_path_factory.mktemp(request.param), inspected=True, env=env, conf=request.param == "conf"
    ) as server:
        yield server
        assert "Traceback" not in server.output()


def publication(*headers, channel="bodies"):
    return (PUBLISH.format(channel) + "".join(f"{header}\r\n" for header in headers) + "\r\n").encode()


def refusal(line):
    """The one answer, after which the connection is closed, whatever was sent behind it."""
    answer = line.answer()
    assert answer.closes
    assert line.answer() is None
    return answer.status


def drip(line, pieces):
    """Send pieces one by one until the server has had enough."""
    with contextlib.suppress(OSError):
        for piece in pieces:
            line.send(piece)
            time.sleep(BODY_SECONDS / 20)  # the pace of the client, not a wait for the server


@pytest.mark.parametrize(
    ("header", "piece"), [("Content-Length: 1000", b"x"), ("Transfer-Encoding: chunked", b"1\r\nx\r\n")]
)
def test_a_body_that_comes_too_slowly_is_refused(server, header, piece):
    with Line(server) as line:
        line.send(publication(header))
        thread = threading.Thread(target=drip, args=(line, itertools.repeat(piece, 200)))
        thread.start()
        begun = time.monotonic()
        status = line.answer().status
        assert time.monotonic() - begun > BODY_SECONDS * 0.9
        assert status == 408
        assert line.answer() is None
        thread.join()


@pytest.mark.parametrize("channel", ["bodies", "@bide.x", "...", "a/b"])
def test_a_body_that_never_comes_holds_nobody(server, channel):
    with Line(server) as line:
        assert line.ask(publication("Content-Length: 5", channel=channel)).closes
        assert line.answer() is None


def test_a_body_shorter_than_it_says_takes_nothing_from_the_next_request(server):
    """The next request's bytes are the rest of the body; the client is told so by what it gets, or by the end."""
    with Line(server) as line:
        line.send(publication(f"Content-Length: {5 + len(HIDDEN)}") + b"hello" + HIDDEN)
        assert line.answer().json()["status"] == "published"
        assert line.ask(get("/healthz")).json() == {"status": "alive"}
    assert server.events("bodies")[-1]["message"] == "hello" + HIDDEN.decode()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("declared", [len(HIDDEN), 1_000_000])
def test_a_packed_body_is_refused_and_none_of_it_heard(server, coding, declared):
    with Line(server) as line:
        line.send(publication(f"Content-Encoding: {coding}", f"Content-Length: {declared}") + HIDDEN * 2)
        assert refusal(line) == 415


@pytest.mark.parametrize("declared", [2**20 + 1, 10**18])
def test_a_body_that_says_too_much_is_refused_and_none_of_it_heard(server, declared):
    with Line(server) as line:
        line.send(publication(f"Content-Length: {declared}") + HIDDEN * 2)
        assert refusal(line) == 413


# Without a pause


def pipelined():
    return b"", HIDDEN.replace(b"/-test-/counts", b"/healthz") * 5000


def crumbs():
    return publication("Transfer-Encoding: chunked"), b"1\r\nx\r\n" * 50_000


def extensions():
    return publication("Transfer-Encoding: chunked"), (b"1;" + b"x" * 8000 + b"\r\nx\r\n") * 50


def unasked():
    return b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 50_000


def unasked_at_once():
    return b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n", b"x" * 1_000_000


class Flood(threading.Thread):
    """A client that sends as fast as it can, and takes what comes."""

    #: A server that is not freed of it must be so by its end.
    SECONDS = 30

    def __init__(self, server, head, unit):
        super().__init__(daemon=True)
        self._server = server
        self._head = head
        self._unit = unit
        self._end = time.monotonic() + self.SECONDS
        self.stopping = False
        self.rounds = 0

    def run(self):
        while not self.over():
            with Line(self._server) as line, contextlib.suppress(OSError):
                threading.Thread(target=self.take, args=(line.sock,), daemon=True).start()
                line.send(self._head)
                while not self.over():
                    line.send(self._unit)
                    self.rounds += 1

    def take(self, sock):
        with contextlib.suppress(OSError):
            while sock.recv(1 << 20):
                pass

    def over(self):
        return self.stopping or time.monotonic() > self._end


@pytest.mark.parametrize("flood", [pipelined, crumbs, extensions, unasked, unasked_at_once])
def test_a_client_that_sends_without_a_pause_keeps_nobody_from_being_served(server, flood):
    """The worker read on where there was something to read, for as long as there was, and nobody else had a turn."""
    flooding = Flood(server, *flood())
    flooding.start()
    try:
        slowest, asked = 0.0, 0
        while asked < 20 or not flooding.rounds:
            begun = time.monotonic()
            assert server.get("/healthz")[0] == 200
            slowest = max(slowest, time.monotonic() - begun)
            asked += 1
    finally:
        flooding.stopping = True
        flooding.join()
    assert slowest < 3
