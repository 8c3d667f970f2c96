"""The request body as it arrives: whole or refused, bounded in bytes and in time.

What is in it is test_publication.py.
"""

import io

import gevent
import pytest
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.errors import NoMoreData
from gunicorn.http.unreader import IterUnreader

from app import guard
from app.channels import body as module
from app.channels.body import read
from app.errors import BodyTimeout, InvalidBody, TooLarge, UnsupportedBody
from app.guard import discard
from app.lifecycle import UNREAD
from tests.support.app import parts, problem, serving

MOST = 100


class Request:
    """As much of gunicorn's request as its reader of chunks looks at."""

    limit_request_field_size = 8190
    max_buffer_headers = 8190

    def parse_headers(self, data, from_trailer):
        return []


class Slow:
    """A body of which nothing comes."""

    def read(self, size):
        gevent.sleep(60)


class Broken:
    """A body whose connection is gone."""

    def __init__(self, error):
        self.error = error

    def read(self, size):
        raise self.error


def declared(content, length=None):
    return {"CONTENT_LENGTH": str(len(content) if length is None else length), "wsgi.input": io.BytesIO(content)}


def chunked(*pieces):
    """A body in chunks, read by gunicorn itself out of the pieces that arrive."""
    reader = ChunkedReader(Request(), IterUnreader(iter(pieces)))
    return {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Body(reader)}


def refused(kind, environ):
    """The connection of a body that was refused cannot be used again."""
    environ[UNREAD] = True
    with pytest.raises(kind) as caught:
        read(environ, MOST)
    assert UNREAD in environ
    return caught.value


def accepted(environ):
    environ[UNREAD] = True
    content = read(environ, MOST)
    assert UNREAD not in environ
    return content


@pytest.mark.parametrize("length", [0, 1, MOST - 1, MOST])
def test_a_body_up_to_the_bound_is_read_whole(length):
    assert accepted(declared(b"x" * length)) == b"x" * length


def test_a_body_that_declares_more_is_refused_before_it_is_read():
    environ = declared(b"x" * 1000)
    assert "100 bytes (BIDE_MAX_BODY_BYTES); this one says 1,000" in str(refused(TooLarge, environ))
    assert environ["wsgi.input"].tell() == 0


@pytest.mark.parametrize("environ", [{}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "0"}])
def test_a_request_without_a_body_has_an_empty_one(environ):
    assert read({**environ, "wsgi.input": io.BytesIO(b"")}, MOST) == b""


def test_no_more_than_was_declared_is_read():
    assert accepted(declared(b"one, and what comes after", 3)) == b"one"


def test_a_body_shorter_than_it_says_is_no_body():
    assert "3 bytes where Content-Length says 10" in str(refused(InvalidBody, declared(b"abc", 10)))


def test_chunks_are_put_together_however_they_arrive():
    whole = b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\n\r\n"
    assert accepted(chunked(whole)) == b"abcdefgh"
    assert accepted(chunked(*[bytes([byte]) for byte in whole])) == b"abcdefgh"


@pytest.mark.parametrize("size", [MOST - 1, MOST])
def test_chunks_up_to_the_bound_are_read_whole(size):
    assert len(accepted(chunked(b"%x\r\n" % size, b"x" * size, b"\r\n0\r\n\r\n"))) == size


def test_chunks_over_the_bound_are_refused_and_not_cut():
    refused(TooLarge, chunked(b"%x\r\n" % (MOST + 1), b"x" * (MOST + 1), b"\r\n0\r\n\r\n"))


def test_chunks_without_an_end_are_read_little_further_than_the_bound():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield b"a\r\n" + b"x" * 10 + b"\r\n"

    refused(TooLarge, chunked_of(endless()))
    assert len(taken) < 200


def chunked_of(pieces):
    return {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Body(ChunkedReader(Request(), IterUnreader(pieces)))}


