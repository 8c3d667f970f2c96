"""What a token lets its bearer do, where a route alone does not tell: what bodies name, what lists show."""

import time

import gevent
import jwt
import pytest

from app import channels
from app.access import admission
from app.factory import BLUEPRINTS
from tests.support.app import parked, parts, problem, serving, store_url

SECRET = "a secret of these tests, long enough"


def authorization(sub="ann", expires_in=60, **claims):
    token = jwt.encode({"sub": sub, "exp": time.time() + expires_in, "bide": claims}, SECRET)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(params=["memory", "sqlite"])
def app(request, tmp_path):
    with serving(store_url(request.param, tmp_path), time.time, jwt_secret=SECRET) as app:
        yield app


@pytest.fixture
def client(app):
    return app.test_client()


def publish(app, *channels):
    for channel in channels:
        parts(app).publisher.publish(channel, 1)


def test_without_a_token_the_answer_says_how_to_give_one(client):
    answer = client.get("/subscribe/news?timeout=0")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="bide"'
    assert "Authorization: Bearer" in problem(answer)["detail"]


def test_a_token_that_is_none_is_told_so(client):
    answer = client.get("/subscribe/news?timeout=0", headers={"Authorization": "Bearer abc"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="bide", error="invalid_token"'
    assert "abc" not in answer.text


def test_what_it_does_not_allow_names_the_claim_that_is_missing(client):
    answer = client.get("/subscribe/news,other?timeout=0", headers=authorization(subscribe=["news"]))
    assert answer.status_code == 403
    assert problem(answer)["type"] == "/problems/not-allowed"
    assert problem(answer)["detail"] == "The token's claim bide.subscribe names no pattern that matches 'other'"


def test_nothing_is_stored_unless_all_channels_of_a_body_are_allowed(app, client):
    body = {"channels": ["a", "b", "c"], "message": 1}
    assert client.post("/publish", json=body, headers=authorization(publish=["a", "b"])).status_code == 403
    assert parts(app).store.channels("", "", 10) == []
    assert client.post("/publish", json=body, headers=authorization(publish=["a", "b", "c"])).status_code == 200


def test_all_channels_that_a_poll_names_in_its_body_must_be_allowed(client):
    body = {"channels": {"a": 0, "b": 0}, "timeout": 0}
    assert client.post("/subscribe", json=body, headers=authorization(subscribe=["a"])).status_code == 403
    assert client.post("/subscribe", json=body, headers=authorization(subscribe=["*"])).status_code == 200


def test_a_list_shows_only_what_the_token_may_subscribe_to(app, client):
    publish(app, "a", "b.1", "b.2", "c", "user.ann", "user.bob")
    its = authorization(subscribe=["b.*", "user.{sub}", "missing"], publish=["a"])
    answer = client.get("/channels", headers=its).json
    assert answer["active_channels"] == ["b.1", "b.2", "user.ann"]
    assert answer["next"] is None
    first = client.get("/channels?limit=2", headers=its).json
    assert (first["active_channels"], first["next"]) == (["b.1", "b.2"], "b.2")
    assert client.get("/channels?limit=2&after=b.2", headers=its).json["active_channels"] == ["user.ann"]
    assert client.get("/channels?prefix=b.2", headers=its).json["active_channels"] == ["b.2"]
    assert client.get("/channels", headers=authorization()).json["active_channels"] == []


def test_a_list_finds_what_it_may_show_behind_thousands_that_it_may_not(app, client):
    # Two pages of the store, of which nothing is shown, and the last of the third.
    for number in range(2100):
        parts(app).publisher.publish(f"other.{number:04}", 1)
    publish(app, "own", "zoo")
    its = authorization(subscribe=["own", "zoo"])
    assert client.get("/channels?limit=2", headers=its).json["active_channels"] == ["own", "zoo"]
    assert client.get("/channels?limit=1", headers=its).json["next"] == "own"


@pytest.mark.parametrize(
    ("subscribe", "shown"),
    [
        ([], []),
        (["missing"], []),
        (["a.*", "zoo"], ["a.1", "a.2", "zoo"]),
        (["a", "b", "other", "zoo*"], ["zoo"]),
    ],
)
def test_a_list_reads_no_more_of_the_store_than_it_shows(app, client, monkeypatch, subscribe, shown):
    publish(app, "a.1", "a.2", "zoo", *[f"other.{number}" for number in range(200)])
    read, channels = [], parts(app).store.channels

    def counted(prefix, after, limit):
        read.extend(found := channels(prefix, after, limit))
        return found

    monkeypatch.setattr(parts(app).store, "channels", counted)
    assert client.get("/channels", headers=authorization(subscribe=subscribe)).json["active_channels"] == shown
    assert len(read) <= len(shown) + len(subscribe)


def test_a_list_shows_subscribers_of_what_it_may_show_and_of_nothing_else(app, client):
    waits = gevent.spawn(
        lambda: app.test_client().get("/subscribe/a,b?timeout=30", headers=authorization(subscribe=["*"]))
    )
    parked(parts(app))
    assert client.get("/channels", headers=authorization(subscribe=["b"])).json["active_channels"] == ["b"]
    waits.kill()


def test_the_server_s_own_channels_are_for_admins(client):
    path = "/subscribe/@bide.told?timeout=0"
    for claims in ({"subscribe": ["@bide.*", "*"]}, {"admin": ["*"]}, {"presence": ["@bide.told"]}):
        assert client.get(path, headers=authorization(**claims)).status_code == 403
    assert client.get(path, headers=authorization(admin=["@bide.*"])).status_code == 200
    anything = authorization(publish=["@bide.told"], admin=["@bide.*"])
    assert client.post("/publish/@bide.told", json={"message": 1}, headers=anything).status_code == 403


def test_a_subject_s_keys_are_its_own(client):
    keyed = {"Idempotency-Key": "k"}
    first, again, other = (
        client.post("/publish/news", json={"message": sub}, headers=keyed | authorization(sub, publish=["news"]))
        for sub in ("ann", "ann", "bob")
    )
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 200
    assert other.json != first.json


def test_a_client_is_known_by_its_subject(app, client):
    for more in ({}, {"X-Client-ID": "tab-1"}):
        client.get("/subscribe/news?timeout=0", headers=authorization("ann", subscribe=["*"]) | more)
    answer = client.get("/channels/news/subscribers", headers=authorization(presence=["news"]))
    assert {each["client_id"] for each in answer.json["subscribers"]} == {"ann", "ann/tab-1"}


def test_a_poll_ends_with_its_token(app, client, monkeypatch):
    # PyJWT looks at whole seconds alone: without any leeway no token that ends so soon would be let in.
    monkeypatch.setattr("app.access.tokens.LEEWAY_SECONDS", 1.6)
    begun = time.monotonic()
    answer = client.get("/subscribe/news?timeout=30", headers=authorization(expires_in=-0.3, subscribe=["*"]))
    assert answer.json["status"] == "timeout"
    assert 1 < time.monotonic() - begun < 13


def test_a_call_that_is_not_in_the_table_is_refused_with_any_token(monkeypatch):
    monkeypatch.setattr(admission, "NEEDS", {k: v for k, v in admission.NEEDS.items() if k != "service.alive"})
    with serving(jwt_secret=SECRET) as app:
        answer = app.test_client().get("/healthz", headers=authorization(admin=["*"]))
        assert answer.status_code == 403


@pytest.mark.parametrize("name", ["hello", *(blueprint.name for blueprint in BLUEPRINTS)])
def test_what_an_embedding_application_adds_is_its_own_to_guard_whatever_it_is_called(name):
    with serving(jwt_secret=SECRET) as app:
        app.add_url_rule("/its-own", name, lambda: "hello")
        assert app.test_client().get("/its-own").text == "hello"


def test_a_call_of_ours_that_an_application_gives_another_name_is_refused():
    """Under the name of the table alone it is known what it needs."""
    with serving(jwt_secret=SECRET) as app:
        app.register_blueprint(channels.blueprint, name="again", url_prefix="/again")
        app.add_url_rule("/other/<channel>", "other", app.view_functions["channels.history"])
        app.add_url_rule("/alive", "alive", app.view_functions["service.alive"])  # which is anybody's
        for path in ["/again/channels/a/events", "/again/channels/a/subscribers", "/again/channels", "/other/a"]:
            assert app.test_client().get(path).status_code == 403
        assert app.test_client().delete("/again/channels/a").status_code == 403
        assert app.test_client().get("/alive").status_code == 200


def test_without_a_key_tokens_are_not_looked_at():
    with serving() as app:
        answer = app.test_client().get("/subscribe/a?timeout=0", headers={"Authorization": "Bearer anything"})
        assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"])
def test_where_there_is_nothing_nobody_is_asked_for_a_token(client, method):
    assert client.open("/nowhere", method=method).status_code == 404
    assert client.options("/publish/news").status_code == 200
    assert client.get("/publish/news").status_code == 405
