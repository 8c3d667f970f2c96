"""Publishing and reading on a real server, and what becomes of it where there is none."""

import json
import math
import threading
import time

import pytest

from app.client import BadAnswer, Client, ClientError, Refused, Unavailable, Unreachable
from tests.support.servers import Server, await_that, make_certificate


@pytest.fixture
def channel(request):
    """A channel of the test's own."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:128]


MESSAGES = [0, False, [], {}, 1.5, "text", "naïve ☃ 𝄞", {"a": [{"b": None}]}, 12345678901234567890]


def test_what_is_published_is_what_comes(bide, channel):
    first, *others = [bide.publish(channel, message) for message in MESSAGES]
    events = bide.subscribe(channel)
    assert [next(events).message for _ in MESSAGES] == MESSAGES
    assert sorted(others) == others
    assert first < others[0]


def test_a_batch_is_one(bide, channel):
    ids = bide.publish_many(channel, MESSAGES, type="t")
    assert ids == list(range(ids[0], ids[0] + len(MESSAGES)))
    assert {event.type for event in bide.history(channel).events} == {"t"}


def test_a_key_of_ones_own_makes_one_event_of_two_calls(bide, channel):
    assert bide.publish(channel, 1, key="job-1") == bide.publish(channel, 1, key="job-1")
    assert len(bide.history(channel).events) == 1
    with pytest.raises(Refused) as raised:
        bide.publish(channel, 2, key="job-1")
    assert raised.value.status == 422


@pytest.mark.parametrize("message", [math.nan, math.inf, object(), {1, 2}, "\ud800"])
def test_what_is_no_json_is_not_sent(puppet, message):
    with Client(puppet.url) as client, pytest.raises((ValueError, TypeError)):
        client.publish("a", message)
    assert puppet.asked == []


@pytest.mark.parametrize(("channel", "message"), [("nope!", 1), ("a/b", 1), ("", 1), ("a", None), ("a", "")])
def test_what_the_server_refuses_is_told_in_its_words_and_not_tried_again(puppet, bide, channel, message):
    with pytest.raises(Refused) as raised:
        bide.publish(channel, message)
    assert raised.value.status in (400, 404)


def test_integers_of_more_digits_than_python_takes_hold_up_nothing(server, bide, channel):
    digits = "1" * 5000
    body = f'{{"message": [{digits}, 2]}}'.encode()
    assert server.request("POST", f"/publish/{channel}", body, {"Content-Type": "application/json"})[0] == 200
    bide.publish(channel, "next")
    events = bide.subscribe(channel)
    assert [next(events).message, next(events).message] == [[digits, 2], "next"]
    assert [event.message for event in bide.history(channel).events] == [[digits, 2], "next"]


def test_history_goes_both_ways(bide, channel):
    ids = bide.publish_many(channel, list(range(10)))
    page = bide.history(channel, after=ids[2], limit=3)
    assert [event.message for event in page.events] == [3, 4, 5]
    assert (page.last_event_id, page.gap, page.oldest_event_id) == (ids[5], False, ids[0])
    assert [event.message for event in bide.history(channel, before=ids[5], limit=2).events] == [3, 4]
    assert bide.history(f"{channel}-none").events == []


def test_channels_are_listed_page_by_page(bide, channel):
    names = [f"{channel}-{number:02}" for number in range(12)]
    for name in names:
        bide.publish(name, 1)
    found = list(bide.channels(channel))
    assert [each.channel for each in found] == names
    assert {(each.events, each.subscribers) for each in found} == {(1, 0)}


def test_more_channels_than_a_page_has(puppet):
    one = {"channel": "a", "events": 1, "subscribers": 0}
    puppet.answer(200, {"channels": [one], "next": "a"}).answer(200, {"channels": [one | {"channel": "b"}]})
    with Client(puppet.url) as client:
        assert [each.channel for each in client.channels()] == ["a", "b"]
    assert "after=a" in puppet.lines[1]


def test_a_delete_is_a_gap_to_whoever_follows(bide, channel):
    bide.publish(channel, 1)
    gaps = []
    events = bide.subscribe(channel, on_gap=gaps.append)
    next(events)
    events.commit()
    bide.publish(channel, 2)
    bide.delete(channel)
    bide.publish(channel, 3)
    assert next(events).message == 3
    assert len(gaps) == 1


class TestSafe:
    def test_a_publish_goes_out_with_the_same_key_until_it_is_acknowledged(self, puppet):
        puppet.answer(503, b"").answer(502, b"<html>").answer(200, b"{").answer(200, {"event_id": 7})
        with Client(puppet.url) as client:
            assert client.publish("a", 1) == 7
        keys = {line for head, _ in puppet.asked for line in head.split("\r\n") if line.startswith("Idempotency-Key")}
        assert (len(puppet.asked), len(keys)) == (4, 1)

    def test_two_publishes_have_two_keys(self, puppet):
        puppet.answer(200, {"event_id": 7}).answer(200, {"event_id": 8})
        with Client(puppet.url) as client:
            client.publish("a", 1)
            client.publish("a", 1)
        keys = {line for head, _ in puppet.asked for line in head.split("\r\n") if line.startswith("Idempotency-Key")}
        assert len(keys) == 2

    def test_a_server_that_is_started_again_meanwhile_is_waited_for(self, tmp_path):
        with Server(tmp_path) as server, Client(server.url) as client:
            first = client.publish("a", 1)
            server.kill9()
            late = []
            publishing = threading.Thread(target=lambda: late.append(client.publish("a", 2)))
            publishing.start()
            server.start()
            publishing.join(30)
            assert [event.id for event in client.history("a").events] == [first, *late]

    def test_patience_has_an_end(self):
        with Client("http://127.0.0.1:1", patience=0.3) as client:
            begun = time.monotonic()
            with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer: Connection refused"):
                client.publish("a", 1)
            assert 0.3 <= time.monotonic() - begun < 10

    def test_a_server_that_wants_to_be_left_alone_for_longer_is(self, puppet):
        puppet.answer(503, {"detail": "The store is full"}, Retry_After=60)
        with Client(puppet.url, patience=5) as client, pytest.raises(Unavailable, match="The store is full") as raised:
            client.publish("a", 1)
        assert (raised.value.status, raised.value.retry_after) == (503, 60)
        assert len(puppet.asked) == 1

    def test_an_acknowledgement_without_an_id_is_none(self, puppet):
        puppet.answer(200, {"ok": True}).answer(200, {"event_id": 7})
        with Client(puppet.url) as client:
            assert client.publish("a", 1) == 7
        puppet.answer(200, {"ok": True})
        with Client(puppet.url, patience=0) as client, pytest.raises(BadAnswer):
            client.publish("a", 1)

    def test_closing_ends_a_publish_that_waits(self, puppet):
        client = Client(puppet.url)
        raised = []

        def publish():
            try:
                client.publish("a", 1)
            except ClientError as error:
                raised.append(str(error))

        publishing = threading.Thread(target=publish, daemon=True)
        publishing.start()
        await_that(lambda: puppet.asked)
        client.close()
        publishing.join(20)
        assert raised == ["The client was closed"]
        with pytest.raises(ClientError, match="The client was closed"):
            client.publish("a", 1)
        with pytest.raises(ClientError, match="The client was closed"):
            client.subscribe("a")


class TestHeaders:
    def test_the_token_goes_with_every_request_whatever_netrc_says(self, puppet, tmp_path, monkeypatch):
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        puppet.answer(200, {"event_id": 7})
        with Client(puppet.url, token="t.o.k") as client:
            client.publish("a", 1)
        assert "\r\nAuthorization: Bearer t.o.k\r\n" in puppet.asked[0][0]

    def test_all_of_one_client_are_one_subscriber(self, puppet):
        for _ in range(2):
            puppet.answer(200, {"event_id": 7})
        with Client(puppet.url, client_id="me") as client, Client(puppet.url) as other:
            client.publish("a", 1)
            other.publish("a", 1)
        named, random = (json.dumps(head).partition("X-Client-ID: ")[2].partition("\\r")[0] for head, _ in puppet.asked)
        assert named == "me"
        assert random.startswith("python-")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://x",
        "http://",
        "/x",
        "",
        "http://x?y=1",
        "http://x#y",
        "http://x:99999",
        "http://[::1",
        "http://a..b",
    ],
)
def test_a_url_that_there_cannot_be_is_told_at_once(url):
    with pytest.raises(ValueError, match=r"is no server's URL: give one such as http://127\.0\.0\.1:8000"):
        Client(url)


@pytest.mark.parametrize("url", ["http://me:secret@x", "http://secret@x", "me:secret@x", "http://me:se/cret@x"])
def test_a_password_in_the_url_is_refused_and_not_shown(url):
    """It would not be sent, and would be told wherever the URL is."""
    with pytest.raises(ValueError, match="who asks is told by the token") as caught:
        Client(url)
    assert "cret" not in str(caught.value)


def test_a_server_may_be_below_a_path(puppet):
    puppet.answer(200, {"event_id": 7})
    with Client(f"{puppet.url}/bide/") as client:
        client.publish("a", 1)
    assert puppet.lines == ["POST /bide/publish/a HTTP/1.1"]


def test_one_that_is_silent_and_one_that_is_no_http_are_told(puppet):
    with Client(puppet.url, patience=0) as client:
        with pytest.raises(Unreachable, match="does not answer: nothing came for 1 s"):
            client.publish("a", 1)
        puppet.answers.append(None)
        with pytest.raises(Unreachable, match="does not answer: what it says is no HTTP"):
            client.publish("a", 1)


@pytest.mark.parametrize("hold", [0, 0.5, -1, math.nan])
def test_a_poll_that_is_not_held_is_refused(bide, hold):
    with pytest.raises(ValueError, match="1 second at least"):
        bide.subscribe("a", hold=hold)


@pytest.mark.parametrize("limit", [0, 1001])
def test_so_many_events_at_once_there_cannot_be(bide, limit):
    with pytest.raises(ValueError, match="Between 1 and 1000"):
        bide.subscribe("a", limit=limit)


class TestTLS:
    @pytest.fixture
    def tls(self, tmp_path, monkeypatch):
        certificate, key = make_certificate(tmp_path)
        with Server(tmp_path / "server", tls=(certificate, key)) as server:
            yield server, certificate

    def test_over_tls_who_waits_is_told_of_the_end_at_once(self, tls, monkeypatch):
        server, certificate = tls
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        with Client(server.url) as client:
            client.publish("a", 1)
            events = client.subscribe("a")
            assert next(events).message == 1
            got = []
            waiting = threading.Thread(target=lambda: got.append(list(events)), daemon=True)
            waiting.start()
            await_that(lambda: client.history("a", limit=1) and json.loads(server.get("/channels/a")[2])["subscribers"])
            begun = time.monotonic()
            events.close()
            waiting.join(20)
            assert got == [[]]
            assert time.monotonic() - begun < 10

    def test_a_certificate_that_is_not_trusted_is_told(self, tls):
        server, _ = tls
        told = r"its certificate is not trusted \(self-signed certificate; REQUESTS_CA_BUNDLE"
        with Client(server.url, patience=0) as client, pytest.raises(Unreachable, match=told):
            client.publish("a", 1)
