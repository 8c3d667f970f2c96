"""Tokens are taken out of a request's URL, and out of what is logged, however they are spelt."""

import logging
from types import SimpleNamespace

import hypothesis
import pytest
from flask import request
from hypothesis import strategies

from app.scrub import HIDDEN, QUERY_TOKENS, scrub, scrub_logs
from tests.support.app import law, serving

SECRET = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln"

QUERIES = [
    f"access_token={SECRET}",
    f"timeout=0&access_token={SECRET}&limit=3",
    f"access%5ftoken={SECRET}",
    f"access_%74%6Fken={SECRET}",
    f"access_to%6Ben={SECRET}",
    f"%61%63%63%65%73%73%5F%74%6F%6B%65%6E={SECRET}",
    f"access_token={SECRET}&access_token={SECRET}",
    f"access_token=;{SECRET}",
    f"access_token=+{SECRET},",
    # None of these is the parameter, and each has a token that nobody is to read.
    f"access_token%3D{SECRET}",
    f"timeout=5?access_token={SECRET}",
    f"next=/subscribe%3Faccess_token%3D{SECRET}",
    f"ACCESS_token={SECRET}",
]


def environ(uri, **more):
    path, _, query = uri.partition("?")
    return {"RAW_URI": uri, "PATH_INFO": path, "QUERY_STRING": query, **more}


@pytest.mark.parametrize("query", QUERIES)
def test_no_token_is_left_in_what_tells_of_the_url(query):
    asked = environ(f"/subscribe/news?{query}", HTTP_REFERER=f"http://a.example/?{query}")
    headers = [("HOST", "localhost"), ("REFERER", f"http://a.example/?{query}")]
    request = SimpleNamespace(uri=asked["RAW_URI"], query=query, headers=headers)
    scrub(asked, request)
    assert SECRET not in repr((asked, request))
    assert HIDDEN in asked["RAW_URI"]
    assert HIDDEN in asked["QUERY_STRING"] == request.query
    assert HIDDEN in asked["HTTP_REFERER"] == request.headers[1][1]
    assert request.headers[0] == ("HOST", "localhost")


def test_the_rest_of_a_url_stays():
    asked = environ(f"/subscribe/a%2Cb?timeout=5&access%5Ftoken={SECRET}&last_event_id=1%2C2#end")
    scrub(asked, None)
    assert asked["RAW_URI"] == "/subscribe/a%2Cb?timeout=5&access%5Ftoken=***&last_event_id=1%2C2#end"


@pytest.mark.parametrize(
    "uri", ["/subscribe/a%2Cb?timeout=5", "/x?token=1&access_tokens=2&my_access_token_is=3", "*", ""]
)
def test_a_url_without_a_token_is_left_alone(uri):
    asked = environ(uri, HTTP_REFERER="http://a.example/?token=1")
    before = dict(asked)
    scrub(asked, None)
    assert asked == before


def test_a_path_that_has_one_is_scrubbed_too():
    for path in (f"/subscribe/news&access_token={SECRET}", f"/subscribe/news?access_token={SECRET}"):
        asked = {"RAW_URI": path, "PATH_INFO": path, "QUERY_STRING": ""}
        scrub(asked, None)
        assert SECRET not in repr(asked)


def test_the_token_itself_is_kept_where_no_log_shows_it():
    asked = environ(f"/?access_token={SECRET[:5]}%2E&a=b&access%5Ftoken={SECRET}&access_token=")
    scrub(asked, None)
    assert asked[QUERY_TOKENS].texts == (f"{SECRET[:5]}.", SECRET, "")
    assert f"{asked[QUERY_TOKENS]} {asked[QUERY_TOKENS]!r} {asked}".count(SECRET) == 0


def test_what_a_server_without_gunicorn_hands_over_is_scrubbed():
    asked = {"QUERY_STRING": f"access_token={SECRET}", "REQUEST_URI": f"/?access_token={SECRET}"}
    scrub(asked, None)
    assert asked[QUERY_TOKENS].texts == (SECRET,)
    assert SECRET not in repr(asked)


