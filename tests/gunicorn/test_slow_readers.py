"""A client that takes nothing of its answers is cut, and all that was held for it is free; a slow one is not."""

import socket
import time
from pathlib import Path

import pytest

from tests.support.clients import Line, get, subscription, take_answer
from tests.support.servers import Server, await_that, make_certificate

#: Thirty seconds otherwise.
SEND_SECONDS = 2
EVENTS = 64
EVENT_BYTES = 60_000
MEBIBYTE = 1024 * 1024
#: More than the system takes for a client that reads nothing.
PAGES = 20
STUCK = 10


@pytest.fixture(scope="module", params=["conf", "plain", "tls"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    tls = make_certificate(folder) if request.param == "tls" else None
    env = {"TEST_SEND_SECONDS": SEND_SECONDS}
    with Server(folder, inspected=True, conf=request.param != "plain", tls=tls, env=env) as server:
        fill(server)
        yield server


def fill(server):
    for _ in range(EVENTS // 16):
        server.publish_all("big", ["x" * EVENT_BYTES] * 16)


def stuck(server, pages, room=4096):
    """A connection on which pages are asked for; the system takes little for it."""
    sock = server.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.sendall(subscription("big", 0, 0, 1000) * pages)
    return sock


def queued(server):
    """How many bytes the system holds for the server's clients, those of closed connections too."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established_or_ending = {"01", "04", "05", "08", "09", "0B"}
    own = [row for row in rows if row[1].endswith(f":{server.port:04X}") and row[3] in established_or_ending]
    return sum(int(row[4].partition(":")[0], 16) for row in own)


def stuck_whole(server):
    """A connection that takes nothing, once the system takes no more for it, so that the worker waits for the client;
    None where it was cut before that was seen."""
    sock, looks = stuck(server, PAGES), []
    while not looks or looks[-1] or not max(looks):
        looks.append(queued(server))
        if looks[-1] and looks[-5:] == looks[-1:] * 5:
            return sock
        time.sleep(0.1)  # between two looks
    sock.close()
    return None


def test_clients_that_take_nothing_are_cut_and_leave_nothing_behind(server):
    await_that(lambda: server.weight()["connections"] == 1)
    light = server.weight()
    begun = time.monotonic()
    socks = [stuck(server, PAGES) for _ in range(STUCK)]
    await_that(lambda: server.weight()["connections"] > STUCK)
    heavy = light["resident"] + STUCK * MEBIBYTE // 4
    held = await_that(lambda: (now := server.weight())["resident"] > heavy and now)
    # Meanwhile others are served.
    assert server.poll("big", limit=1)["events"]
    await_that(lambda: server.weight()["connections"] == 1)
    assert time.monotonic() - begun > SEND_SECONDS * 0.9
    await_that(lambda: server.weight()["greenlets"] < held["greenlets"] - STUCK // 2)
    await_that(lambda: server.weight()["resident"] < (held["resident"] + light["resident"]) / 2)
    await_that(lambda: queued(server) == 0)
    assert len(socks) == STUCK
    assert "Traceback" not in server.output()


def test_what_the_system_holds_for_a_client_is_thrown_away_with_it(server):
    """The whole answer is with the system: nobody waits for anything, and the system would keep it for minutes."""
    await_that(lambda: server.weight()["connections"] == 1)
    sock = server.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(subscription("big", 0, 0, 1))
    await_that(lambda: server.weight()["connections"] == 2)
    assert await_that(lambda: queued(server)) > EVENT_BYTES // 6
    await_that(lambda: queued(server) == 0)
    await_that(lambda: server.weight()["connections"] == 1)
    sock.close()
    assert "Traceback" not in server.output()


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.long)])
@pytest.mark.parametrize("server", ["conf"], indirect=True)
def test_a_client_that_takes_its_answers_slowly_has_them_whole(server, count):
    """Too slowly for the system to ask for more within the time, but some of it always."""
    sock = stuck(server, count, room=65536)
    buffer, answers = bytearray(), []
    while len(answers) < count:
        data = sock.recv(50_000)
        assert data, f"cut after {len(answers)} answers"
        buffer += data
        while (answer := take_answer(buffer)) is not None:
            answers.append(answer)
        time.sleep(len(data) / 250_000)  # the pace of the client, not a wait for the server
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    sock.close()


def test_a_page_ends_at_a_mebibyte_and_the_next_goes_on(server):
    cursor, pages = 0, []
    while (page := server.get(f"/subscribe/big?limit=1000&timeout=0&last_event_id={cursor}")) and cursor != (
        last := int(page[1]["Last-Event-ID"])
    ):
        cursor = last
        pages.append(page[2])
    assert len(pages) >= EVENTS * EVENT_BYTES // MEBIBYTE
    assert all(len(body) <= MEBIBYTE for body in pages)
    assert sum(body.count(b'"timestamp"') for body in pages) == EVENTS
    history = server.get("/channels/big/events?limit=1000")[2]
    assert len(history) <= MEBIBYTE


def test_a_client_that_takes_nothing_does_not_hold_a_worker_that_stops(tmp_path):
    with Server(tmp_path, inspected=True, env={"TEST_SEND_SECONDS": 4}) as server:
        fill(server)
        sock = await_that(lambda: stuck_whole(server))
        code, seconds = server.terminate()
        assert code == 0
        # Otherwise gunicorn's graceful_timeout ends it, after ten.
        assert seconds < 8
        assert "graceful timeout" not in server.output()
        await_that(lambda: queued(server) == 0)
        sock.close()


def test_a_client_that_takes_nothing_holds_a_stop_no_longer_than_the_graceful_timeout(tmp_path):
    with Server(tmp_path, inspected=True, options=("--graceful-timeout", "4")) as server:
        fill(server)
        sock = await_that(lambda: stuck_whole(server))
        code, seconds = server.terminate()
        assert code == 0
        # Otherwise it would be cut when it has taken nothing for thirty.
        assert seconds < 20
        assert "Traceback" not in server.output()
        sock.close()


def test_an_idle_connection_is_not_cut_for_taking_nothing(server):
    with Line(server) as line:
        assert line.ask(get("/healthz")).status == 200
        if server.conf:  # the plain worker keeps a connection for two seconds
            time.sleep(SEND_SECONDS * 1.5)  # nothing must happen: there is no condition to await
        assert line.ask(get("/healthz")).status == 200
