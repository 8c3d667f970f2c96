"""Plain requests: what the reader of plain heads accepts, gunicorn's own parser accepts as well and reads in the same
way. What that refuses is never accepted here.

The order of fields is gunicorn's too, though nothing depends on it.
"""

import runpy
import time
import weakref
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn import http
from gunicorn.config import Config
from gunicorn.http import wsgi
from hypothesis import given, settings
from hypothesis import strategies as st

from app.worker import Worker, plain
from app.worker.plain import MOST_BYTES, PlainRequests
from tests.gunicorn.test_hostile_heads import REFUSED
from tests.support.app import law
from tests.worker.heads import BROWSER, CORPUS, CURL, PLAIN, POSTS, PUBLISH, TARGETS, head

CONF = Path(__file__).resolve().parents[2] / "gunicorn.conf.py"
OF_REQUEST = (
    *("method", "uri", "path", "query", "fragment", "version", "scheme", "headers", "trailers", "req_number"),
    *("proxy_protocol_info", "peer_addr", "remote_addr", "cfg", "_expected_100_continue"),
)
LISTENER = ("127.0.0.1", 8000)
PEERS = [("127.0.0.1", 5), ("10.1.2.3", 6), ("fe80::1%eth0", 8, 0, 2)]
BEHIND = b"GET /behind HTTP/1.1\r\n\r\n"


def configured(**changes):
    """gunicorn's settings, as it would have them from its defaults and these."""
    cfg = Config()
    for name, value in changes.items():
        cfg.set(name, value)
    return cfg


def own():
    """The settings of gunicorn.conf.py, and what the app's factory sets beside them."""
    found = {name: value for name, value in runpy.run_path(str(CONF)).items() if name in Config().settings}
    return configured(**found, forwarder_headers="")


CFGS = {
    "own": own(),
    "gunicorn's": configured(),
    "any proxy": configured(forwarded_allow_ips="*", workers=3),
    "a network of proxies": configured(forwarded_allow_ips="10.0.0.0/8,fe80::/10"),
    "other schemes": configured(secure_scheme_headers={"X-SCHEME": "https", "X-HTTPS": "1", "x-small": "a"}),
    "a scheme of an underscore": configured(secure_scheme_headers={"X_FORWARDED_PROTO": "https", "X-HTTPS": "1"}),
    "every underscore": configured(forwarder_headers="*", header_map="dangerous"),
    "no underscore": configured(header_map="refuse"),
    "short lines": configured(limit_request_line=40),
    "short fields": configured(limit_request_field_size=30),
    "few fields": configured(limit_request_fields=3),
    "no bounds": configured(limit_request_line=0, limit_request_field_size=0),
    "as many fields as there are": configured(limit_request_fields=0),
    "all is permitted": configured(
        permit_obsolete_folding=True,
        strip_header_spaces=True,
        permit_unconventional_http_method=True,
        permit_unconventional_http_version=True,
        casefold_http_method=True,
    ),
}


class Client:
    """Stands for a connection from which a request is read, and to which answers are written."""

    def __init__(self, data=b""):
        self.unread = data
        self.sent = b""

    def recv(self, size):
        data, self.unread = self.unread[:size], self.unread[size:]
        return data

    def sendall(self, data):
        self.sent += data

    def send(self, data):
        self.sendall(data)
        return len(data)


@lru_cache
def reader_of(cfg):
    return PlainRequests(cfg, LISTENER)


def read_plainly(cfg, data, peer):
    """What the reader makes of the data, and what it leaves of them; None where it leaves all to gunicorn."""
    client = Client()
    found = reader_of(cfg).read(data, client, peer)
    return None if found is None else (*found[:3], lambda: data[found[3] :], client)


def read_by_gunicorn(cfg, data, peer):
    """What gunicorn makes of them, as its `AsyncWorker` goes about it. Raises what it refuses them with."""
    client = Client(data)
    parser = http.get_parser(cfg, client, peer)
    request = next(parser)
    response, environ = wsgi.create(request, client, peer, LISTENER, cfg)
    environ["wsgi.multithread"] = True
    return request, response, environ, lambda: parser.unreader.take_buffered() + client.unread, client