def test_functions_around_the_views_see_none():
    seen = []
    with serving() as app:
        app.before_request(lambda: seen.append(repr(request.environ)))
        app.test_client().get(f"/subscribe/news?timeout=0&access_token={SECRET}")
        app.test_client().get(f"/nowhere?access%5Ftoken={SECRET}")
    assert len(seen) == 2
    assert SECRET not in "".join(seen)


@pytest.mark.parametrize(
    "path", [f"/subscribe/news&access_token={SECRET}", f"/subscribe/a?timeout=5?access_token={SECRET}"]
)
def test_no_problem_tells_one(path):
    with serving() as app:
        answer = app.test_client().get(path)
    assert answer.status_code == 400
    assert SECRET not in answer.text


# Logs

LINES = [
    f"Invalid HTTP request line: 'GET /?access_token={SECRET} HTTP/1.1 x'",
    f"Invalid HTTP Header: 'Authorization Bearer {SECRET}'",
    f"Invalid HTTP Header: 'bearer  {SECRET}'",
    f"a=1; __Host-bide={SECRET}; b=2",
    f'a=1; __Host-bide="{SECRET}"',
    rf'"a=1; __Host-bide=\"{SECRET}\""',
    f"__Host-bide = {SECRET}; b=2",
    f"Sec-WebSocket-Protocol: bide, bearer.{SECRET}",
    f"/?%61ccess_token={SECRET}",
]


@pytest.fixture
def log():
    """What the handlers of the loggers get to write."""
    scrub_logs()
    scrub_logs()
    written = []

    class Handler(logging.Handler):
        def emit(self, record):
            written.append(self.format(record))

    handler = Handler()
    loggers = [logging.getLogger(name) for name in ("bide", "gunicorn.error", "gunicorn.access", "werkzeug")]
    for logger in loggers:
        logger.addHandler(handler)
    yield written
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize("name", ["bide", "gunicorn.error", "gunicorn.access", "werkzeug"])
@pytest.mark.parametrize("line", LINES)
def test_no_token_is_logged(log, name, line):
    logger = logging.getLogger(name)
    logger.error(line)
    logger.error("%s and %d", line, 1)
    logger.error('%(r)s "%(f)s"', {"r": "GET / HTTP/1.1", "f": line})
    assert len(log) == 3
    assert SECRET not in "".join(log)
    assert all(HIDDEN in written for written in log)


def test_no_exception_tells_one(log):
    try:
        raise ValueError(LINES[0])
    except ValueError:
        logging.getLogger("bide").exception("it failed")
    assert SECRET not in log[0]
    assert log[0].startswith("it failed\nTraceback")
    assert f"access_token={HIDDEN} HTTP/1.1" in log[0]


def test_other_lines_are_logged_as_they_are(log):
    atoms = {"r": "GET /a%20b HTTP/1.1"}
    logger = logging.getLogger("gunicorn.access")
    logger.error("%(r)s", atoms)
    logger.error("Give a token: Authorization: Bearer <token>")
    assert log == ["GET /a%20b HTTP/1.1", "Give a token: Authorization: Bearer <token>"]


SPELT = strategies.lists(strategies.integers(0, 2), min_size=12, max_size=12).map(
    lambda ways: "".join(
        (c, f"%{ord(c):02x}", f"%{ord(c):02X}")[way] for c, way in zip("access_token", ways, strict=True)
    )
)
AROUND = strategies.text(
    strategies.characters(min_codepoint=33, max_codepoint=126, exclude_characters='#"&='), max_size=20
)


@law
@hypothesis.given(name=SPELT, before=AROUND, after=AROUND)
def test_no_spelling_of_the_name_hides_a_token(name, before, after):
    asked = environ(f"/subscribe/news?{before}&{name}={SECRET}&{after}=1")
    scrub(asked, None)
    assert asked[QUERY_TOKENS].texts == (SECRET,)
    assert asked["RAW_URI"] == f"/subscribe/news?{before}&{name}={HIDDEN}&{after}=1"
    assert SECRET not in repr(asked)
