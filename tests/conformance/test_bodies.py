"""The forms in which a body may come, and how one is refused."""

import http.client
import json
import re
import socket
from contextlib import suppress
from functools import partial

import pytest

from .client import AT_ONCE_SECONDS, all_at_once, assert_problem, assert_published, event, read_answer

FORM = "application/x-www-form-urlencoded"
REQUIRED = "Message content is required"
MAX_BODY = 1024 * 1024
MAX_MESSAGE = 64 * 1024


def send(bide, channel, kind, data, **headers):
    data = data.encode() if isinstance(data, str) else data
    return bide.post(f"/publish/{channel}", data=data, headers={"Content-Type": kind, **headers})


def speak(bide, head, body):
    """Send what may be refused half-way; the answer, and whether the server then closed the connection."""
    with bide.connect() as sock:
        with suppress(OSError):
            sock.sendall(head + body)
        answer = read_answer(sock, "POST")
        sock.settimeout(AT_ONCE_SECONDS)
        try:
            closed = sock.recv(1) == b""
        except TimeoutError:
            closed = False
        except OSError:
            closed = True
        return answer, closed


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/cloudevents+json",
        "application/vnd.example.v1+json; charset=utf-8",
    ],
)
def test_json_goes_by_several_names(bide, channel, kind):
    assert_published(send(bide, channel, kind, '{"message": {"a": 1}}'), channel)
    assert bide.polled(channel)["message"] == {"a": 1}


@pytest.mark.parametrize("kind", ["text/plain", "Text/Plain; charset=utf-8", "text/plain;charset=UTF-8"])
@pytest.mark.parametrize(
    "text",
    [
        "hello",
        " ",
        "  two words \r\n",
        "5",
        "null",
        '{"message": "x"}',
        '"quoted" \\ and \u0000',
        "gr\u00fc\u00df \U0001f600",
    ],
    ids=ascii,
)
def test_plain_text_is_the_message_as_it_stands(bide, channel, kind, text):
    event_id = send(bide, channel, kind, text).json()["event_id"]
    body = bide.polled(channel)
    assert body == event(channel, event_id, text, body["timestamp"])


def test_empty_text_is_no_message(bide, channel):
    assert_problem(send(bide, channel, "text/plain", ""), 400, param="message", error=REQUIRED)


@pytest.mark.parametrize("data", [b"\xff", b"gr\xfcn", b"\xed\xa0\x80"], ids=ascii)
def test_text_that_is_not_utf8_is_refused(bide, channel, data):
    assert_problem(send(bide, channel, "text/plain", data), 400)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("message=hello", "hello"),
        ("message=two+words%21", "two words!"),
        ("message=5", "5"),
        ("message=%7B%22a%22%3A1%7D", '{"a":1}'),
        ("message=gr%C3%BCn", "gr\u00fcn"),
        ("message=+", " "),
        ("other=1&message=a%26b%3Dc", "a&b=c"),
    ],
)
@pytest.mark.parametrize("kind", [FORM, FORM + "; charset=utf-8"])
def test_the_message_of_a_form_is_text(bide, channel, data, message, kind):
    event_id = send(bide, channel, kind, data).json()["event_id"]
    body = bide.polled(channel)
    assert body == event(channel, event_id, message, body["timestamp"])


def test_a_form_may_give_a_type(bide, channel):
    assert_published(send(bide, channel, FORM, "type=user.joined&message=x"), channel)
    assert bide.polled(channel)["type"] == "user.joined"


def test_a_bad_type_in_a_form_is_refused(bide, channel):
    assert_problem(send(bide, channel, FORM, "type=bide.x&message=x"), 400, param="type")
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("data", ["hello", "", "text=hello", "%7B%22message%22%3A1%7D", '{"message":"hello"}'])
def test_a_form_without_a_message_is_told_which_content_type_to_send(bide, channel, data):
    body = assert_problem(send(bide, channel, FORM, data), 400, param="message", error=REQUIRED)
    assert "Content-Type" in body["detail"]
    assert "application/json" in body["detail"] or "text/plain" in body["detail"]


def test_an_empty_message_in_a_form_is_no_message(bide, channel):
    assert_problem(send(bide, channel, FORM, "message="), 400, param="message", error=REQUIRED)


@pytest.mark.parametrize("data", ["message=%FF", "message=gr%FCn", "message=%ED%A0%80"])
def test_a_form_that_is_not_utf8_is_refused(bide, channel, data):
    assert_problem(send(bide, channel, FORM, data), 400)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("path", ["/publish/{}", "/publish"])
def test_nothing_at_all_is_a_missing_message(bide, channel, path):
    answer = bide.exact("POST", path.format(channel), "Content-Length: 0")
    if path == "/publish":
        assert_problem(answer, 400)
    else:
        assert_problem(answer, 400, param="message", error=REQUIRED)


@pytest.mark.parametrize("body", [b"hello", b'{"message": "hello"}'], ids=ascii)
def test_a_body_of_no_stated_type_is_refused(bide, channel, body):
    answer = bide.exact("POST", f"/publish/{channel}", body=body)
    assert answer.status_code in (400, 415)
    assert_problem(answer, answer.status_code)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize(
    "kind",
    [
        "application/xml",
        "text/html",
        "text/json",
        "application/octet-stream",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "image/png",
        "json",
        "application/x+jsonp",
    ],
)
def test_any_other_type_is_refused(bide, channel, kind):
    assert_problem(send(bide, channel, kind, '{"message": "hello"}'), 415)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", FORM])
