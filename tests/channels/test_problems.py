"""Every error as a problem document: ours, Werkzeug's, and the one that nobody expected."""

import gc
import logging

import pytest
from flask import abort
from werkzeug.test import EnvironBuilder

from app import errors
from app.channels.problems import RETRY_JITTER_SECONDS
from app.errors import BideError, SettingsError
from tests.support.app import parts, problem, serving

SECRET = "/srv/secret/bide.db holds a token"

SENT = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BideError) and kind not in (BideError, SettingsError)
]


@pytest.fixture
def app():
    with serving() as app:
        yield app


@pytest.fixture
def client(app):
    return app.test_client()


def failing(app, error):
    """A client of a path that fails so."""

    def fail():
        raise error

    app.add_url_rule("/fails", view_func=fail)
    return app.test_client()


@pytest.mark.parametrize("kind", SENT)
def test_an_error_of_ours_is_told_in_its_own_words(app, kind):
    answer = failing(app, kind("This case", param="p", retry_after=7, more={"events": [1]})).get("/fails")
    assert answer.status_code == kind.status
    assert problem(answer) == {
        "type": f"/problems/{kind.kind}",
        "title": kind.title,
        "status": kind.status,
        "error": kind.title,
        "detail": "This case",
        "events": [1],
        "param": "p",
    }
    assert 7 <= int(answer.headers["Retry-After"]) <= 7 + RETRY_JITTER_SECONDS


def test_a_problem_has_no_members_that_say_nothing(app):
    answer = failing(app, errors.InvalidBody("This case")).get("/fails")
    assert set(problem(answer)) == {"type", "title", "status", "error", "detail"}
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("path", ["/nowhere", "/publish/", "/channels/a/b", "/publish//news", "/subscribe/a/b"])
def test_an_unknown_path_is_404(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert problem(answer)["type"] == "/problems/not-found"
    assert answer.location is None


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/publish/news", {"POST", "OPTIONS"}),
        ("POST", "/subscribe/news", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/subscribe", {"POST", "OPTIONS"}),
        ("PUT", "/channels/news", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("DELETE", "/channels", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_method_that_a_path_does_not_take_is_405_and_says_which_it_takes(client, method, path, allowed):
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    document = problem(answer)
    assert document["type"] == "/problems/method-not-allowed"
    assert set(answer.headers["Allow"].split(", ")) == allowed
    assert all(method in document["detail"] for method in allowed)


def test_options_is_answered_without_a_view(client):
    answer = client.options("/publish/news")
    assert answer.status_code == 200
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


@pytest.mark.parametrize("status", [400, 404, 408, 413, 414, 415, 418, 500, 503])
def test_an_error_of_werkzeugs_has_the_same_form(app, status):
    app.add_url_rule("/fails", view_func=lambda: abort(status, "words of an extension"))
    answer = app.test_client().get("/fails")
    assert answer.status_code == status
    assert "words of an extension" not in answer.text
    problem(answer)


@pytest.mark.parametrize(
    "error", [RuntimeError(SECRET), KeyError("x"), OSError(2, "No such file", SECRET), ZeroDivisionError()]
)
def test_what_nobody_expected_is_500_and_tells_nothing_of_the_inside(app, error):
    answer = failing(app, error).get("/fails")
    assert answer.status_code == 500
    document = problem(answer)
    assert document["type"] == "/problems/internal-error"
    for word in ("secret", "Traceback", type(error).__name__, "File", ".py"):
        assert word not in answer.text


def test_what_nobody_expected_is_logged_with_its_trace(app, caplog):
    with caplog.at_level(logging.ERROR, "bide"):
        failing(app, RuntimeError(SECRET)).get("/fails?access_token=t")
    (record,) = [record for record in caplog.records if record.name == "bide"]
    assert record.getMessage() == "a request failed: GET /fails"
    assert record.exc_info[1].args == (SECRET,)


def test_a_store_that_fails_in_an_unexpected_way_is_500_too(app, client):
    def fail(*_):
        raise MemoryError(SECRET)

    parts(app).store.append = fail
    answer = client.post("/publish/news", json={"message": 1})
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_head_request_meets_the_same_status_without_a_body(client):
    answer = client.head("/nowhere")
    assert (answer.status_code, answer.data) == (404, b"")
    assert answer.content_type == "application/problem+json"


def left_for_the_collector(app, method, path, body=None):
    """How many objects twenty requests leave that only the collector can undo."""

    def ask():
        environ = EnvironBuilder(path, method=method, json=body).get_environ()
        answer = app.wsgi_app(environ, lambda status, headers: None)
        b"".join(answer)
        answer.close()

    ask()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            ask()
        return gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/nowhere", None),
        ("DELETE", "/healthz", None),
        ("GET", "/channels/unknown", None),
        ("GET", "/subscribe/news?last_event_id=x", None),
        ("POST", "/publish/news", {"message": ""}),
    ],
)
def test_a_refused_request_leaves_hardly_anything_for_the_collector(app, method, path, body):
    """Eighty objects each of 404 and 405: the collector's rounds held every other client for 30 to 70 ms.

    Eight are of Werkzeug's search of its URL map.
    """
    assert left_for_the_collector(app, method, path, body) <= 20 * 8


def test_a_request_leaves_nothing_for_the_collector(app):
    assert left_for_the_collector(app, "GET", "/healthz") == 0
    assert left_for_the_collector(app, "POST", "/publish/news", {"message": 1}) == 0
