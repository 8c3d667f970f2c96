"""Heads that are cut, crossed or smuggled: each is refused with the connection, or means one thing only.

What gunicorn's parser refuses is plain text. A request that is hidden in another is never answered.
"""

import contextlib
import socket

import pytest

from tests.support.clients import Line, get, post, subscription
from tests.support.servers import Server, await_that

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
PUBLISH = b"POST /publish/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
CHUNKED = PUBLISH + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = PUBLISH + b"Content-Length: "
#: What would be answered if the server took it for a request of its own.
HIDDEN = b"GET /-test-/counts HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: Refused, and the connection closed. 501 is what a transfer coding gets that nobody knows.
REFUSED = {
    "both lengths": (400, PUBLISH + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "both lengths, the other way": (400, PUBLISH + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    "two lengths": (400, LENGTH + b"5\r\nContent-Length: 6\r\n\r\nhello"),
    "the same length twice": (400, LENGTH + b"5\r\nContent-Length: 5\r\n\r\nhello"),
    "a list of lengths": (400, LENGTH + b"5, 5\r\n\r\nhello"),
    "a sign": (400, LENGTH + b"+5\r\n\r\nhello"),
    "less than nothing": (400, LENGTH + b"-5\r\n\r\nhello"),
    "hexadecimal": (400, LENGTH + b"0x5\r\n\r\nhello"),
    "underscores": (400, LENGTH + b"5_0\r\n\r\nhello"),
    "no length": (400, LENGTH + b"\r\n\r\nhello"),
    "a digit that is none": (400, LENGTH + b"\xb2\r\n\r\nhello"),
    "more digits than an integer may have": (400, LENGTH + b"1" * 5000 + b"\r\n\r\nhello"),
    "as many digits as it may": (413, LENGTH + b"1" * 4000 + b"\r\n\r\nhello"),
    "an unknown coding": (501, PUBLISH + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "a quoted coding": (501, PUBLISH + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    "an empty coding": (501, PUBLISH + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    "no chunks": (400, PUBLISH + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"),
    "chunks that are no more": (400, CHUNKED[:-2] + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    "packed chunks": (415, PUBLISH + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "a vertical tab": (400, PUBLISH + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "chunks of HTTP/1.0": (400, CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n"),
    "a blank before the colon": (400, PUBLISH + b"Content-Length : 5\r\n\r\nhello"),
    "a folded line": (400, LENGTH + b"5\r\n more\r\n\r\nhello"),
    "a folded first line": (400, b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    "bare line feeds": (400, b"GET /healthz HTTP/1.1\nHost: localhost\n\n"),
    "one bare line feed": (400, HEALTH + b"X: y\nZ: z\r\n\r\n"),
    "a bare carriage return": (400, HEALTH + b"X: y\rZ: z\r\n\r\n"),
    "a null in a value": (400, HEALTH + b"X: a\0b\r\n\r\n"),
    "a null in a name": (400, HEALTH + b"X\0: ab\r\n\r\n"),
    "a null in the path": (400, HEALTH.replace(b"healthz", b"healthz\0") + b"\r\n"),
    "a name that is not ASCII": (400, HEALTH + b"X-\xff: 1\r\n\r\n"),
    "two hosts": (400, HEALTH + b"Host: evil.example\r\n\r\n"),
    "an address of a host": (400, HEALTH.replace(b"/healthz", b"localhost:80") + b"\r\n"),
    "an address without an end": (400, HEALTH.replace(b"/healthz", b"http://[/") + b"\r\n"),
    "a tunnel": (421, HEALTH.replace(b"GET /healthz", b"CONNECT localhost:80") + b"\r\n"),
    "a tunnel to a path": (405, HEALTH.replace(b"GET", b"CONNECT") + b"\r\n"),
    "a star": (400, HEALTH.replace(b"/healthz", b"*") + b"\r\n"),
    "no path": (400, HEALTH.replace(b"/healthz", b"?a") + b"\r\n"),
    "a backslash": (400, HEALTH.replace(b"/", b"\\", 1) + b"\r\n"),
    "a path that is not ASCII": (400, HEALTH.replace(b"healthz", b"\xff") + b"\r\n"),
    "HTTP/0.9": (400, b"GET /healthz\r\n\r\n"),
    "HTTP/2": (400, HEALTH.replace(b"1.1", b"2.0") + b"\r\n"),
    "HTTP/2's first words": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "two blanks": (400, HEALTH.replace(b" ", b"  ", 1) + b"\r\n"),
    "tabs": (400, HEALTH.replace(b" ", b"\t", 2) + b"\r\n"),
    "small letters": (400, HEALTH.replace(b"GET", b"get") + b"\r\n"),
    "two empty lines before it": (400, b"\r\n\r\n" + HEALTH + b"\r\n"),
    "a line that is too long": (414, HEALTH.replace(b"healthz", b"a" * 9000) + b"\r\n"),
    "a line without an end": (414, b"GET /" + b"a" * 9000),
    "a header that is too long": (431, HEALTH + b"X: " + b"a" * 9000 + b"\r\n\r\n"),
    "too many headers": (431, HEALTH + b"X: a\r\n" * 150 + b"\r\n"),
    "headers without an end": (431, HEALTH + b"X: a\r\n" * 150_000),
    "an unknown expectation": (417, HEALTH + b"Expect: 200-maybe\r\n\r\n"),
    "a chunk of 0x5": (400, CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk of +5": (400, CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n"),
    "a chunk of 0_5": (400, CHUNKED + b"0_5\r\nhello\r\n0\r\n\r\n"),
    "a blank before a size": (400, CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n"),
    "a blank behind a size": (400, CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n"),
    "a chunk that ends in a line feed": (400, CHUNKED + b"5\r\nhello\n0\r\n\r\n"),
    "chunks of line feeds": (400, CHUNKED + b"5\nhello\n0\n\n"),
    "a line feed in an extension": (400, CHUNKED + b"5;a=\nb\r\nhello\r\n0\r\n\r\n"),
    "a length behind the chunks": (400, CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"),
    "a trailer that is none": (400, CHUNKED + b"5\r\nhello\r\n0\r\nno colon\r\n\r\n"),
}

#: Understood in one way: the first is answered, and what comes after it is the next request.
TAKEN = {
    "zeros before the length": (200, LENGTH + b"005\r\n\r\nhello"),
    "tabs around the length": (200, LENGTH.rstrip() + b"\t5\t\r\n\r\nhello"),
    "capital chunks": (200, PUBLISH + b"Transfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    "zeros before a chunk's size": (200, CHUNKED + b"0" * 1000 + b"5\r\nhello\r\n0\r\n\r\n"),
    "a trailer": (200, CHUNKED + b"5\r\nhello\r\n0\r\nX-A: b\r\n\r\n"),
    "a name with an underscore is nobody's": (200, LENGTH + b"5\r\nTransfer_Encoding: chunked\r\n\r\nhello"),
    "an absolute address": (200, HEALTH.replace(b"/healthz", b"http://localhost/healthz") + b"\r\n"),
    "a foreign absolute address": (421, HEALTH.replace(b"/healthz", b"http://evil.example/healthz") + b"\r\n"),
    "an absolute address of nobody": (421, HEALTH.replace(b"/healthz", b"http://") + b"\r\n"),
    "the server as a whole": (404, HEALTH.replace(b"GET /healthz", b"OPTIONS *") + b"\r\n"),
    "an address that looks like a host": (404, HEALTH.replace(b"/healthz", b"//evil.example/healthz") + b"\r\n"),
    "no host": (421, b"GET /healthz HTTP/1.1\r\n\r\n"),
    "an empty host": (421, b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n"),
    "a host with a user": (421, b"GET /healthz HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n"),
    "two hosts in one line": (421, b"GET /healthz HTTP/1.1\r\nHost: localhost,evil.example\r\n\r\n"),
    "an upgrade that is not offered": (200, HEALTH + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
    "an odd method": (405, HEALTH.replace(b"GET", b"PROPFIND") + b"\r\n"),
    "one empty line before it": (200, b"\r\n" + HEALTH + b"\r\n"),
    "a value that is not ASCII": (200, HEALTH + b"X-Client-ID: \xff\xfe\r\n\r\n"),
    "a path of the gateway's": (200, HEALTH + b"Script-Name: /x\r\nPath-Info: /y\r\n\r\n"),
    "a null in a channel": (400, get("/subscribe/a%00b")),
    "a slash in a channel": (404, get("/subscribe/a%2Fb")),
}


@pytest.fixture(scope="module", params=["conf", "plain"])
def server(request, tmp_path_factory):
    with Server(tmp_path_factory.mktemp(request.param), inspected=True, conf=request.param == "conf") as server:
        yield server
        assert "Traceback" not in server.output()


def spoken(server, data):
    """The answers to some bytes, and whether the server closed the connection after them by itself."""
    with Line(server) as line:
        with contextlib.suppress(ConnectionError):  # refused half-way
            line.send(data)
        with contextlib.suppress(OSError):
            line.sock.shutdown(socket.SHUT_WR)
        answers = []
        while (answer := line.answer()) is not None:
            answers.append(answer)
        return answers


@pytest.mark.parametrize(("status", "data"), REFUSED.values(), ids=list(REFUSED))
def test_what_could_mean_two_things_is_refused_and_nothing_behind_it_is_heard(server, status, data):
    answers = spoken(server, data + HIDDEN)
    assert [(answer.status, answer.closes) for answer in answers] == [(status, True)]
    assert b"File" not in answers[0].body


@pytest.mark.parametrize(("status", "data"), TAKEN.values(), ids=list(TAKEN))
def test_what_is_odd_but_clear_is_answered_and_the_next_request_after_it(server, status, data):
    answers = spoken(server, data + HIDDEN)
    assert [answer.status for answer in answers] == [status, 200]
    assert "polls" in answers[1].json()


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, b"\0" * 3000, b"G"])
def test_what_is_no_request_is_answered_by_nothing_or_a_refusal(server, data):
    assert [answer.status for answer in spoken(server, data)] in ([], [400])


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST", "PUT"])
@pytest.mark.parametrize("path", ["/healthz", "/unknown", "/channels/news"])
def test_a_body_that_nobody_reads_is_no_request(server, method, path):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(HIDDEN)}\r\n\r\n".encode()
    answers = spoken(server, head + HIDDEN + HIDDEN)
    assert len(answers) == 1
    assert answers[0].closes
    assert answers[0].status in (200, 204, 404, 405)


@pytest.mark.parametrize("name", [b"/healthz", b"/foo", b"*"])
def test_a_client_does_not_say_where_the_server_is_mounted(server, name):
    """gunicorn lets those of its own machine: /healthz was then the root, and what does not fit the path was a 500."""
    with Line(server) as line:
        assert line.ask(HEALTH + b"SCRIPT_NAME: " + name + b"\r\n\r\n").json() == {"status": "alive"}


def test_requests_in_one_packet_are_all_answered_in_order(server):
    with Line(server) as line:
        line.send(b"".join(post("/publish/many", {"message": number}) for number in range(50)) + get("/healthz"))
        ids = [line.answer().json()["event_id"] for _ in range(50)]
        assert ids == sorted(ids)
        assert line.answer().json() == {"status": "alive"}
    assert [event["message"] for event in server.events("many")] == list(range(50))


def test_a_request_may_come_in_pieces(server):
    request = post("/publish/pieces", {"message": "whole"})
    with Line(server) as line:
        for number in range(len(request)):
            line.send(request[number : number + 1])
        assert line.answer().status == 200
    assert [event["message"] for event in server.events("pieces")] == ["whole"]


def test_a_request_behind_a_parked_poll_waits_for_its_answer(server):
    """It is no hang-up, and the poll goes on."""
    with Line(server) as line:
        line.send(subscription("behind", "latest"))
        await_that(lambda: server.counts()["polls"] == 1)
        line.send(get("/healthz"))
        id = server.publish("behind", "first")
        assert line.answer().json()["id"] == id
        assert line.answer().json() == {"status": "alive"}
