"""CORS on the wire: the answer to a parked poll has the headers of any other, each page its own."""

import contextlib

import pytest

from tests.support.clients import Line, get, subscription
from tests.support.servers import Server, await_that

PAGE, OTHER_PAGE, EVIL = "https://app.example", "http://localhost:3000", "https://evil.example"
#: Makes a head one for gunicorn's parser, and nothing else of it (test_roads.py).
PARSED = "X_Y: a"
#: Differ from one answer to the next.
OF_ONE = (b"connection", b"content-length", b"date", b"last-event-id", b"server")


class Open(Server):
    """The very app of wsgi.py, with a window that touches no header of an answer."""

    def __init__(self, folder, **more):
        super().__init__(folder, **more)
        self._app = "tests.support.altered:app"


@pytest.fixture(scope="module")
def server(worker, tmp_path_factory):
    with Open(tmp_path_factory.mktemp("cors"), env={"BIDE_CORS_ORIGINS": f"{PAGE} {OTHER_PAGE}"}) as server:
        yield server
        await_that(lambda: server.counts()["polls"] == 0)


def of(origin, *more):
    return [*([] if origin is None else [f"Origin: {origin}"]), *more]


def parked(server, askers, channel, ask=subscription):
    """The answers to polls of one channel that wait at the same time, one for each asker's headers."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(Line(server)) for _ in askers]
        for line, headers in zip(lines, askers, strict=True):
            line.send(ask(channel, 0, 50, None, *headers))
        await_that(lambda: server.counts()["polls"] == len(askers))
        server.publish(channel, "m")
        answers = [line.answer() for line in lines]
    assert [answer.json()["message"] for answer in answers] == ["m"] * len(askers)
    return answers


def lasting(answer):
    return {name: value for name, value in answer.headers.items() if name not in OF_ONE}


@pytest.mark.parametrize("road", [(), (PARSED,)], ids=["plain", "parsed"])
def test_each_page_has_its_own_headers_with_an_event_that_all_have(server, road):
    origins = [PAGE, None, OTHER_PAGE, EVIL, PAGE, None, OTHER_PAGE]
    for turn in range(2):  # heads are remembered
        answers = parked(server, [of(origin, *road) for origin in origins], f"news{turn}{len(road)}")
        for origin, answer in zip(origins, answers, strict=True):
            said = None if origin in (None, EVIL) else origin.encode()
            assert answer.headers.get(b"access-control-allow-origin") == said
            assert answer.headers.get(b"access-control-allow-credentials") == (said and b"true")
            assert (b"access-control-expose-headers" in answer.headers) == bool(said)
            assert answer.headers[b"vary"] == b"Origin"


@pytest.mark.parametrize("origin", [PAGE, EVIL, None])
def test_the_answer_to_a_poll_that_waited_has_the_headers_of_one_that_did_not(server, origin):
    channel = f"same{len(str(origin))}"
    (waited,) = parked(server, [of(origin)], channel)
    with Line(server) as line:
        at_once = line.ask(subscription(channel, 0, 50, None, *of(origin)))
        empty = line.ask(subscription(channel, "latest", 0, None, *of(origin)))
        listed = line.ask(get("/channels", *of(origin)))
    assert waited.body == at_once.body
    assert lasting(waited) == lasting(at_once) == lasting(empty) == lasting(listed)
    assert waited.headers[b"x-content-type-options"] == b"nosniff"


def test_a_poll_that_waited_echoes_what_was_preferred_to_a_page_too(server):
    def ask(channel, cursor, timeout, limit, *headers):
        return get(f"/subscribe/{channel}", f"Prefer: wait={timeout}", *headers)

    (answer,) = parked(server, [of(PAGE)], "preferred", ask)
    assert answer.headers[b"access-control-allow-origin"] == PAGE.encode()
    assert answer.headers[b"preference-applied"] == b"wait=50"


def test_what_an_embedder_adds_to_a_poll_that_waits_is_added_to_the_rest(server):
    (answer,) = parked(server, [of(PAGE, "X-Do: add", "X-Value: 1")], "added")
    assert answer.headers[b"x-value"] == b"1"
    assert answer.headers[b"access-control-allow-origin"] == PAGE.encode()