@pytest.mark.parametrize("text", [b"x\r\nabc\r\n", b"-3\r\nabc\r\n", b"3\r\nabcdef\r\n0\r\n\r\n", b"\r\n", b"3 abc"])
def test_chunks_that_are_none_are_the_clients_fault(text):
    refused(InvalidBody, chunked(text))


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "chunked, chunked", "identity"])
def test_a_transfer_coding_but_chunks_is_refused(coding):
    """Its bytes, still coded, were the message."""
    refused(UnsupportedBody, {**chunked(b"1\r\n1\r\n0\r\n\r\n"), "HTTP_TRANSFER_ENCODING": coding})


@pytest.mark.parametrize("text", [b"", b"3\r\n", b"3\r\nab", b"3\r\nabc\r\n"])
def test_chunks_that_end_before_the_last_are_no_body(text):
    refused(InvalidBody, chunked(text))


def test_a_body_that_does_not_come_gives_up_its_place(monkeypatch):
    monkeypatch.setattr(module, "BODY_SECONDS", 0.01)
    environ = {"CONTENT_LENGTH": "5", "wsgi.input": Slow()}
    assert "within 0.01 seconds" in str(refused(BodyTimeout, environ))


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "identity, gzip", "br" * 100])
def test_a_coded_body_is_refused_before_it_is_read(coding):
    environ = {**declared(b"x" * 10), "HTTP_CONTENT_ENCODING": coding}
    assert len(str(refused(UnsupportedBody, environ))) < 200
    assert environ["wsgi.input"].tell() == 0


@pytest.mark.parametrize("coding", ["", "identity", " Identity "])
def test_a_body_that_says_it_is_plain_is_read(coding):
    assert accepted({**declared(b"x"), "HTTP_CONTENT_ENCODING": coding}) == b"x"


def test_some_more_of_a_refused_body_is_thrown_away():
    rest = io.BytesIO(b"x" * 1000)
    discard({"wsgi.input": rest})
    assert rest.tell() == 1000


def test_no_more_than_some_is_thrown_away():
    rest = io.BytesIO(b"x" * (guard.LINGER_BYTES + 1000))
    discard({"wsgi.input": rest})
    assert rest.tell() == guard.LINGER_BYTES


def test_nobody_waits_long_for_the_rest_of_a_refused_body(monkeypatch):
    monkeypatch.setattr(guard, "LINGER_SECONDS", 0.01)
    with gevent.Timeout(1):
        discard({"wsgi.input": Slow()})


@pytest.mark.parametrize("error", [ConnectionResetError(), NoMoreData()])
def test_a_connection_that_is_gone_has_no_rest(error):
    discard({"wsgi.input": Broken(error)})


def test_what_comes_after_broken_chunks_is_no_trouble():
    environ = chunked(b"x\r\nabc\r\n")
    refused(InvalidBody, environ)
    discard(environ)


# Over HTTP


@pytest.fixture
def client():
    with serving(max_body_bytes=MOST, max_message_bytes=MOST) as app:
        yield app.test_client()


def test_a_refused_body_is_told_and_read_on_after_the_answer(client):
    rest = io.BytesIO(b"x" * 1000)
    answer = client.post("/publish/news", input_stream=rest, headers={"Content-Length": "1000"})
    assert answer.status_code == 413
    assert problem(answer)["type"] == "/problems/too-large"
    answer.close()
    assert rest.tell() == 1000


def test_a_slow_body_is_408(client, monkeypatch):
    monkeypatch.setattr(module, "BODY_SECONDS", 0.01)
    monkeypatch.setattr(guard, "LINGER_SECONDS", 0.01)
    environ = {"wsgi.input": Slow(), "CONTENT_LENGTH": "5", "CONTENT_TYPE": "text/plain"}
    answer = client.post("/publish/news", environ_overrides=environ)
    assert answer.status_code == 408
    assert problem(answer)["type"] == "/problems/body-timeout"


def test_a_short_body_is_400_and_nothing_of_it_is_stored():
    with serving() as app:
        answer = app.test_client().post(
            "/publish/news",
            environ_overrides={**declared(b'{"message":1}', 20), "CONTENT_TYPE": "application/json"},
        )
        assert answer.status_code == 400
        assert problem(answer)["type"] == "/problems/invalid-body"
        assert parts(app).store.info("news") is None
