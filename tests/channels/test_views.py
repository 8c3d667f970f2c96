"""Each path once, as a client meets it. What the parts behind it do is tested with the parts.

Publishing to several channels is in test_publish_several.py.
"""

import gevent
import pytest

from tests.support.app import BEGIN, SOON_SECONDS, Clock, parked, parts, problem, serving, staged, store_url


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def app(request, tmp_path, clock):
    with serving(store_url(request.param, tmp_path), clock) as app:
        clock.now += 100
        yield app


@pytest.fixture
def client(app):
    return app.test_client()


def publish(client, *messages, channel="news"):
    answer = client.post(f"/publish/{channel}", json={"messages": list(messages)})
    assert answer.status_code == 200, answer.text
    return answer.json["event_ids"]


def waiting(app, path, **more):
    greenlet = gevent.spawn(lambda: app.test_client().get(path, **more))
    parked(parts(app))
    return greenlet


def answered(greenlet):
    answer = greenlet.get(timeout=SOON_SECONDS)
    assert answer.status_code == 200
    return answer.json


def test_a_publish_tells_its_id(app, client):
    answer = client.post("/publish/news", json={"message": {"a": 1}, "type": "t"})
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {"status": "published", "channel": "news", "event_id": int((BEGIN + 100) * 1e6)}


def test_a_batch_tells_its_ids(client):
    answer = client.post("/publish/news", json={"messages": ["a", "b"]})
    first = int((BEGIN + 100) * 1e6)
    assert answer.json == {
        "status": "published",
        "channel": "news",
        "event_id": first + 1,
        "event_ids": [first, first + 1],
    }


def test_texts_and_forms_are_published(client):
    assert client.post("/publish/news", data="hello", content_type="text/plain").status_code == 200
    assert client.post("/publish/news", data={"message": "hi"}).status_code == 200
    events = client.get("/channels/news/events").json["events"]
    assert [event["message"] for event in events] == ["hello", "hi"]


