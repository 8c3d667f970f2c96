"""A token in a URL is in nothing that a server writes, whatever became of the request and however much it logs."""

import re
import time

import jwt
import pytest

from tests.support.clients import Line, get, post
from tests.support.servers import Server, await_that

KEY = "0123456789abcdef0123456789abcdef"
#: All of gunicorn's fields that a URL can be in, and ours.
FORMAT = (
    'access "%(r)s" %(s)s U=%(U)s q=%(q)s "%(f)s" {%({raw_uri}e)s} {%({query_string}e)s} {%({path_info}e)s} '
    "{%({http_referer}e)s} {%({referer}i)s} {%({bide.query_tokens}e)s} {%({bide.permit}e)s} {%({werkzeug.request}e)s}"
)


def make_token():
    claims = {"sub": "ann", "exp": int(time.time()) + 600, "bide": {"publish": ["*"], "subscribe": ["*"]}}
    return jwt.encode(claims, KEY, "HS256")


@pytest.fixture(scope="module", params=[(False, True), (False, False), (True, True)], ids=str)
def server(request, tmp_path_factory):
    gevent, allowed = request.param
    options = ["--access-logfile", "-", "--access-logformat", FORMAT, "--log-level", "debug"]
    env = {"BIDE_JWT_SECRET": KEY, "BIDE_TOKEN_IN_QUERY": int(allowed)}
    with Server(tmp_path_factory.mktemp("scrubbed"), gevent=gevent, options=options, env=env) as server:
        server.allowed = allowed
        yield server


def answer_to(server, data):
    with Line(server) as line:
        return line.ask(data, within=20)


def test_a_token_in_a_url_is_written_nowhere(server):
    token = make_token()
    served = 200 if server.allowed else 401
    close = "Connection: close"

    def url(path, more=""):
        return f"{path}{'&' if '?' in path else '?'}access_token={token}{more}"

    # What becomes of each, and whether gunicorn's access log tells of it.
    told = [
        (get(url("/subscribe/m1?timeout=0"), close), served),
        (get(url("/subscribe/m2?timeout=0", "&limit=3"), close), served),
        (get(url("/subscribe/m3?timeout=0").replace("access_token", "acc%65ss%5Ftoken"), close), served),
        (get(url("/subscribe/m4?timeout=0.2"), close), served),  # parked
        (get(url("http://localhost/subscribe/m5?timeout=0"), close), served),
        (get(url("/subscribe/m6?timeout=0"), close, f"Authorization: Bearer {token}"), 401),
        (get("/m7", close, f"Referer: http://localhost{url('/page')}"), 404),
        (get(url("/m8"), close), 404),
        (get(url("/channels/m9"), close), 401),
        (get(url("/healthz"), close), 200),
        (get(url("/subscribe/m11?timeout=5?x=1"), close), 400 if server.allowed else 401),
        (get(url("/subscribe/m12").replace("?", "&"), close, f"Authorization: Bearer {token}"), 400),
        (get(url("/subscribe/m13").replace("?", "%3F"), close, f"Authorization: Bearer {token}"), 400),
        (get(f"/subscribe/m14?timeout=5?access_token={token}", close, f"Authorization: Bearer {token}"), 400),
        (get(f"/subscribe/m15?timeout=0&access_token%3D{token}", close, f"Authorization: Bearer {token}"), 200),
        (post(url("/publish/m16"), {"message": 1}, close), 401),
        (get(url("/subscribe/m17"), close).replace(b"GET", b"DELETE"), 405),
        (get(url("/subscribe/m18"), close).replace(b"GET", b"OPTIONS"), 200),
        (get(url("/subscribe/m19"), close, "Cookie: __Host-bide=x; __Host-bide=" + token), served and 401),
    ]
    if server.allowed:
        told[-1] = (get(url("/subscribe/m19?timeout=0"), close, "Cookie: __Host-bide=" + token), 200)
    for request, expected in told:
        answer = answer_to(server, request)
        assert answer.status == expected, (request, answer.body)
        assert token.encode() not in answer.body
    # What never becomes a request of the app.
    begun = f"GET {url('/n')} HTTP/1.1"
    odd = [
        (f"{begun} more\r\n\r\n", 400),
        (f"GET {url('/n')} FTP/1.1\r\n\r\n", 400),
        (f"{begun}\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (f"{begun}\r\nHost: a\r\nAuthorization Bearer {token}\r\n\r\n", 400),
        (f"{begun}\r\nHost: a\r\nReferer: http://x{url('/')}\r\nContent-Length: x\r\n\r\n", 400),
        (f"{begun}\r\nHost: a\r\nExpect: {url('/')}\r\n\r\n", 417),
        (f"{begun}\r\nHost: a\r\nTransfer-Encoding: {url('/')}\r\n\r\n", 501),
        (f"GET {url('/n')}{'x' * 9000} HTTP/1.1\r\n\r\n", 414),
        (begun + "\r\nA: b" * 200 + "\r\n\r\n", 431),
        (f"GET /{url('n')}#{url('/n')} HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ]
    for request, expected in odd:
        assert answer_to(server, request.encode()).status == expected, request
    with Line(server) as line:
        line.send(begun.encode())  # half a head, and gone
    with Line(server) as line:
        bad = f"POST {url('/publish/m20')} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
        line.send(f"{bad}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{url('/')}\r\n".encode())
        line.answer()
    if server.allowed:
        # A parked poll that an event ends, with another behind it.
        with Line(server) as line:
            line.send(get(url("/subscribe/m21")))
            await_that(lambda: subscribers(server, token, "m21") == 1)
            server.publish("m21", 1, headers={"Authorization": f"Bearer {token}"})
            assert line.answer().json()["message"] == 1
            assert line.ask(get(url("/subscribe/m22?timeout=0.1"))).status == 200
    assert server.terminate()[0] == 0
    said = server.output()
    lines = [line for line in said.splitlines() if line.startswith("access ")]
    for number, (_, expected) in enumerate(told, 1):
        if number != 10:  # /healthz
            assert any(re.search(rf"/m{number}\b.* {expected} ", line) for line in lines), number
    assert ("/m22?" in said) == server.allowed
    assert "access_token=***" in said
    # Each of its three parts, wherever a line may have been cut.
    for part in token.split("."):
        assert part not in said, [line for line in said.splitlines() if part in line]
    assert KEY not in said


def subscribers(server, token, channel):
    _, _, body = server.get(f"/channels/{channel}", headers={"Authorization": f"Bearer {token}"})
    return int(re.search(rb'"subscribers":(\d+)', body)[1]) if b"subscribers" in body else 0
