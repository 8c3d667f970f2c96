"""`BIDE_PRIVATE_ADDRESS`: a second address for whoever runs the server, which no client can keep busy."""

import contextlib
import http.client
import json
import socket
import subprocess

import pytest

from tests.support.clients import Herd, get, subscription
from tests.support.servers import Server, await_that, children, command, environment

CONNECTIONS = 40


@contextlib.contextmanager
def serving(folder, **more):
    """A server with a private address, and how to ask it there."""
    server = Server(folder, listeners=2, inspected=True, **more)
    _, address = server.addresses
    server.env["BIDE_PRIVATE_ADDRESS"] = f"127.0.0.1:{address[1]}"

    def ask(method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(*address, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    with server:
        yield server, ask


@pytest.fixture(scope="module", params=[True, False], ids=["conf", "plain"])
def both(request, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("private"), conf=request.param) as both:
        yield both


def test_it_tells_of_the_server_and_its_channels(both):
    server, ask = both
    id = server.publish("news", "hello")
    for path in ("/", "/healthz", "/readyz", "/channels", "/channels/news/subscribers"):
        assert ask("GET", path)[0] == 200
    assert ask("GET", "/channels/news")[1]["last_event_id"] == id
    assert ask("GET", "/channels/news/events")[1]["events"][0]["message"] == "hello"


def test_it_deletes_a_channel(both):
    server, ask = both
    server.publish("gone", "hello")
    assert ask("DELETE", "/channels/gone")[0] == 204
    assert server.events("gone") == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/subscribe/news?timeout=0", None),
        ("HEAD", "/subscribe/news", None),
        ("POST", "/subscribe", {"channels": {"news": 0}, "timeout": 0}),
        ("POST", "/publish/news", {"message": "not here"}),
        ("POST", "/publish", {"channels": ["news"], "message": "not here"}),
    ],
)
def test_it_neither_publishes_nor_holds_polls(both, method, path, body):
    server, ask = both
    before = server.events("news")
    content = None if body is None else json.dumps(body)
    status, problem = ask(method, path, content, {"Content-Type": "application/json"})
    assert status == 404
    if method != "HEAD":
        assert problem["type"] == "/problems/not-at-this-address"
        assert "BIDE_PRIVATE_ADDRESS" in problem["detail"]
    assert server.events("news") == before
    assert server.request(method, path, body)[0] == 200


def test_foreign_names_and_pages_are_refused_there_too(both):
    _, ask = both
    assert ask("GET", "/channels", headers={"Host": "example.com"})[0] == 421
    assert ask("DELETE", "/channels/news", headers={"Origin": "http://evil.example"})[0] == 403


def test_it_answers_while_the_other_address_has_no_connection_left(tmp_path):
    """gunicorn's pool was full of idle connections, and whoever asked whether the worker lives met silence."""
    options = ["--worker-connections", str(CONNECTIONS), "--keep-alive", "75"]
    with serving(tmp_path, conf=False, options=options) as (server, ask), Herd(server) as herd:
        herd.add(subscription("news"), CONNECTIONS * 9 // 10)
        await_that(lambda: server.counts()["polls"] == CONNECTIONS * 9 // 10)
        # The rest begin a request and do not end it.
        herd.add(get("/healthz")[:-2], CONNECTIONS * 2)
        with server.connect(timeout=0.5) as waiting:
            waiting.sendall(get("/healthz"))
            with pytest.raises(TimeoutError):
                waiting.recv(1)
        assert ask("GET", "/healthz")[0] == 200
        assert ask("GET", "/channels/news")[1]["subscribers"] > 0


def test_the_polls_of_a_worker_are_bounded_by_what_one_address_has(tmp_path):
    """The private address has connections of its own, which are not there for polls."""
    options = ["--worker-connections", str(CONNECTIONS)]
    with serving(tmp_path, conf=False, options=options) as (server, _), Herd(server) as herd:
        herd.add(subscription("news"), CONNECTIONS)
        herd.read(lambda: herd.answers)
        await_that(lambda: server.counts()["polls"] == CONNECTIONS * 9 // 10)
        assert {answer.status for answer in herd.answers} == {503}
        assert server.get("/healthz")[0] == 200


def test_gunicorn_conf_binds_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
    env = environment(
        PORT=ports[0], BIDE_PRIVATE_ADDRESS=f"127.0.0.1:{ports[1]}", BIDE_DATA_DIR=tmp_path, XDG_RUNTIME_DIR=tmp_path
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command(), env=env, stdout=log, stderr=log)
    try:

        def statuses():
            found = []
            for port in ports:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                with contextlib.closing(connection), contextlib.suppress(OSError):
                    connection.request("GET", "/subscribe/news?timeout=0")
                    found.append(connection.getresponse().status)
            return found if len(found) == len(ports) else None

        assert await_that(statuses) == [200, 404], (tmp_path / "log").read_text()
    finally:
        workers = children(process.pid)
        process.terminate()
        process.wait(20)
    assert workers


def test_an_address_that_nothing_listens_on_stops_the_start(tmp_path):
    """Such as with a -b of one's own, which takes the place of what gunicorn.conf.py binds."""
    server = Server(tmp_path, env={"BIDE_PRIVATE_ADDRESS": "127.0.0.1:9"})
    with contextlib.closing(server), pytest.raises(AssertionError, match="it ended with"):
        server.start()
    lines = [line for line in server.output().splitlines() if line.startswith("bide: ")]
    assert lines == [
        "bide: BIDE_PRIVATE_ADDRESS=127.0.0.1:9 cannot be used: "
        "this server does not listen there; leave gunicorn's -b out, or give -b 127.0.0.1:9 too"
    ]
    assert not server.database.exists()
