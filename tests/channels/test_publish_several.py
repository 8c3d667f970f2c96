"""One body to several channels: checked as a whole before anything is stored, then each channel by itself."""

import pytest

from app.errors import StoreUnavailable
from tests.support.app import parts, problem, serving, staged, store_url

KEY = {"Idempotency-Key": "k"}


@pytest.fixture(params=["memory", "sqlite"])
def app(request, tmp_path):
    with serving(store_url(request.param, tmp_path), max_message_bytes=100, max_channels=3) as app:
        yield app


@pytest.fixture
def client(app):
    return app.test_client()


def send(client, channels, message=1, headers=None, **more):
    return client.post("/publish", json={"channels": channels, "message": message, **more}, headers=headers)


def messages(client, channel):
    return [event["message"] for event in client.get(f"/channels/{channel}/events").json["events"]]


def fail_at(app, *numbers):
    """Let the appends of these numbers, counted from 1, fail."""
    store, done = staged(parts(app)), []
    append = store.store.append

    def failing(*arguments):
        done.append(1)
        if len(done) in numbers:
            raise StoreUnavailable("The store cannot be used at the moment: try again", retry_after=3)
        return append(*arguments)

    store.store.append = failing


def test_each_channel_gets_the_event_and_is_told_in_the_order_asked(client):
    answer = send(client, ["b", "a"], "hi")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "published",
        "events": [
            {"channel": name, "event_id": client.get(f"/channels/{name}").json["last_event_id"]} for name in ("b", "a")
        ],
    }
    assert messages(client, "a") == messages(client, "b") == ["hi"]


def test_each_channel_gets_the_whole_batch(client):
    answer = client.post("/publish", json={"channels": ["a", "b"], "messages": [1, 2]})
    assert answer.status_code == 200
    assert messages(client, "a") == messages(client, "b") == [1, 2]


@pytest.mark.parametrize(
    ("channels", "status"),
    [
        ([], 400),
        (["a", "a"], 400),
        (["a", "b c"], 400),
        (["a", 1], 400),
        ("a", 400),
        (None, 400),
        ({"a": 1}, 400),
        ([f"c{n}" for n in range(101)], 400),
        (["a", "@bide.x"], 403),
    ],
)
def test_channels_that_are_none_refuse_it_before_anything_is_stored(client, channels, status):
    answer = send(client, channels)
    assert answer.status_code == status
    problem(answer)
    assert client.get("/channels").json["active_channels"] == []


@pytest.mark.parametrize(("message", "status"), [(None, 400), ("", 400), ("x" * 200, 413)])
def test_a_message_that_is_none_refuses_it_before_anything_is_stored(client, message, status):
    assert send(client, ["a", "b"], message).status_code == status
    assert client.get("/channels").json["active_channels"] == []


def test_a_key_that_is_none_refuses_it_before_anything_is_stored(client):
    assert send(client, ["a"], headers={"Idempotency-Key": "a b"}).status_code == 400
    assert client.get("/channels").json["active_channels"] == []


def test_a_retry_with_its_key_is_answered_as_the_first(client):
    first = send(client, ["a", "b"], headers=KEY)
    again = send(client, ["a", "b"], headers=KEY)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert messages(client, "a") == messages(client, "b") == [1]


def test_a_store_that_fails_part_way_tells_what_was_stored_and_a_retry_completes_the_rest(app, client):
    fail_at(app, 3)
    answer = send(client, ["a", "b", "c"], headers=KEY)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 3
    document = problem(answer)
    assert document["type"] == "/problems/store-unavailable"
    assert [event["channel"] for event in document["events"]] == ["a", "b"]
    retried = send(client, ["a", "b", "c"], headers=KEY)
    assert retried.status_code == 200
    assert retried.json["events"][:2] == document["events"]
    assert "Idempotency-Replayed" not in retried.headers
    for channel in "abc":
        assert messages(client, channel) == [1]


def test_a_store_that_fails_at_once_tells_that_nothing_was_stored(app, client):
    fail_at(app, 1)
    assert problem(send(client, ["a", "b"]))["events"] == []


def test_one_channel_too_many_part_way_tells_what_was_stored_too(client):
    answer = send(client, ["a", "b", "c", "d"])
    assert answer.status_code == 507
    assert [event["channel"] for event in problem(answer)["events"]] == ["a", "b", "c"]
