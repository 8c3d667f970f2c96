"""Limits of real workers, on both roads: who is refused, who is only slowed, and who is neither.

Each test is a subject of its own, whose token says how often it may do what.
"""

import json
import subprocess
import sys
import threading
import time

import jwt
import pytest

from app.client import Client
from tests.support.clients import Herd, Line, get, line_to, post, publication, subscription
from tests.support.servers import ROOT, Server, await_that, environment

SECRET = "a secret of thirty-two bytes or more"


def token(subject, **rate):
    rights = {"publish": ["*"], "subscribe": ["*"], "rate": rate}
    return jwt.encode({"sub": subject, "exp": time.time() + 600, "bide": rights}, SECRET, "HS256")


def bearer(subject, **rate):
    return "Authorization: Bearer " + token(subject, **rate)


@pytest.fixture(scope="module", params=[False, True], ids=["bide", "gevent"])
def server(request, tmp_path_factory):
    env = {"BIDE_STORE": "memory://", "BIDE_JWT_SECRET": SECRET, "BIDE_MAX_POLLS_PER_CLIENT": 50}
    with Server(tmp_path_factory.mktemp("rates"), env=env, inspected=True, gevent=request.param) as server:
        yield server


@pytest.fixture
def line(server):
    with Line(server) as line:
        yield line


def test_who_asks_again_at_once_is_slowed_to_the_rate_and_never_refused(line):
    slow = get("/subscribe/none?timeout=0", bearer("hot", subscribe="20/second"))
    begun, count = time.monotonic(), 0
    while time.monotonic() - begun < 1.2:
        answer = line.ask(slow)
        assert answer.status == 200, answer.body
        assert answer.json()["status"] == "timeout"
        count += 1
    # A half of the windows at either end may be passed in no time. As fast as it can it were thousands.
    assert 20 <= count <= 20 * 1.2 + 3 * 10


def test_who_asks_again_at_once_on_many_connections_is_refused_and_comes_in_again_in_time(server, line):
    asked = get("/subscribe/none?timeout=0", bearer("hotter", subscribe="20/second"))
    with Herd(server) as herd:
        herd.add(asked, 40)
        herd.read(lambda: len(herd.answers) == 40)
        for sock in list(herd.open):
            sock.sendall(asked)
        herd.read(lambda: len(herd.answers) == 80)
    refused = [answer for answer in herd.answers if answer.status == 429]
    assert len(refused) >= 20
    wait = int(refused[-1].headers[b"retry-after"])
    assert 1 <= wait <= 4
    assert not any(answer.closes for answer in refused)
    time.sleep(wait)
    assert line.ask(asked).status == 200


def test_a_poll_that_is_slowed_is_answered_with_an_event_at_once(server, line):
    mine = bearer("slow", subscribe="2/hour")
    assert line.ask(get("/subscribe/slow?timeout=0", mine)).status == 200
    line.send(get("/subscribe/slow?timeout=0", mine))
    await_that(lambda: server.counts()["waiters"] == 1)
    server.publish("slow", 1, {"Authorization": bearer("other").partition(": ")[2]})
    answer = line.answer(within=5)
    assert answer.json()["message"] == 1
    assert not answer.closes


def test_a_busy_channel_refuses_none_of_its_own_subscribers(server, line):
    """A hundred events a second, each with a poll of its own; a poll a minute may be in vain."""
    mine, publisher = bearer("busy", subscribe="1/minute"), bearer("publisher")

    def publish():
        with Line(server) as other:
            for number in range(100):
                assert other.ask(publication("busy", [number], publisher)).status == 200
                time.sleep(0.01)

    cursor, messages = 0, []
    publishing = threading.Thread(target=publish)
    publishing.start()
    while len(messages) < 100:
        answer = line.ask(subscription("busy", cursor, 50, None, mine))
        assert answer.status == 200, answer.body
        cursor = answer.json()["id"]
        messages.append(answer.json()["message"])
    publishing.join()
    assert messages == list(range(100))
    # All that was in vain is still to come.
    assert line.ask(subscription("none", 0, 0, None, mine)).status == 200
    assert line.ask(subscription("none", 0, 0, None, mine)).status == 429


