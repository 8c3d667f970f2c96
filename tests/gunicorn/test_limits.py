"""Each bound of a server, with its setting and its refusal: what is over it is refused, and nothing else."""

import pytest

from tests.support.clients import Line, get
from tests.support.servers import Server

CHANNELS = 3
KEYS = 2
POLLS = 2
#: gunicorn's own, and what gunicorn.conf.py makes of it.
REQUEST_LINE = {True: 8190, False: 4094}


@pytest.fixture(scope="module", params=["conf", "plain"])
def server(request, tmp_path_factory):
    env = {"BIDE_MAX_CHANNELS": CHANNELS, "BIDE_MAX_IDEMPOTENCY_KEYS": KEYS, "BIDE_MAX_POLLS": POLLS}
    with Server(tmp_path_factory.mktemp("limits"), env=env, conf=request.param == "conf") as server:
        yield server


def test_one_channel_too_many_is_507_and_the_others_go_on(server):
    for number in range(CHANNELS):
        server.publish(f"channel-{number}", "first")
    status, _, body = server.request("POST", "/publish/one-more", {"message": 1})
    assert status == 507
    assert b"too-many-channels" in body
    # Subscribing stores nothing.
    assert server.poll("another")["status"] == "timeout"
    assert server.publish("channel-0", "second")


def test_one_key_too_many_is_503_and_never_ignored(server):
    def publish(key):
        return server.request("POST", "/publish/channel-0", {"message": "once"}, {"Idempotency-Key": key})

    assert [publish(f"key-{number}")[0] for number in range(KEYS)] == [200] * KEYS
    status, headers, body = publish("one-more")
    assert status == 503
    assert int(headers["Retry-After"]) >= 1
    assert b"too-many-idempotency-keys" in body
    # A key that is known is answered, and who needs none is served.
    assert publish("key-0")[1]["Idempotency-Replayed"] == "true"
    assert server.publish("channel-0", "without")


@pytest.mark.parametrize("more", [0, 1])
def test_a_request_line_has_its_bound(server, more):
    line = b"GET /healthz?%s HTTP/1.1"
    line %= b"x" * (REQUEST_LINE[server.conf] + more - len(line) + 2)
    with Line(server) as connection:
        answer = connection.ask(line + b"\r\nHost: localhost\r\n\r\n")
        assert answer.status == (414 if more else 200)
        assert answer.closes == bool(more)
    assert server.get("/healthz")[0] == 200


def test_one_poll_too_many_is_503_and_the_server_is_alive(server):
    lines = [Line(server).send(get("/subscribe/news?timeout=50&last_event_id=latest")) for _ in range(POLLS)]
    with Line(server) as one_more:
        # Those before it are held once one is refused; until then it may come before them.
        answer = one_more.ask(get("/subscribe/news?timeout=0"))
        while answer.status == 200:
            answer = one_more.ask(get("/subscribe/news?timeout=0"))
        assert answer.status == 503
        assert int(answer.headers[b"retry-after"]) >= 1
        assert answer.closes
    assert server.get("/healthz")[0] == 200
    for line in lines:
        line.sock.close()
