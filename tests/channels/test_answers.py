"""Answers whose bytes are ready: their headers, and what an embedder's `after_request` functions make of them."""

import pytest

from app.errors import StoreUnavailable
from tests.support.app import parts, serving, staged

COMMON = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def altered(alter, path="/healthz", method="GET"):
    """An answer that a function of the embedder's has had."""
    with serving() as app:

        @app.after_request
        def after(response):
            alter(response)
            return response

        return app.test_client().open(path, method=method)


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/subscribe/news?timeout=0"])
def test_content_that_was_replaced_is_sent_with_its_own_length(path):
    """What was there before went out, with two lengths: a proxy and a client may each believe another."""
    answer = altered(lambda response: response.set_data(b"other content"), path)
    assert answer.data == b"other content"
    assert answer.headers.getlist("Content-Length") == ["13"]


def test_head_tells_of_content_that_was_replaced():
    answer = altered(lambda response: response.set_data(b"other content"), method="HEAD")
    assert (answer.data, answer.headers.getlist("Content-Length")) == (b"", ["13"])


def test_a_status_without_content_has_none():
    answer = altered(lambda response: setattr(response, "status_code", 204))
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Length" not in answer.headers


def requests(app):
    """One of every call that there is, by its own methods and by those that it does not take."""
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<channel>", "news").replace("<channels>", "news?timeout=0")
        for method in ("GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"):
            yield path, method


def assert_common(answer):
    for name, value in COMMON.items():
        assert answer.headers.getlist(name) == [value]


def test_every_answer_of_every_call_has_the_common_headers():
    with serving() as app:
        client = app.test_client()
        statuses = set()
        for path, method in requests(app):
            # As a form's, without a body, and with one.
            for body in ({}, {"json": {"message": 1, "channels": ["news"]}}):
                answer = client.open(path, method=method, **body)
                assert_common(answer)
                assert "text/html" not in answer.headers.get("Content-Type", "")
                statuses.add(answer.status_code)
        assert statuses == {200, 204, 400, 404, 405, 415}


@pytest.mark.parametrize(
    ("status", "path", "asked"),
    [
        (401, "/subscribe/news", {}),
        (404, "/nowhere", {}),
        (404, "/nowhere", {"method": "OPTIONS"}),
        (403, "/publish/news", {"method": "POST", "headers": {"Origin": "http://evil.example"}}),
    ],
)
def test_so_has_what_is_refused_before_a_view_is_reached(status, path, asked):
    with serving(jwt_secret="x" * 32) as app:
        answer = app.test_client().open(path, **asked)
        assert answer.status_code == status
        assert_common(answer)


@pytest.mark.parametrize(("error", "status"), [(StoreUnavailable("away", retry_after=1), 503), (RuntimeError(), 500)])
def test_so_has_what_failed(error, status):
    def fail():
        raise error

    with serving() as app:
        staged(parts(app)).check = fail
        answer = app.test_client().get("/readyz")
        assert answer.status_code == status
        assert_common(answer)


def test_options_tell_what_a_path_takes():
    with serving() as app:
        answer = app.test_client().options("/channels/news")
    assert (answer.status_code, answer.data, answer.headers["Allow"]) == (200, b"", "DELETE, GET, HEAD, OPTIONS")
    assert "Content-Type" not in answer.headers


def test_an_embedder_answers_as_he_will():
    with serving() as app:
        app.add_url_rule("/page", view_func=lambda: "<p>")
        answer = app.test_client().get("/page")
    assert answer.mimetype == "text/html"
    assert not set(COMMON) & set(answer.headers.keys())
