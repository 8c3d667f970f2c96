"""Tokens of any bytes, in any field: nobody is let in without one, nothing fails, and no log or answer shows it."""

import contextlib
import itertools
import random
import socket
import time
from collections import Counter

import pytest

from tests.support.clients import Line
from tests.support.servers import Server
from tests.support.spoilt import at_random, in_every_byte, is_good, misplaced, odd
from tests.support.tokens import ENV, all_rights, bearer, token

#: A seed of the short form, which is the same in every run.
SEED = 1
#: Of every place of a token the short form puts so many bytes there.
VARIANTS = 1
AT_RANDOM = 300
LONG_SECONDS = 60
LONG = [pytest.mark.long, pytest.mark.timeout(LONG_SECONDS + 240)]
#: More of a token is nowhere to be seen. A signature has 43 characters.
SHOWN_CHARACTERS = 30

#: Its claims are short, so that it has few places.
TOKEN = token({"admin": ["*"], "publish": ["*"]}).encode()
ASKED = (
    b"GET /channels HTTP/1.1\r\n",
    b"POST /publish/spoilt HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n",
    b"DELETE /channels/kept HTTP/1.1\r\n",
    b"GET /subscribe/kept,spoilt?timeout=0 HTTP/1.1\r\n",
)
FIELDS = (
    b"Authorization",
    b"authorization",
    b"Cookie",
    b"X-Forwarded-For",
    b"X-Forwarded-Proto",
    b"Forwarded",
    b"Origin",
    b"Sec-WebSocket-Protocol",
    b"X-Client-ID",
    b"Last-Event-ID",
    b"Proxy-Authorization",
)


class Asker:
    """Asks on one connection, and on another where that was closed; judges what comes."""

    def __init__(self, server):
        self._server = server
        self._line = None
        self.statuses = Counter()

    def ask(self, fields, asked=None):
        """The status of the answer to a request with such fields, (name, value)."""
        head = (ASKED[self.statuses.total() % len(ASKED)] if asked is None else asked) + b"Host: localhost\r\n"
        head += b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"
        return self.send(head + (b"hi" if head.startswith(b"POST") else b""))

    def send(self, data):
        self._line = self._line or Line(self._server)
        with contextlib.suppress(ConnectionError):  # refused half-way
            self._line.send(data)
        answer = self._line.answer()
        assert answer is not None, data
        assert answer.status < 500 or answer.status == 501, (data, answer.body)
        # What it asked for, and whose page it says it is, the client is told back.
        assert answer.status in (403, 421) or not shows(answer.body), (data, answer.body)
        self.statuses[answer.status] += 1
        if answer.closes:
            self.close()
        return answer.status

    def close(self):
        if self._line is not None:
            self._line.sock.close()
            self._line = None


def shows(text):
    """Whether more than a little of the token's signature, or of the claims before it, is in the text."""
    secret = TOKEN[TOKEN.index(b".") :]
    return any(secret[place : place + SHOWN_CHARACTERS + 1] in text for place in range(len(secret) - SHOWN_CHARACTERS))


@pytest.fixture(scope="module", params=["conf", "plain"])
def server(request, tmp_path_factory):
    """Bide's worker as it is; and nothing but `-k gevent`, with all that gunicorn can log."""
    more = {"conf": {}, "plain": {"conf": False, "options": ("--log-level", "debug", "--access-logfile", "-")}}
    with Server(tmp_path_factory.mktemp(request.param), env=ENV, **more[request.param]) as server:
        headers = bearer(all_rights())
        server.publish("kept", "kept", headers)
        yield server
        status, _, body = server.get("/channels/kept/events", headers=headers)
        assert status == 200
        assert b'"message":"kept"' in body
        assert server.get("/channels/spoilt", headers=headers)[0] == 404
        log = server.output()
        assert "Traceback" not in log
        assert not shows(log.encode())


@pytest.fixture
def asker(server):
    asker = Asker(server)
    yield asker
    asker.close()


def check_refused(asker, text):
    if is_good(text, TOKEN):
        assert asker.ask([(b"Authorization", b"Bearer " + text)], ASKED[0]) == 200
    else:
        assert asker.ask([(b"Authorization", b"Bearer " + text)]) in (400, 401), text


def check_spoilt(asker, variants):
    for text in in_every_byte(TOKEN, variants):
        check_refused(asker, text)
    assert asker.statuses[401] > asker.statuses[400] > asker.statuses.total() / 20


def test_the_token_itself_is_good(asker):
    for text in (TOKEN, b" " + TOKEN, TOKEN + b" "):
        check_refused(asker, text)
    assert asker.statuses == {200: 3}


def test_a_token_that_is_spoilt_in_one_byte_lets_nobody_in(asker):
    check_spoilt(asker, VARIANTS)


@pytest.mark.long
def test_a_token_that_is_spoilt_in_one_byte_in_any_way_lets_nobody_in(asker):
    check_spoilt(asker, 100)


def test_a_header_or_a_claim_may_be_any_json_and_nothing_fails(asker):
    for text in odd():
        # Some are tokens all the same: nobody looks at their `typ`, and some of these claims may be absent.
        assert asker.ask([(b"Authorization", b"Bearer " + text)], ASKED[1]) in (401, 403), text
    assert asker.statuses[401] > asker.statuses[403] > 0


def check_at_random(asker, seed, numbers):
    """Each is made of the seed and its number alone."""
    for number in numbers:
        chance = random.Random(f"{seed} {number}")
        fields = [(chance.choice(FIELDS), _value(chance)) for _ in range(chance.choice((1, 2, 3)))]
        status = asker.ask(fields)
        good = [value for name, value in fields if name.lower() == b"authorization"]
        assert status in (400, 401, 403, 421, 431), (seed, number, good, fields)


def _value(chance):
    text = at_random(chance, TOKEN)
    while is_good(text, TOKEN):
        text = at_random(chance, TOKEN)
    return chance.choice((b"", b"Bearer ", b"bearer  ", b"Basic ", b"__Host-bide=", b"bide, bearer.")) + text


def test_fields_of_any_bytes_let_nobody_in(asker):
    check_at_random(asker, SEED, range(AT_RANDOM))


@pytest.mark.parametrize("seconds", [pytest.param(LONG_SECONDS, marks=LONG)])
def test_fields_of_any_bytes_let_nobody_in_for_a_minute(asker, seconds, pytestconfig, record_property):
    seed = pytestconfig.getoption("--seed") or random.randrange(10**6)
    print(f"--seed {seed}")
    end = time.monotonic() + seconds
    check_at_random(asker, seed, itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()))
    record_property("table", f"spoilt tokens, --seed {seed}: {dict(asker.statuses)}")


@pytest.mark.parametrize("name", misplaced(b""))
def test_a_token_that_stands_where_it_does_not_belong_is_shown_to_nobody(server, asker, name):
    data = misplaced(TOKEN)[name]
    if name.startswith("cut off"):
        with Line(server) as line:
            line.send(data).sock.shutdown(socket.SHUT_WR)
            assert line.answer() is None
    else:
        assert asker.send(data) in (400, 401, 405, 417, 421, 501)
    assert not shows(server.output().encode())
