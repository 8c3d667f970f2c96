"""Answers whose bytes are ready, and what an embedder's `after_request` functions make of them."""

import pytest

from tests.support.app import serving


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