def told(request, response, environ, rest, client):
    """All that is to be the same, in a form that can be compared. Uses the request up; `rest` is what it leaves."""
    request_parts = {name: getattr(request, name) for name in OF_REQUEST}
    environ = dict(environ)
    assert environ.pop("gunicorn.socket") is client
    assert environ["wsgi.input"] is request.body
    assert callable(environ["wsgi.errors"].write)
    isinstance_of_errors = isinstance(environ.pop("wsgi.errors"), wsgi.WSGIErrorsWrapper)
    body = environ.pop("wsgi.input")
    bodies = [body.read(3), body.readline(), body.read(), body.read(5), body.readline(), body.readlines(), list(body)]
    closes = request.should_close(), response.should_close.__func__, response.must_close
    environ.pop("wsgi.early_hints")([("Link", "</a>")])
    response.start_response("200 OK", [("Content-Length", "2"), ("Connection", "close"), ("X-A", "b")])
    response.write(b"hi")
    response.close()
    answered = [line for line in client.sent.split(b"\r\n") if not line.startswith(b"Date: ")]
    return request_parts, environ, isinstance_of_errors, bodies, closes, response.should_close(), answered, rest()


def compare(cfg, data, peer):
    """Whether the data were read plainly; and if so, that gunicorn reads the same."""
    plainly = read_plainly(cfg, data, peer)
    if plainly is None:
        return False
    # It raises where it refuses them, and that is this test's failure.
    by_gunicorn = told(*read_by_gunicorn(cfg, data, peer))
    assert told(*plainly) == by_gunicorn
    # The reader knows the fields by now.
    assert told(*read_plainly(cfg, data, peer)) == by_gunicorn
    return True


@pytest.mark.parametrize("cfg", CFGS.values(), ids=list(CFGS))
def test_what_is_read_plainly_is_what_gunicorn_reads(cfg):
    for peer in PEERS:
        taken = {data for data in CORPUS if compare(cfg, data + BEHIND, peer)}
        posts = {data for data in POSTS if compare(cfg, data + BEHIND, peer)}
        # A POST has a field or two, which leaves little for the shortest bounds.
        assert len(posts) > 30 or cfg.limit_request_fields == 0 or reader_of(cfg)._most_bytes < 50
        assert len(taken) > (20 if cfg.limit_request_fields else 5)
        assert taken.isdisjoint(data for status, data in REFUSED.values() if status in (400, 414, 417, 431, 501))


@pytest.mark.parametrize("data", PLAIN)
def test_what_usual_clients_send_is_read_plainly(data):
    assert compare(CFGS["own"], data, PEERS[0])


@pytest.mark.parametrize("peer", PEERS)
def test_what_a_proxy_says_of_the_scheme_is_believed_of_a_proxy_alone(peer):
    _, _, environ, *_ = read_plainly(CFGS["a network of proxies"], BROWSER, peer)
    assert environ["wsgi.url_scheme"] == ("http" if peer[0] == "127.0.0.1" else "https")


@pytest.mark.parametrize("data", PLAIN)
def test_a_head_is_read_only_when_it_is_whole_and_no_byte_behind_it(data):
    reader = PlainRequests(CFGS["own"], LISTENER)
    for size in range(len(data)):
        assert reader.read(data[:size], Client(), PEERS[0]) is None
    for more in (b"", b"\r\n", b"\n", BEHIND, b"\0" * MOST_BYTES):
        assert reader.read(data + more, Client(), PEERS[0])[3] == len(data)


def test_a_request_has_nothing_of_the_one_before_it():
    reader = PlainRequests(CFGS["own"], LISTENER)
    _, _, first, _ = reader.read(BROWSER, Client(), ("10.0.0.1", 1))
    first["wsgi.url_scheme"] = first["HTTP_X"] = first["bide.x"] = "mine"
    again = reader.read(BROWSER.replace(b"/a,b?", b"/c?"), Client(), ("127.0.0.2", 1))[2]
    assert (again["PATH_INFO"], again["REMOTE_ADDR"]) == ("/subscribe/c", "127.0.0.2")
    assert again["wsgi.url_scheme"] == "http"  # what the first peer said for itself is no word of this one
    assert not again.keys() & {"HTTP_X", "bide.x"}
    _, _, second, _ = reader.read(PLAIN[2], Client(), ("10.0.0.2", 2))
    assert not [key for key in second if key.startswith(("HTTP_", "bide"))]
    assert (second["wsgi.url_scheme"], second["REMOTE_ADDR"], second["QUERY_STRING"]) == ("http", "10.0.0.2", "")
    assert second["wsgi.input"] is not first["wsgi.input"]