@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "ascii-ish"])
def test_any_other_charset_is_refused(bide, channel, kind, charset):
    assert_problem(send(bide, channel, f"{kind}; charset={charset}", '{"message": "hello"}'), 415)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "x"])
def test_an_encoded_body_is_refused(bide, channel, coding):
    answer = send(bide, channel, "application/json", '{"message": 1}', **{"Content-Encoding": coding})
    assert_problem(answer, 415)
    assert bide.is_unknown(channel)


def test_the_identity_encoding_is_none(bide, channel):
    answer = send(bide, channel, "application/json", '{"message": 1}', **{"Content-Encoding": "identity"})
    assert_published(answer, channel)


@pytest.mark.parametrize(
    ("kind", "fits", "exceeds"),
    [
        ("text/plain", "x" * (MAX_MESSAGE - 2), "x" * (MAX_MESSAGE - 1)),
        ("text/plain", "\n" * (MAX_MESSAGE // 2 - 1), "\n" * (MAX_MESSAGE // 2)),
        ("text/plain", '"' * (MAX_MESSAGE // 2 - 1), '"' * (MAX_MESSAGE // 2)),
        (FORM, "message=" + "x" * (MAX_MESSAGE - 2), "message=" + "x" * (MAX_MESSAGE - 1)),
        (
            "application/json",
            json.dumps({"message": "x" * (MAX_MESSAGE - 2)}),
            json.dumps({"message": "x" * (MAX_MESSAGE - 1)}),
        ),
        (
            "application/json",
            '{"message": [' + "1 , " * (MAX_MESSAGE // 2 - 2) + "10 ]}",
            '{"message": [' + "1 , " * (MAX_MESSAGE // 2 - 2) + "100 ]}",
        ),
    ],
    ids=["text", "line ends", "quotes", "form", "json", "spread json"],
)
def test_a_message_is_as_large_as_its_compact_json(bide, channel, kind, fits, exceeds):
    assert_problem(send(bide, channel, kind, exceeds), 413)
    assert bide.is_unknown(channel)
    assert_published(send(bide, channel, kind, fits), channel)


def test_a_body_of_just_the_limit_is_read(bide, channel):
    body = '{"message": 1}'.ljust(MAX_BODY)
    assert_published(send(bide, channel, "application/json", body), channel)


def test_a_chunked_body_is_read(bide, channel):
    chunks = iter([b'{"mess', b'age": "', b"x" * 10_000, b'"}'])
    headers = {"Content-Type": "application/json"}
    assert_published(bide.post(f"/publish/{channel}", data=chunks, headers=headers), channel)
    assert bide.polled(channel)["message"] == "x" * 10_000


def test_a_client_that_waits_for_100_continue_is_served(bide, channel):
    headers = ("Content-Type: text/plain", "Content-Length: 5", "Expect: 100-continue")
    with bide.connect() as sock:
        sock.sendall(bide.head("POST", f"/publish/{channel}", *headers))
        assert re.match(rb"HTTP/1.1 100 ", sock.recv(1000))
        sock.sendall(b"hello")
        assert_published(read_answer(sock, "POST"), channel)


def test_a_body_declared_too_large_is_refused_unread(bide, channel):
    def declare(size):
        headers = ("Content-Type: application/json", f"Content-Length: {size}")
        return speak(bide, bide.head("POST", f"/publish/{channel}", *headers), b"")

    # At once, since a server may take its time to close.
    for answer, closed in all_at_once([partial(declare, size) for size in (MAX_BODY + 1, 10**10, 10**18)]):
        assert_problem(answer, 413)
        assert closed
    assert bide.is_unknown(channel)


@pytest.mark.direct
def test_a_chunked_body_that_grows_too_large_is_refused(bide, channel):
    headers = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    data = b'{"message": 1}'.ljust(MAX_BODY + 1)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    answer, closed = speak(bide, bide.head("POST", f"/publish/{channel}", *headers), body)
    assert_problem(answer, 413)
    assert closed
    assert bide.is_unknown(channel)


@pytest.mark.direct
@pytest.mark.parametrize("sent", [b"", b'{"message"', b'{"message": "whole"}'])
def test_a_body_shorter_than_declared_is_refused(bide, channel, sent):
    headers = ("Content-Type: application/json", f"Content-Length: {len(sent) + 10}")
    with bide.connect() as sock:
        sock.sendall(bide.head("POST", f"/publish/{channel}", *headers) + sent)
        sock.shutdown(socket.SHUT_WR)
        assert_problem(read_answer(sock, "POST"), 400)
    assert bide.is_unknown(channel)


@pytest.mark.direct
@pytest.mark.parametrize("body", [b"zz\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n"])
def test_a_malformed_chunk_is_refused(bide, channel, body):
    headers = ("Content-Type: text/plain", "Transfer-Encoding: chunked")
    answer, _ = speak(bide, bide.head("POST", f"/publish/{channel}", *headers), body)
    assert_problem(answer, 400)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/publish/...", "text/plain"),
        ("/publish/a", "image/png"),
        ("/unknown", "text/plain"),
        ("/healthz", "text/plain"),
    ],
)
def test_a_refused_body_is_not_taken_for_the_next_request(bide, channel, path, kind):
    body = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    following = bide.head("GET", f"/channels/{channel}", "Connection: close")
    headers = (f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    with bide.connect() as sock:
        sock.sendall(bide.head("POST", path, *headers) + body)
        answer = read_answer(sock, "POST")
        assert_problem(answer, answer.status_code)
        try:
            sock.sendall(following)
            following_answer = read_answer(sock)
        except (OSError, http.client.RemoteDisconnected):
            return  # It may close instead.
        assert_problem(following_answer, 404)
