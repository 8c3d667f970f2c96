"""What an embedder's `after_request` functions make of the answer to a poll is what its client gets."""

import contextlib

import pytest

from tests.support.clients import Line, get, publication, subscription
from tests.support.servers import Server, await_that


class Altered(Server):
    def __init__(self, folder, **more):
        super().__init__(folder, gevent=False, **more)
        self._app = "tests.support.altered:app"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Altered(tmp_path_factory.mktemp("altered")) as server:
        yield server
        await_that(lambda: server.counts()["polls"] == 0)


def parked(server, line, *headers, channel="news"):
    """The answer to a poll that was parked, and what it told of the event."""
    waiting = server.counts()["polls"]
    line.send(subscription(channel, 0, 50, None, *headers))
    await_that(lambda: server.counts()["polls"] == waiting + 1)
    server.publish(channel, "m")
    answer = line.answer()
    server.request("DELETE", f"/channels/{channel}")
    return answer


@pytest.fixture
def line(server):
    with Line(server) as line:
        yield line


def plain(server, line):
    """A poll that nobody altered has the head that it always has."""
    answer = parked(server, line)
    assert answer.status == 200
    assert sorted(answer.headers) == [
        b"cache-control",
        b"connection",
        b"content-length",
        b"content-security-policy",
        b"content-type",
        b"cross-origin-resource-policy",
        b"date",
        b"last-event-id",
        b"server",
        b"x-content-type-options",
    ]
    assert answer.json()["message"] == "m"


def test_headers_that_were_removed_are_missing_there_and_nowhere_else(server, line):
    """It is the first: heads are remembered, and this one must not be taken for one that nobody touched."""
    for _ in range(2):
        answer = parked(server, line, "X-Do: remove")
        assert b"content-type" not in answer.headers
        assert answer.json()["message"] == "m"
        plain(server, line)


def test_each_has_the_headers_that_were_added_for_it(server, line):
    for value in ("a", "b", "a"):
        answer = parked(server, line, "X-Do: add", f"X-Value: {value}", "Prefer: wait=50")
        assert answer.headers[b"x-value"] == value.encode()
        assert answer.headers[b"content-type"] == b"application/json"
        plain(server, line)
    with Line(server) as other:
        line.send(subscription("both", 0, 50, None, "X-Do: add", "X-Value: 1"))
        other.send(subscription("both", 0, 50, None, "X-Do: cookie", "X-Value: 2"))
        await_that(lambda: server.counts()["polls"] == 2)
        server.publish("both", 1)
        first, second = line.answer(), other.answer()
    assert (first.headers[b"x-value"], first.headers.get(b"set-cookie")) == (b"1", None)
    assert (second.headers.get(b"x-value"), second.headers[b"set-cookie"]) == (None, b"kept=2; Path=/")


def test_an_answer_that_is_read_tells_what_is_known_of_it(server, line):
    answer = parked(server, line, "X-Do: read")
    assert answer.headers[b"x-read"] == b"['200 OK', 'application/json', b'', None, False]"
    assert answer.json()["message"] == "m"


def test_its_status_is_the_one_that_was_set(server, line):
    answer = parked(server, line, "X-Do: status")
    assert (answer.status, answer.json()["message"]) == (299, "m")
    plain(server, line)


@pytest.mark.parametrize(
    ("way", "status", "body"), [("content", 200, b"content"), ("other", 202, b"other"), ("no-content", 204, b"")]
)
def test_a_poll_that_a_function_has_answered_waits_for_nothing(server, line, way, status, body):
    answer = line.ask(subscription("news", 0, 50, None, f"X-Do: {way}"))
    assert (answer.status, answer.body) == (status, body)
    assert not answer.closes
    assert server.counts()["polls"] == server.counts()["waiters"] == 0
    plain(server, line)


def test_a_function_that_fails_is_a_500_and_its_poll_is_gone(server, line):
    answer = line.ask(subscription("news", 0, 50, None, "X-Do: fail"))
    assert answer.status == 500
    assert server.counts()["polls"] == 0
    plain(server, line)


@pytest.mark.parametrize("way", ["exit", "quit", "interrupt"])
def test_what_would_end_a_greenlet_or_a_process_ends_one_connection(server, line, way):
    """By either road: what is plain and what gunicorn's parser reads. Others are served by the same greenlet."""
    pids = server.worker_pids()
    requests = [
        subscription("news", 0, 50, None, f"X-Do: {way}"),
        get("/healthz", f"X-Do: {way}"),
        publication("unseen", [1], f"X-Do: {way}"),
    ]
    with contextlib.ExitStack() as stack:
        failing = [stack.enter_context(Line(server)).send(request) for request in requests]
        beside = [stack.enter_context(Line(server)).send(subscription("news")) for _ in range(5)]
        for each in failing:
            answer = each.answer()
            assert answer.status == 500
            assert b"failed" not in answer.body
            assert each.answer() is None
        await_that(lambda: server.counts()["polls"] == 5)
        server.publish("news", way)
        assert [each.answer().json()["message"] for each in beside] == [way] * 5
    server.request("DELETE", "/channels/news")
    assert server.worker_pids() == pids
    plain(server, line)


def test_what_is_to_be_done_when_the_answer_is_closed_is_done(server, line):
    parked(server, line, "X-Do: close", "X-Value: parked")
    line.ask(subscription("news", 0, 0, None, "X-Do: close", "X-Value: at once"))
    assert server.counts()["closed"] == ["parked", "at once"]