@pytest.mark.parametrize("field", [b"Connection: close", b"Connection: keep-alive", b"X: a"])
def test_what_the_app_does_to_its_environ_is_no_matter_of_the_connection(field):
    """A layer around it may take out what is between two hops, or tell of fields that nobody sent."""
    answers = []
    for read in (read_plainly, read_by_gunicorn):
        request, _, environ, *_ = read(CFGS["own"], head(b"Host: a", field), PEERS[0])
        environ["HTTP_CONNECTION"] = "keep-alive" if field.endswith(b"close") else "close"
        closes = request.should_close()
        environ.pop("HTTP_CONNECTION")
        answers.append((closes, request.should_close()))
    assert answers[0] == answers[1]


def test_names_that_somebody_thinks_up_are_not_kept_without_a_bound():
    reader = PlainRequests(CFGS["own"], LISTENER)
    for number in range(2 * plain.NAMES):
        name = b"X-%d" % number if number % 2 else b"X%07000d" % number
        assert reader.read(head(name + b": a"), Client(), PEERS[0])[2]["HTTP_" + name.decode().replace("-", "_")] == "a"
    assert len(reader._keys) <= plain.NAMES
    assert sum(map(len, reader._keys)) < 100 * plain.NAMES
    assert len(reader._heads) <= plain.HEADS
    assert sum(map(len, reader._heads)) <= plain.HEADS * plain.HEAD_CHARACTERS


def test_a_bodys_fields_are_not_kept_nor_those_that_are_too_long(monkeypatch):
    monkeypatch.setattr(plain, "HEADS", 3)
    reader = PlainRequests(CFGS["own"], LISTENER)
    for data in (PUBLISH, head(b"X: " + b"a" * plain.HEAD_CHARACTERS)):
        assert reader.read(data, Client(), PEERS[0]) is not None
    assert len(reader._heads) == 0
    for number in range(10):
        assert reader.read(head(b"X: %d" % number), Client(), PEERS[0])[2]["HTTP_X"] == str(number)
        assert len(reader._heads) <= 3


@pytest.mark.parametrize("setting", [{"protocol": "uwsgi"}, {"proxy_protocol": "auto"}, {"http2_cleartext": "both"}])
def test_where_another_protocol_is_spoken_nothing_is_read_plainly(setting):
    """A head of HTTP is what uWSGI's parser refuses, and it has a list of those who may speak to it."""
    assert Worker.has_own_road.fget(SimpleNamespace(cfg=CFGS["own"]))
    assert not Worker.has_own_road.fget(SimpleNamespace(cfg=configured(**setting)))


def test_a_body_is_read_when_all_of_it_is_there():
    """gunicorn's reader waits for the rest of it, in its own time."""
    reader = PlainRequests(CFGS["own"], LISTENER)
    ends = {data: found[3] for data in POSTS if (found := reader.read(data, Client(), PEERS[0])) is not None}
    assert len(ends) > 100
    for data, end in ends.items():
        assert reader.read(data[:end], Client(), PEERS[0])[3] == end
        assert reader.read(data[: end - 1], Client(), PEERS[0]) is None


# -- by chance

USUAL = b"Host User-Agent Accept Cookie Connection X-Forwarded-For Origin Prefer Accept-Encoding X x".split()
TELLING = (
    b"X-Forwarded-Proto X-Forwarded-Ssl X-Forwarded-Protocol X-Https X-Scheme X_Forwarded_Proto SCRIPT_NAME".split()
)
MEANING = b"Content-Length Content-Type Transfer-Encoding Expect Upgrade".split()
VALUES = b"a localhost close keep-alive https http ssl on 1 0 chunked 100-continue".split()

