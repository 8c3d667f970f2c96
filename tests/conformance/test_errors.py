"""Every refusal has one form, on every path."""

import pytest

from .client import assert_problem, fresh
from .oddities import label

# Each path with the methods that it has; `{}` stands for a channel's name.
PATHS = {
    "/": {"GET", "HEAD"},
    "/publish": {"POST"},
    "/publish/{}": {"POST"},
    "/subscribe": {"POST"},
    "/subscribe/{}": {"GET", "HEAD"},
    "/channels": {"GET", "HEAD"},
    "/channels/{}": {"GET", "HEAD", "DELETE"},
    "/channels/{}/events": {"GET", "HEAD"},
    "/channels/{}/subscribers": {"GET", "HEAD"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/openapi.json": {"GET", "HEAD"},
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def allowed(answer):
    return {each.strip() for each in answer.headers["Allow"].split(",")}


def call(bide, method, path, channel):
    # The type and length keep the refusal from being about the body.
    return bide.exact(method, path.format(channel), "Content-Type: text/plain", body=b"x" if method != "GET" else b"")


@pytest.mark.parametrize(
    ("path", "method"),
    [(path, method) for path, methods in PATHS.items() for method in METHODS if method not in methods],
)
def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(bide, channel, path, method):
    answer = call(bide, method, path, channel)
    assert_problem(answer, 405, param=None)
    assert PATHS[path] <= allowed(answer)
    assert method not in allowed(answer)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize("path", PATHS)
def test_options_tells_the_methods_of_a_path(bide, channel, path):
    answer = bide.request("OPTIONS", path.format(channel))
    assert answer.status_code in (200, 204)
    assert answer.content == b""
    assert PATHS[path] <= allowed(answer)
    assert bide.is_unknown(channel)


@pytest.mark.parametrize(
    "path", ["/publish/a%20b", "/subscribe/...?timeout=x", "/channels/%C3%A9", "/channels?limit=x"]
)
def test_options_looks_at_nothing_else(bide, path):
    answer = bide.exact("OPTIONS", path)
    assert answer.status_code in (200, 204)
    assert answer.content == b""


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/nothing/here",
        "/Publish/a",
        "/channels/a/nothing",
        "/channels/a/events/5",
        "/subscribe/a/b/c",
        "/%FF",
    ],
)
def test_an_unknown_path_is_not_found(bide, path, method):
    assert_problem(call(bide, method, path, ""), 404, param=None)


def test_a_kind_of_error_keeps_its_type_and_title(bide):
    def kind(answer):
        body = answer.json()
        return body["type"], body["title"]

    kinds = {
        "name": [bide.poll("..."), bide.get("/channels/...")],
        "path": [bide.get("/nothing"), bide.get("/nothing/else")],
        "method": [bide.get("/publish"), bide.request("PUT", "/channels")],
        "media type": [
            bide.post(f"/publish/{fresh()}", data=b"x", headers={"Content-Type": each})
            for each in ("image/png", "text/html")
        ],
        "content": [bide.post(f"/publish/{fresh()}", json=each) for each in ({}, {"message": ""})],
    }
    found = {name: {kind(answer) for answer in answers} for name, answers in kinds.items()}
    assert all(len(each) == 1 for each in found.values())
    assert len({each for some in found.values() for each in some}) == len(kinds)


def test_the_detail_says_what_would_be_accepted(bide, channel):
    for query, words in [("limit=1001", "1000"), ("last_event_id=x", "latest")]:
        body = assert_problem(bide.get(f"/subscribe/{channel}?timeout=0&{query}"), 400)
        assert words in body["detail"].replace(",", "")


def test_what_a_client_sent_is_never_echoed_as_markup(bide):
    answer = bide.get("/subscribe/a?timeout=<script>alert(1)</script>")
    assert_problem(answer, 400, param="timeout")


@pytest.mark.parametrize("name", ["a" * 5000, "%2C" * 1000, "%F0%9F%98%80" * 100], ids=label)
def test_a_hostile_name_gets_an_ordinary_refusal(bide, name):
    answer = bide.exact("GET", f"/subscribe/x%20{name}")
    assert answer.status_code == 400


def test_head_of_what_is_unknown_has_no_body(bide, channel):
    for path in ("/nothing", f"/channels/{channel}"):
        answer = bide.request("HEAD", path)
        assert answer.status_code == 404
        assert answer.content == b""
