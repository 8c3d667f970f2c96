"""A request goes one of two roads through Bide's worker, by its head: nobody can tell from the answer which it was."""

import contextlib
import os
import signal
import socket
import textwrap

import pytest

from tests.support.clients import Line, get, post, reset, subscription
from tests.support.roads import FILE
from tests.support.servers import ROOT, Server, await_that

#: Makes a head one for gunicorn's parser, and nothing else of it: the field itself is dropped.
PARSED = "X_Y: a"
CONF = f"""
exec(open({str(ROOT / "gunicorn.conf.py")!r}).read())
from tests.support.roads import around
post_worker_init = around(post_worker_init)
"""


def configured(folder, more="", options=(), **arguments):
    """A server with a configuration of its own on top of Bide's."""
    path = folder / "conf.py"
    path.write_text(CONF + textwrap.dedent(more))
    return Server(folder / "server", inspected=True, options=["-c", str(path), *options], gevent=False, **arguments)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with configured(tmp_path_factory.mktemp("roads")) as server:
        yield server


def road(line, *headers):
    answer = line.ask(get("/-odd-/road", *headers))
    return answer.body


def all_of(server, data):
    """All that is answered, to the end of the connection or until nothing more is to come."""
    with server.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(65536):
                found += piece
    return [line for line in found.split(b"\r\n") if not line.startswith(b"Date: ")]


def test_a_plain_head_goes_the_short_road_and_any_other_gunicorns(server):
    with Line(server) as line:
        assert road(line) == b"plain"
        assert road(line, PARSED) == b"parsed"
        assert road(line) == b"plain"
        for method in ("POST", "PUT", "OPTIONS", "DELETE", "PATCH"):
            assert line.ask(get("/-odd-/road").replace(b"GET", method.encode())).body == b"parsed"
        assert line.ask(get("/-odd-/%72oad")).body == b"parsed"
        assert line.ask(get("/-odd-/road").replace(b"1.1", b"1.0")).body == b"parsed"
    head = all_of(server, get("/-odd-/road", "Connection: close").replace(b"GET", b"HEAD"))
    assert b"X-Method: HEAD" in head
    assert head[-1] == b""


ODD = [
    *(
        "raises",
        "raises-late",
        "raises-unsent",
        "breaks-off",
        "breaks-off-unsized",
        "breaks-off-at-once",
        "says-nothing",
    ),
    *("not-bytes", "a-bad-status", "a-bad-header", "too-much", "no-content", "unsized", "hints", "sized-file"),
]


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("headers", [[], ["Connection: close"]])
def test_both_roads_answer_alike_whatever_the_app_does(server, what, headers):
    """To the byte, and with the same for the request behind it."""
    behind = get("/-odd-/road", PARSED)
    plain = all_of(server, get(f"/-odd-/{what}", *headers) + behind)
    assert plain == all_of(server, get(f"/-odd-/{what}", PARSED, *headers) + behind)
    assert plain[0].startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("what", ["file", "sized-file"])
@pytest.mark.parametrize("headers", [[], [PARSED]])
def test_a_file_is_sent_whole(server, what, headers):
    status, _, body = server.get(f"/-odd-/{what}", headers=dict(header.split(": ") for header in headers))
    assert (status, body) == (200, FILE)


@pytest.mark.parametrize("headers", [[], [PARSED]])
def test_an_answer_that_breaks_off_for_nobody_is_told_once(server, headers):
    before = server.output().count("Error handling request")
    sock = server.connect()
    sock.sendall(get("/-odd-/not-bytes-later", *headers))
    reset(sock)
    await_that(lambda: server.output().count("Error handling request") > before)
    await_that(lambda: server.weight()["connections"] == 1)
    assert server.output().count("Error handling request") == before + 1
    assert "could not be served" not in server.output()


def test_an_answer_is_closed_once_however_it_ends(server):
    with Line(server) as line:
        before = int(line.ask(get("/-odd-/closed")).body)
        for headers in ([], [PARSED]):
            for what in ("breaks-off", "breaks-off-at-once"):
                all_of(server, get(f"/-odd-/{what}", *headers))
        assert int(line.ask(get("/-odd-/closed")).body) == before + 4


def test_requests_of_both_kinds_in_one_packet_are_answered_in_order(server):
    requests, wanted = b"", []
    for number in range(20):
        requests += get("/-odd-/road") + get("/-odd-/road", PARSED) + post("/publish/mixed", {"message": number})
        requests += get("/-odd-/road") + b"\r\n" + get("/-odd-/road")
        wanted += [b"plain", b"parsed", None, b"plain", b"parsed"]
    requests += subscription("mixed", 0, 0, 100) + get("/-odd-/road")
    with Line(server) as line:
        line.send(requests)
        for body in wanted:
            answer = line.answer()
            assert answer.status == 200
            assert body is None or answer.body == body
        assert len(line.answer().json()["events"]) == 20
        assert line.answer().body == b"plain"


@pytest.mark.parametrize("pieces", [1, 7, 50])
def test_requests_of_both_kinds_in_pieces_are_answered_in_order(server, pieces):
    requests = (get("/-odd-/road") + get("/-odd-/road", PARSED) + post("/publish/pieces", {"message": "a" * 100})) * 10
    with Line(server) as line:
        for place in range(0, len(requests), pieces):
            line.send(requests[place : place + pieces])
        bodies = [line.answer().body for _ in range(30)]
        assert bodies[0::3] == [b"plain"] * 10
        assert bodies[1::3] == [b"parsed"] * 10
        assert all(b"event_id" in body for body in bodies[2::3])