names = st.sampled_from(USUAL + TELLING + MEANING) | st.from_regex(rb"[A-Za-z0-9-]{1,12}", fullmatch=True)
values = st.sampled_from([b"", *VALUES]) | st.from_regex(rb"[\x20-\x7e\x80-\xff\t]{0,30}", fullmatch=True)
blanks = st.sampled_from([b" ", b" ", b" ", b"", b"\t", b"  "])
fields = st.tuples(names, st.just(b":"), blanks, values, blanks).map(b"".join)
paths = st.from_regex(rb"/[a-z0-9/_.,:@~$&'()*+;=!-]{0,20}", fullmatch=True) | st.sampled_from(TARGETS)
queries = st.just(b"") | st.from_regex(rb"\?[a-z0-9/_.,:@~$&'()*+;=!?%-]{0,20}", fullmatch=True)
odd = st.binary(min_size=1, max_size=1) | st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r\n ", b"%41", b"//", b" HTTP/1.1"])


@st.composite
def heads(draw):
    """A head of the plain kind, and at most one thing done to it."""
    some = draw(st.lists(fields, max_size=6))
    if some and draw(st.integers(0, 4)) == 0:
        some.append(draw(st.sampled_from(some)).swapcase())
    method, body = draw(st.sampled_from([(b"GET", b""), (b"POST", b"hello\r\n\r\n"), (b"POST", b"")]))
    if method == b"POST":
        some.insert(draw(st.integers(0, len(some))), b"Content-Length: %d" % draw(st.sampled_from([len(body), 0, 3])))
    data = head(*some, first=method + b" " + draw(paths) + draw(queries) + b" HTTP/1.1") + body
    place = draw(st.integers(0, len(data)))
    match draw(st.sampled_from(["nothing", "insert", "replace", "delete", "double"])):
        case "insert":
            return data[:place] + draw(odd) + data[place:]
        case "replace":
            return data[:place] + draw(odd) + data[place + 1 :]
        case "delete":
            return data[:place] + data[place + draw(st.integers(1, 3)) :]
        case "double":
            return data[:place] + data[max(0, place - draw(st.integers(1, 20))) :]
    return data


@settings(law, max_examples=500)
@given(heads(), st.sampled_from(list(CFGS.values())), st.sampled_from(PEERS), st.sampled_from([b"", b"\r\n", BEHIND]))
def test_whatever_head_somebody_sends_is_read_as_gunicorn_reads_it(data, cfg, peer, more):
    compare(cfg, data + more, peer)


# -- its time

#: Heads that a badly made pattern would try in a thousand ways before it gave them up.
SLOW = [
    CURL[:-2] + b"a" * MOST_BYTES,
    CURL[:-2] + b"a:" * MOST_BYTES,
    CURL[:-2] + b"a: b\r\n" * MOST_BYTES,
    CURL[:-2] + b"a: b\r\n" * 1000 + b"\n",
    CURL[:-2] + b"a:" + b" " * MOST_BYTES,
    CURL[:-2] + b"a:" + b"\t " * 3900 + b"\x7f\r\n\r\n",
    b"GET /" + b"a" * MOST_BYTES,
    b"GET /" + b"/" * MOST_BYTES,
    b"GET /?" + b"?" * MOST_BYTES,
    b"GET /" + b"a?" * MOST_BYTES,
    b"GET / HTTP/1.1" * 600,
    b"GET / HTTP/1.1\r\n" * 600,
    b"\xff" * MOST_BYTES,
]


def test_no_head_takes_long_to_be_given_up():
    """0.3 ms at most, each: what takes the square of its length, or worse, takes seconds."""
    reader = PlainRequests(CFGS["own"], LISTENER)
    begun = time.process_time()
    for data in SLOW:
        for _ in range(20):
            assert reader.read(data, Client(), PEERS[0]) is None
    assert time.process_time() - begun < 3


def test_a_plain_request_leaves_nothing_for_the_collector():
    """Eleven objects for each poll: a round of the collector over a thousand polls held everybody for 7 ms, and for 30
    every so often."""
    found = PlainRequests(Config(), ("127.0.0.1", 80)).read(CURL, None, ("10.0.0.1", 5))
    request = weakref.ref(found[0])
    assert request().headers
    del found
    assert request() is None
