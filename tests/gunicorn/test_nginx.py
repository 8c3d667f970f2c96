"""Behind nginx with deploy/nginx.conf: nobody who polls or publishes meets an error that is the proxy's."""

import contextlib
import http.server
import itertools
import threading

import pytest

from tests.support.clients import (
    Follower,
    Followers,
    Herd,
    Line,
    Publisher,
    get,
    post,
    published,
    publishing,
    subscription,
)
from tests.support.proxies import Proxy
from tests.support.servers import PATIENCE_SECONDS, Server, await_that

BEHIND = {"BIDE_INSECURE": 1}


def proxy_of(tmp_path, server):
    return Proxy(tmp_path / "proxy", "{}:{}".format(*server.address))


def endless(channel):
    return ((channel, [f"{channel} {number}"]) for number in itertools.count())


def test_five_hundred_polls_are_answered_by_one_publish_and_come_again_on_the_same_upstream_connections(tmp_path):
    count, rounds = 500, 3
    with (
        Server(tmp_path / "server", inspected=True, env=BEHIND) as server,
        proxy_of(tmp_path, server) as proxy,
        Herd(proxy) as herd,
    ):
        herd.add(b"", count)
        for number in range(rounds):
            for sock in herd.open:
                sock.sendall(subscription("news", "latest"))
            await_that(lambda: server.counts()["polls"] == count)
            server.publish("news", number)
            herd.read(lambda wanted=count * (number + 1): len(herd.answers) >= wanted)
            # Idle, and kept: nginx's keepalive is as large as the polls are many.
            assert server.weight()["descriptors"] >= count
        assert {answer.status for answer in herd.answers} == {200}
        assert [answer.json()["message"] for answer in herd.answers] == [n for n in range(rounds) for _ in range(count)]
        assert herd.cut == 0
        # And no more than these were ever open at once.
        assert server.weight()["descriptors"] < count + 100


def test_reloads_of_bide_cost_who_polls_and_publishes_through_nginx_nothing(tmp_path):
    channels = [f"c{n}" for n in range(4)]
    followers = [Follower([channel]) for channel in channels for _ in range(5)]
    with (
        Server(tmp_path / "server", inspected=True, workers=2, env=BEHIND) as server,
        proxy_of(tmp_path, server) as proxy,
        Followers(proxy, followers) as running,
    ):
        with publishing([Publisher(proxy, endless(channel)) for channel in channels]) as publishers:
            for _ in range(2):
                before = len(publishers[0].acknowledged)
                await_that(lambda before=before: len(publishers[0].acknowledged) > before + 20)
                server.hup()
        assert [publisher.refused for publisher in publishers] == [[]] * 4
        assert [publisher.unanswered for publisher in publishers] == [None] * 4
        everything = published(publishers)
        running.await_count(lambda follower: len(everything[follower.channels[0]]))
        for follower in followers:
            assert follower.faults == {"gaps": 0, "doubles": 0, "disorder": 0}
            assert set(follower.statuses) == {200}
            assert follower.cuts == 0
            # No more either: a publish that was sent twice would be there twice.
            assert follower.events[follower.channels[0]] == everything[follower.channels[0]]


class Fickle(http.server.BaseHTTPRequestHandler):
    """An upstream that answers one request on each connection, and closes the connection under the next one, as a Bide
    does whose reload meets a request half-way. It answers no request for /publish/lost, and one for /slow in two parts,
    the second when it is told to."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.served = 0

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, body))
        self.server.headers = self.headers
        self.served += 1
        if self.served > 1 or self.path == "/publish/lost":
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"o")
        if self.path == "/slow":
            self.server.go_on.wait(PATIENCE_SECONDS)
        self.wfile.write(b"k")

    def do_POST(self):
        self.do_GET()

    def do_DELETE(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def fickle():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fickle) as server:
        server.seen = []
        server.go_on = threading.Event()
        server.address = server.server_address
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def line(fickle, tmp_path):
    """One connection to nginx, so that one worker of nginx has all the requests."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(proxy_of(tmp_path, fickle))
        yield stack.enter_context(Line(proxy))


def test_a_poll_whose_kept_connection_is_closed_under_it_is_asked_again(fickle, line):
    assert [line.ask(get("/subscribe/a")).status for _ in range(3)] == [200] * 3
    # The second and the third went out on a kept connection first, and once more on a new one.
    assert len(fickle.seen) == 5


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_what_changes_something_never_goes_out_on_a_kept_connection(fickle, line, method):
    change = post("/publish/a", {"message": 1}) if method == "POST" else get("/channels/a").replace(b"GET", b"DELETE")
    for _ in range(3):
        assert line.ask(get("/subscribe/a")).status == 200
        assert line.ask(change).status == 200
    assert [seen[0] for seen in fickle.seen].count(method) == 3


def test_a_publish_that_was_sent_and_not_answered_is_not_sent_again(fickle, line):
    assert line.ask(post("/publish/lost", {"message": 1})).status == 502
    assert fickle.seen == [("POST", "/publish/lost", b'{"message":1}')]


def test_an_answer_is_passed_on_as_it_comes(fickle, line):
    line.send(get("/slow"))
    begun = b""
    while not begun.endswith(b"\r\n\r\no"):
        part = line.sock.recv(1000)
        assert part
        begun += part
    fickle.go_on.set()
    assert line.sock.recv(1000) == b"k"


def test_a_path_and_its_query_arrive_as_they_were_sent(fickle, line):
    for target in ("/subscribe/a%2Fb/../c//d?x=%20+&y=<", "/subscribe/%2E%2E?", "/" + "a," * 6000):
        assert line.ask(get(target)).status == 200
        assert fickle.seen[-1][1] == target


def test_the_host_and_who_asks_are_passed_on(fickle, line):
    request = get("/", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: other.example", "X-Forwarded-Proto: https")
    assert line.ask(request.replace(b"localhost", b"bide.example:8443")).status == 200
    assert fickle.headers["Host"] == fickle.headers["X-Forwarded-Host"] == "bide.example:8443"
    assert fickle.headers["X-Forwarded-For"] == "192.0.2.1, 127.0.0.1"
    assert fickle.headers["X-Forwarded-Proto"] == "http"