def test_requests_behind_a_parked_poll_go_the_road_of_each(server):
    for headers in ([], [PARSED]):
        with Line(server) as line:
            line.send(
                subscription("behind", "latest", 50, None, *headers) + get("/-odd-/road") + get("/-odd-/road", PARSED)
            )
            await_that(lambda: server.counts()["polls"] == 1)
            id = server.publish("behind", 1)
            assert line.answer().json()["id"] == id
            assert [line.answer().body for _ in range(2)] == [b"plain", b"parsed"]


@pytest.mark.parametrize("headers", [[], [PARSED]])
def test_a_connection_that_is_to_close_is_closed_with_the_answer_of_its_poll(server, headers):
    with Line(server) as line:
        line.send(subscription("closing", "latest", 50, None, "Connection: close", *headers) + get("/healthz"))
        await_that(lambda: server.counts()["polls"] == 1)
        server.publish("closing", 1)
        assert line.answer().closes
        assert line.answer() is None


def test_hooks_of_gunicorns_see_every_request_and_every_poll(tmp_path):
    hooks = f"""
        def pre_request(worker, req):
            open({str(tmp_path / "hooks")!r}, "a").write(f"pre {{req.path}}\\n")

        def post_request(worker, req, environ, resp):
            open({str(tmp_path / "hooks")!r}, "a").write(f"post {{req.path}} {{environ['REQUEST_METHOD']}}\\n")
    """
    assert_all_are_told(tmp_path, configured(tmp_path, hooks), tmp_path / "hooks", "pre {}", "post {} GET")


def test_one_hook_is_enough(tmp_path):
    hook = f"""
        def post_request(worker, req):
            open({str(tmp_path / "hooks")!r}, "a").write(f"{{req.path}}\\n")
    """
    assert_all_are_told(tmp_path, configured(tmp_path, hook), tmp_path / "hooks", "{}")


def test_the_access_log_has_every_request_and_every_poll(tmp_path):
    options = ["--access-logfile", str(tmp_path / "log"), "--access-logformat", "%(U)s"]
    assert_all_are_told(tmp_path, configured(tmp_path, options=options), tmp_path / "log", "{}")


def test_so_has_a_logger_of_the_operators_own(tmp_path):
    logger = f"""
        from gunicorn.glogging import Logger

        class logger_class(Logger):
            def access(self, resp, req, environ, request_time):
                open({str(tmp_path / "log")!r}, "a").write(req.path + "\\n")
    """
    assert_all_are_told(tmp_path, configured(tmp_path, logger), tmp_path / "log", "{}")


def assert_all_are_told(folder, server, told, *forms):
    """What is told of ten requests, of ten polls that are answered at once and of ten that wait."""
    with server, Line(server) as line:
        for number in range(10):
            assert line.ask(get("/-odd-/road")).body == b"parsed"
            line.ask(subscription(f"empty{number}", "latest", 0))
            line.send(subscription("waiting", "latest"))
            await_that(lambda: server.counts()["polls"] == 1)
            server.publish("waiting", number)
            assert line.answer().json()["message"] == number
        paths = ["/-odd-/road", "/subscribe/waiting", "/subscribe/empty7"]
        lines = [form.format(path) for form in forms for path in paths]
        counted = await_that(
            lambda: len(found := told.read_text().splitlines()) and [found.count(each) for each in lines]
        )
        assert counted == [10, 10, 1] * len(forms)


def test_a_worker_is_recycled_after_max_requests(tmp_path):
    with configured(tmp_path, options=["--max-requests", "50"]) as server:
        (before,) = server.worker_pids()
        for _ in range(50):
            server.get("/healthz")
        await_that(lambda: server.worker_pids() not in ([], [before]))
        server.await_ready()


class Mounted(Server):
    """A server whose paths begin with SCRIPT_NAME."""

    def get(self, path, **arguments):
        return super().get("/bide" + path, **arguments)


def test_an_app_that_is_mounted_somewhere_is_asked_for_what_is_below(tmp_path):
    with Mounted(tmp_path, env={"SCRIPT_NAME": "/bide"}, gevent=False) as server, Line(server) as line:
        assert line.ask(get("/bide/healthz")).json() == {"status": "alive"}
        assert line.ask(get("/bide/subscribe/news?timeout=0")).json()["status"] == "timeout"
        assert line.ask(get("/healthz")).status == 500  # gunicorn's word for what is not below


def test_what_the_app_tells_goes_into_the_log_that_was_opened_again(tmp_path):
    log, old = tmp_path / "error.log", tmp_path / "old.log"
    with configured(tmp_path, options=["--error-logfile", str(log)]) as server, Line(server) as line:
        assert road(line) == b"plain"
        line.ask(get("/-odd-/errors"))
        assert log.read_text().count("told by the app") == 1
        log.rename(old)
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGUSR1)
        await_that(log.exists)
        line.ask(get("/-odd-/errors"))
        assert log.read_text() == "told by the app\n"
        assert old.read_text().count("told by the app") == 1