def test_a_client_that_holds_too_many_polls_is_refused_and_keeps_its_connection(server, line):
    asked = subscription("held", 0, 50, None, bearer("holder"))
    with Herd(server) as herd:
        herd.add(asked, 50)
        await_that(lambda: server.counts()["polls"] == 50)
        answer = line.ask(asked)
        assert (answer.status, answer.closes) == (429, False)
        assert answer.json()["type"] == "/problems/too-many-polls-of-client"
        assert line.ask(get("/subscribe/held?timeout=0", bearer("another"))).status == 200
        publisher = bearer("publisher")
        # Who was answered may ask again at once, on whatever connection; all of them, twice.
        for number in range(2):
            assert line.ask(publication("held", [number], publisher)).status == 200
            herd.read(lambda number=number: len(herd.answers) == 50 * (number + 1))
            cursor = herd.answers[-1].json()["id"]
            for sock in list(herd.open):
                sock.sendall(subscription("held", cursor, 50, None, bearer("holder")))
            await_that(lambda: server.counts()["polls"] == 50)
    await_that(lambda: server.counts()["polls"] == 0)
    assert line.ask(get("/subscribe/held?timeout=0", bearer("holder"))).status == 200
    assert {answer.status for answer in herd.answers} == {200}


def test_a_head_that_is_slowed_has_no_content(line):
    asked = get("/subscribe/none?timeout=0", bearer("head", subscribe="20/second")).replace(b"GET", b"HEAD", 1)
    for _ in range(12):
        line.send(asked)
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.sock.recv(65536)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert head.endswith(b"\r\n\r\n")


def test_the_client_comes_again_when_it_may(server):
    with Client(server.url, token=token("client", publish="5/second")) as client:
        begun = time.monotonic()
        ids = [client.publish("client", number) for number in range(8)]
    assert len(set(ids)) == 8
    assert time.monotonic() - begun > 0.9  # the least that it can be told


def test_where_workers_share_nothing_each_has_its_part_of_the_amount(tmp_path):
    env = {"BIDE_RATE_PUBLISH": "10/day"}
    with Server(tmp_path, workers=2, inspected=True, env=env) as server:
        for pid in server.worker_pids():
            with line_to(server, pid) as line:
                assert [line.ask(publication("a", [1])).status for _ in range(6)] == [200] * 5 + [429]


SAYS_WHOM_IT_TRUSTS = """
def post_worker_init(worker):
    print("trusted:", sorted(worker.cfg.forwarded_allow_ips), *worker.cfg.forwarded_allow_networks(), flush=True)
"""


@pytest.mark.parametrize("env", [{}, {"BIDE_FORWARDED_ALLOW_IPS": "10.0.0.1 192.168.0.0/16"}], ids=["default", "set"])
def test_gunicorn_trusts_the_proxies_that_limits_trust_however_it_is_started(tmp_path, env):
    conf = tmp_path / "conf.py"
    conf.write_text(SAYS_WHOM_IT_TRUSTS)
    env |= {"BIDE_STORE": "memory://", "FORWARDED_ALLOW_IPS": "*"}
    trusted = ["10.0.0.1/32", "192.168.0.0/16"] if "BIDE_FORWARDED_ALLOW_IPS" in env else ["127.0.0.1/32", "::1/128"]
    with Server(tmp_path / "server", conf=False, env=env, options=["-c", str(conf)]) as server:
        assert f"trusted: {trusted} {' '.join(trusted)}\n" in server.output()
    found = subprocess.run(
        [sys.executable, "-c", "from app.gunicorn_conf import forwarded_allow_ips; print(forwarded_allow_ips)"],
        env=environment(PYTHONPATH=ROOT, **env),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == ",".join(trusted)


def test_what_a_client_says_of_itself_in_odd_ways_is_nothing(tmp_path):
    env = {"BIDE_STORE": "memory://", "BIDE_INSECURE": 1, "BIDE_RATE_PUBLISH": "1/day"}
    with Server(tmp_path, env=env) as server:

        def publish(*headers):
            with Line(server) as line:
                return line.ask(post("/publish/a", {"message": 1}, *headers)).status

        one, fiction = "X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113."
        assert publish(one) == 200
        # Lines are one list, whose end the proxy wrote.
        assert [publish(f"{fiction}{number}", one) for number in range(2)] == [429] * 2
        assert publish(one, f"{fiction}9") == 200
        # Names that only look like it.
        assert publish("X-Forwarded-For : 203.0.113.1") == 400
        assert publish() == 200
        assert [publish(f"X_Forwarded_For: 203.0.113.{number}") for number in range(2)] == [429] * 2
        assert [publish(f"Forwarded: for=203.0.113.{number}") for number in range(2)] == [429] * 2
        assert [publish(f"X-Real-IP: 203.0.113.{number}") for number in range(2)] == [429] * 2
        assert json.loads(server.get("/healthz")[2])
