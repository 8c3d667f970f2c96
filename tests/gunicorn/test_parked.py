"""Bide's own worker: a poll that waits costs a connection and little else, and is answered as any other."""

import re
import time
from pathlib import Path

import pytest

from tests.support.clients import Herd, Line, get, subscription
from tests.support.servers import Server, await_that

POLLS = 4000
#: What is promised is 2; what only a broken worker takes is held here. A greenlet for each takes 17.
KIB = 3
BROWSER = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Accept: application/json, text/plain, */*",
    "Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: http://localhost:8000/" + "a" * 300,
    "Cookie: session=" + "b" * 700,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("parked"), inspected=True) as server:
        yield server


def resident_kib(server):
    """The proportional set size of the worker, once what is free was given back."""
    server.weight()
    (pid,) = server.worker_pids()
    return int(re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])


def cpu_seconds(server):
    (pid,) = server.worker_pids()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize("headers", [[], BROWSER], ids=["plain", "a browser's"])
def test_a_parked_poll_weighs_little_whatever_its_head_was(server, headers):
    with Herd(server) as herd:
        # What the first of them take is not given back.
        herd.add(subscription("news", 0, 50, None, *headers), 200)
        await_that(lambda: server.counts()["polls"] == 200)
        before = resident_kib(server)
        herd.add(subscription("news", 0, 50, None, *headers), POLLS)
        await_that(lambda: server.counts()["polls"] == POLLS + 200)
        assert (resident_kib(server) - before) / POLLS < KIB
        id = server.publish("news", "all")
        herd.read(lambda: len(herd.answers) == POLLS + 200)
        assert {answer.json()["id"] for answer in herd.answers} == {id}
    server.request("DELETE", "/channels/news")


def test_bytes_behind_parked_polls_neither_spin_nor_are_lost(server):
    request = get("/healthz")
    with Herd(server) as herd:
        herd.add(subscription("behind") + request[:1], 1000)
        await_that(lambda: server.counts()["polls"] == 1000)
        begun, cpu = time.monotonic(), cpu_seconds(server)
        time.sleep(1)  # nothing must happen: there is no condition to await
        assert (cpu_seconds(server) - cpu) / (time.monotonic() - begun) < 0.1
        server.publish("behind", 1)
        herd.read(lambda: len(herd.answers) == 1000)
        for sock in list(herd.open):
            sock.sendall(request[1:])
        herd.read(lambda: len(herd.answers) == 2000)
        assert [answer.json() for answer in herd.answers[1000:]] == [{"status": "alive"}] * 1000


def test_a_parked_answer_carries_what_after_request_functions_added(server):
    """The window for tests is one: it names the process."""
    with Line(server) as line:
        line.send(subscription("added", 0, 50, None, "Prefer: wait=20"))
        await_that(lambda: server.counts()["polls"] == 1)
        id = server.publish("added", 1)
        answer = line.answer()
    assert answer.pid in server.worker_pids()
    assert answer.headers[b"content-type"] == b"application/json"
    assert answer.headers[b"cache-control"] == b"no-store"
    assert answer.headers[b"last-event-id"] == str(id).encode()
    assert answer.headers[b"connection"] == b"keep-alive"
    assert b"date" in answer.headers


def test_an_answer_of_http_1_0_says_so_and_ends_the_connection(server):
    with Line(server) as line:
        line.send(b"GET /subscribe/old?timeout=20 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        await_that(lambda: server.counts()["polls"] == 1)
        server.publish("old", 1)
        answer = b""
        while data := line.sock.recv(65536):
            answer += data
        assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert b'"channel":"old"' in answer


def test_a_poll_with_a_body_is_answered_and_its_connection_closed(server):
    with Line(server) as line:
        line.send(get("/subscribe/body?timeout=20", "Content-Length: 5") + b"abc")
        await_that(lambda: server.counts()["polls"] == 1)
        server.publish("body", 1)
        answer = line.answer()
        assert answer.status == 200
        assert answer.closes


def test_the_access_log_tells_of_a_parked_poll_when_it_is_answered(tmp_path):
    log = tmp_path / "access.log"
    options = ["--access-logfile", str(log), "--access-logformat", "%(m)s %(U)s %(s)s %(B)s %(M)s"]
    with Server(tmp_path / "server", options=options) as server, Line(server) as line:
        line.send(subscription("logged"))
        await_that(lambda: server.get("/channels/logged/subscribers")[2].count(b"client_id") == 1)
        assert "/subscribe/logged" not in log.read_text()
        server.publish("logged", 1)
        assert line.answer().status == 200
        found = await_that(lambda: re.search(r"^GET /subscribe/logged 200 (\d+) (\d+)$", log.read_text(), re.M))
        assert int(found[1]) > 50
        assert log.read_text().count("/subscribe/logged") == 1


def test_two_addresses_share_the_connections_of_the_worker(tmp_path):
    """Not half for each, as with gunicorn's own worker."""
    options = ["--worker-connections", "40"]
    with Server(tmp_path, listeners=2, inspected=True, options=options) as server, Herd(server) as herd:
        herd.add(subscription("news"), 36)
        await_that(lambda: server.counts()["polls"] == 36)
        herd.add(subscription("news"), 1)
        herd.read(lambda: herd.answers)
        assert [answer.status for answer in herd.answers] == [503]
        assert server.get("/healthz")[0] == 200
