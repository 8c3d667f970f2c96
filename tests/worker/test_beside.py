"""Real servers by this worker whose app is more than Bide's."""

import re

import pytest

from tests.support.clients import Line, get, subscription
from tests.support.servers import Server, await_that

#: Bide, within a layer of its own start_response; and two paths of another app.
APP = """
import gevent
from wsgi import app as bide

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/unread":
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
    if path == "/late":
        raise gevent.Timeout(1)
    if path.startswith("/subscribe/wrapped"):
        def start(status, headers, *more):
            return start_response(status, [*headers, ("X-Layer", "1")], *more)
        return [*bide(environ, start)]
    return bide(environ, start_response)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    (folder / "layered.py").write_text(APP)
    format_ = "%(r)s %(s)s %(B)s"
    options = ["--keep-alive", "1", "--pythonpath", str(folder), "--access-logfile", str(folder / "access.log")]
    server = Server(folder, options=[*options, "--access-logformat", format_])
    server._app = "layered:app"
    with server:
        yield server


def test_a_layer_with_a_start_response_of_its_own_gets_a_whole_answer(server):
    with Line(server) as line:
        line.send(subscription("wrapped", timeout=0.3))
        answer = line.answer()
    assert answer.status == 200
    assert answer.headers[b"x-layer"] == b"1"
    assert answer.json()["status"] == "timeout"


def test_the_access_log_tells_the_size_of_the_body(server):
    with Line(server) as line:
        answer = line.send(subscription("logged", timeout=0.3)).answer()
    log = server.folder / "access.log"
    line = await_that(lambda: re.search(r"/subscribe/logged\S* HTTP/1.1 (\d+) (\d+)", log.read_text()))
    assert line.groups() == ("200", str(len(answer.body)))


def test_what_ends_an_app_otherwise_than_by_an_exception_is_a_failure_too(server):
    with Line(server) as line:
        assert line.send(get("/late")).answer().status == 500


def test_a_body_that_another_app_leaves_unread_has_no_more_time_than_the_next_head(server):
    with Line(server) as line:
        assert line.ask(get("/unread", "Content-Length: 3") + b"abc").status == 200
        assert line.ask(get("/unread", "Content-Length: 1000") + b"x").status == 200
        assert line.answer(within=15) is None
