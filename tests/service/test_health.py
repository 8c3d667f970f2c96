"""What the server says of itself, and when it says that it should be given no work."""

import pytest

from app.version import VERSION
from tests.support.app import parts, problem, serving, staged, store_url


@pytest.fixture
def app():
    with serving() as app:
        yield app


@pytest.fixture
def client(app):
    return app.test_client()


def test_the_server_greets(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.json["version"] == VERSION
    assert answer.json["links"]["publish"] == "/publish/{channel}"


def test_every_link_of_the_greeting_leads_somewhere(app, client):
    rules = {str(rule).replace("<", "{").replace(">", "}") for rule in app.url_map.iter_rules()}
    assert set(client.get("/").json["links"].values()) <= rules


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/openapi.json"])
def test_no_answer_is_kept_by_anyone_on_the_way(client, path):
    assert client.get(path).headers["Cache-Control"] == "no-store"
    head = client.head(path)
    assert (head.status_code, head.data) == (200, b"")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_server_that_is_well_is_alive_and_ready(kind, tmp_path):
    with serving(store_url(kind, tmp_path)) as app:
        client = app.test_client()
        assert client.get("/healthz").json == {"status": "alive"}
        assert client.get("/readyz").json == {"status": "ready"}


def test_a_server_whose_store_fails_is_alive_but_not_ready(app, client):
    staged(parts(app)).away = True
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert problem(answer)["type"] == "/problems/store-unavailable"
    assert int(answer.headers["Retry-After"]) >= 1
    assert client.get("/healthz").status_code == 200
    staged(parts(app)).away = False
    assert client.get("/readyz").status_code == 200


def test_a_server_that_is_stopping_is_alive_but_not_ready(app, client):
    parts(app).notifier.drain(0)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert problem(answer)["type"] == "/problems/unavailable"
    assert "Retry-After" in answer.headers
    assert client.get("/healthz").status_code == 200


def test_a_server_whose_listener_went_deaf_is_not_ready(tmp_path):
    with serving(store_url("sqlite", tmp_path)) as app:
        listener = parts(app).store.store._listening
        listener.stop()
        listener._looked_at -= 60
        assert app.test_client().get("/readyz").status_code == 503