def test_a_publish_with_a_key_is_stored_once_and_says_so(client):
    asked = {"json": {"message": 1}, "headers": {"Idempotency-Key": "k"}}
    first = client.post("/publish/news", **asked)
    assert "Idempotency-Replayed" not in first.headers
    again = client.post("/publish/news", **asked)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    other = client.post("/publish/news", json={"message": 2}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422
    assert client.get("/channels/news").json["events"] == 1


def test_an_empty_key_is_no_key(client):
    answer = client.post("/publish/news", json={"message": 1}, headers={"Idempotency-Key": ""})
    assert answer.status_code == 400
    assert problem(answer)["param"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("channel", "status"), [("a b", 400), ("%2E%2E", 400), ("a,b", 400), ("@bide.x", 403), ("x" * 129, 400)]
)
def test_a_publish_to_no_channel_is_refused(client, channel, status):
    answer = client.post(f"/publish/{channel}", json={"message": 1})
    assert answer.status_code == status
    problem(answer)


def test_a_poll_gets_the_event_itself(client):
    (id,) = publish(client, {"a": 1})
    answer = client.get("/subscribe/news?timeout=0")
    assert answer.json == {"id": id, "channel": "news", "message": {"a": 1}, "timestamp": BEGIN + 100}
    assert answer.headers["Last-Event-ID"] == str(id)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == "application/json"


def test_a_poll_that_gets_nothing_tells_the_cursor_in_body_and_header(client):
    ids = publish(client, 1, 2)
    for query in ("timeout=0&limit=5", "timeout=0"):
        answer = client.get(f"/subscribe/news?{query}", headers={"Last-Event-ID": str(ids[1])})
        assert answer.json["status"] == "timeout"
        assert answer.json["last_event_id"] == ids[1]
        assert answer.headers["Last-Event-ID"] == str(ids[1])


def test_a_parked_poll_is_answered_by_a_publish(app, client):
    poll = waiting(app, "/subscribe/news?limit=10")
    ids = publish(client, "a", "b")
    assert answered(poll)["last_event_id"] == ids[1]


def test_a_poll_echoes_the_preference_it_followed(client):
    answer = client.get("/subscribe/news", headers={"Prefer": "wait=0"})
    assert answer.headers["Preference-Applied"] == "wait=0"
    assert "Preference-Applied" not in client.get("/subscribe/news?timeout=0").headers


def test_a_poll_of_several_channels(app, client):
    (id,) = publish(client, 1, channel="b")
    answer = client.get("/subscribe/a,b?timeout=0")
    assert answer.json["id"] == id
    assert answer.json["channels"] == ["a", "b"]
    assert answer.headers["Last-Event-ID"] == answer.json["last_event_id"]
    poll = waiting(app, "/subscribe/a,b", headers={"Last-Event-ID": answer.json["last_event_id"]})
    (id,) = publish(client, 2, channel="a")
    assert answered(poll)["id"] == id


def test_a_poll_by_post(client):
    ids = publish(client, 1, 2)
    asked = f'{{"channels": {{"news": {ids[0]}, "jobs": "latest"}}, "timeout": 0, "limit": 5}}'
    answer = client.post("/subscribe", data=asked, content_type="application/json")
    assert [event["id"] for event in answer.json["events"]] == ids[1:]
    assert answer.json["channels"] == ["news", "jobs"]


def test_a_head_request_is_answered_at_once(client):
    (id,) = publish(client, 1)
    answer = client.head("/subscribe/news")
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Last-Event-ID"] == str(id)
    assert client.head("/subscribe/none?timeout=50").status_code == 200


def test_a_poll_that_the_server_cannot_hold_is_503(app, client):
    parts(app).subscriber.max_polls = 0
    answer = client.get("/subscribe/news?timeout=0")
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 5


def test_a_poll_while_the_store_is_away_is_503(app, client):
    staged(parts(app)).away = True
    answer = client.get("/subscribe/news?timeout=0")
    assert answer.status_code == 503
    assert problem(answer)["type"] == "/problems/store-unavailable"
    assert "Retry-After" in answer.headers


def test_a_stopping_server_answers_its_polls(app):
    poll = waiting(app, "/subscribe/news?timeout=50")
    parts(app).notifier.drain(0)
    assert answered(poll)["status"] == "timeout"


def test_the_list_of_channels_goes_from_page_to_page(app, client):
    for channel in ("c", "a", "b"):
        publish(client, 1, channel=channel)
    page = client.get("/channels?limit=2").json
    assert page["active_channels"] == ["a", "b"]
    assert page["next"] == "b"
    page = client.get("/channels?limit=2&after=b").json
    assert (page["active_channels"], page["next"]) == (["c"], None)
    assert client.get("/channels?prefix=b").json["active_channels"] == ["b"]
    assert client.get("/channels?limit=3").json["next"] is None


def test_a_channel_is_shown_as_in_the_list(app, client):
    ids = publish(client, 1, 2)
    poll = waiting(app, f"/subscribe/news?last_event_id={ids[1]}")
    entry = client.get("/channels/news").json
    assert entry == {
        "channel": "news",
        "subscribers": 1,
        "events": 2,
        "oldest_event_id": ids[0],
        "last_event_id": ids[1],
        "last_published_at": BEGIN + 100,
    }
    assert client.get("/channels").json["channels"] == [entry]
    publish(client, 3)
    answered(poll)


def test_a_channel_that_only_has_a_subscriber_is_shown(app, client):
    poll = waiting(app, "/subscribe/quiet")
    entry = client.get("/channels/quiet").json
    assert (entry["subscribers"], entry["events"], entry["last_event_id"]) == (1, 0, None)
    publish(client, 1, channel="quiet")
    answered(poll)


def test_a_channel_without_anything_is_404(client):
    answer = client.get("/channels/none")
    assert answer.status_code == 404
    assert problem(answer)["type"] == "/problems/channel-not-found"


def test_history_is_read_without_waiting(client):
    ids = publish(client, "a", "b", "c")
    page = client.get(f"/channels/news/events?after={ids[0]}&limit=1").json
    assert [event["message"] for event in page["events"]] == ["b"]
    assert page == {
        "channel": "news",
        "events": page["events"],
        "oldest_event_id": ids[0],
        "last_event_id": ids[1],
        "gap": False,
    }
    page = client.get(f"/channels/news/events?before={ids[2]}&limit=1").json
    assert [event["id"] for event in page["events"]] == [ids[1]]
    assert client.get("/channels/none/events").json["events"] == []
    assert client.get("/channels/news/events?after=1").json["gap"] is True


def test_the_subscribers_of_a_channel_are_named(app, client):
    poll = waiting(app, "/subscribe/news", headers={"X-Client-ID": "ann"})
    (subscriber,) = client.get("/channels/news/subscribers").json["subscribers"]
    assert (subscriber["client_id"], subscriber["transport"]) == ("ann", "poll")
    assert isinstance(subscriber["since"], float)
    publish(client, 1)
    answered(poll)
    assert client.get("/channels/none/subscribers").json == {"channel": "none", "subscribers": []}


def test_a_delete_is_204_known_or_not_and_answers_parked_polls(app, client):
    (id,) = publish(client, 1)
    poll = waiting(app, f"/subscribe/news?last_event_id={id}")
    answer = client.delete("/channels/news")
    assert (answer.status_code, answer.data) == (204, b"")
    assert answered(poll)["status"] == "timeout"
    assert client.delete("/channels/none").status_code == 204
    assert client.delete("/channels/@bide.x").status_code == 403
    assert client.get("/channels/news").json["last_event_id"] == id
