"""Pages of the listed origins read what is answered, errors too; those of other origins read nothing."""

import time

import jwt
import pytest
from flask_cors import CORS

from app.errors import StoreUnavailable
from tests.support.app import parts, serving, staged

PAGE = "https://app.example"
OTHER_PAGE = "http://[::1]:3000"
EVIL = "https://evil.example"
LISTED = frozenset([PAGE, OTHER_PAGE])
SECRET = "of this test alone, of 32 bytes or more"

EXPOSED = {"Idempotency-Replayed", "Last-Event-ID", "Preference-Applied", "RateLimit", "Retry-After"}
ALLOWED = {"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-Client-ID"}
METHODS = {"DELETE", "GET", "HEAD", "POST"}


def token(**claims):
    rights = {"publish": ["news"], "subscribe": ["news"]}
    return jwt.encode({"sub": "ann", "exp": time.time() + 60, "bide": rights, **claims}, SECRET)


@pytest.fixture
def app():
    with serving(cors_origins=LISTED) as app:
        yield app


@pytest.fixture(scope="module")
def guarded():
    with serving(cors_origins=LISTED, jwt_secret=SECRET) as app:
        yield app.test_client()


def listed(answer, name):
    (value,) = answer.headers.getlist(name)
    return set(value.split(", "))


def of_cors(answer):
    return [name for name, _ in answer.headers if name.startswith("Access-Control-")]


def assert_readable(answer, origin=PAGE):
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert answer.headers.getlist("Access-Control-Allow-Credentials") == ["true"]
    assert listed(answer, "Access-Control-Expose-Headers") == EXPOSED
    assert answer.headers.getlist("Vary") == ["Origin"]
    assert len(of_cors(answer)) == 3


def assert_not_readable(answer):
    assert of_cors(answer) == []
    assert answer.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("origin", sorted(LISTED))
def test_a_page_of_a_listed_origin_publishes_and_reads(app, origin):
    client = app.test_client()
    asked = {"headers": {"Origin": origin, "Sec-Fetch-Site": "cross-site"}}
    assert_readable(client.post("/publish/news", json={"message": 1}, **asked), origin)
    for path in ("/subscribe/news", "/channels", "/channels/news", "/channels/news/events", "/", "/healthz"):
        for method in ("GET", "HEAD"):
            answer = client.open(path, method=method, **asked)
            assert answer.status_code == 200
            assert_readable(answer, origin)
    answer = client.delete("/channels/news", **asked)
    assert answer.status_code == 204
    assert_readable(answer, origin)


REFUSED = [
    (400, "GET", "/subscribe/news?timeout=x", {}),
    (404, "GET", "/nowhere", {}),
    (404, "GET", "/channels/unknown", {}),
    (405, "DELETE", "/publish/news", {}),
    (413, "POST", "/publish/news", {"json": {"message": "x" * 70_000}}),
    (415, "POST", "/publish/news", {"data": b"x", "content_type": "image/png"}),
    (421, "GET", "/subscribe/news", {"headers": {"Host": "rebound.example"}}),
]


@pytest.mark.parametrize(("status", "method", "path", "asked"), REFUSED, ids=lambda value: str(value)[:20])
def test_a_page_reads_why_it_is_refused(app, status, method, path, asked):
    headers = {"Origin": PAGE, **asked.get("headers", {})}
    answer = app.test_client().open(path, method=method, **{**asked, "headers": headers})
    assert answer.status_code == status
    assert_readable(answer)


@pytest.mark.parametrize(
    ("status", "bearer"), [(401, None), (401, "x"), (401, {"exp": 1}), (403, {"bide": {}}), (200, {})]
)
def test_so_it_does_where_its_token_is_none_or_not_enough(guarded, status, bearer):
    text = token(**bearer) if isinstance(bearer, dict) else bearer
    headers = {"Origin": PAGE} | ({} if text is None else {"Authorization": f"Bearer {text}"})
    answer = guarded.get("/subscribe/news?timeout=0", headers=headers)
    assert answer.status_code == status
    assert_readable(answer)


@pytest.mark.parametrize(("error", "status"), [(StoreUnavailable("away", retry_after=1), 503), (RuntimeError(), 500)])
def test_so_it_does_where_the_server_failed(app, error, status):
    def fail():
        raise error

    staged(parts(app)).check = fail
    answer = app.test_client().get("/readyz", headers={"Origin": PAGE})
    assert answer.status_code == status
    assert_readable(answer)


def test_so_it_does_where_too_many_poll(app):
    parts(app).subscriber.max_polls = 0
    answer = app.test_client().get("/subscribe/news", headers={"Origin": PAGE})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert_readable(answer)


def test_so_it_does_where_a_function_of_the_embedders_failed(app):
    @app.after_request
    def after(response):
        raise RuntimeError

    answer = app.test_client().get("/healthz", headers={"Origin": PAGE})
    assert answer.status_code == 500
    assert_readable(answer)


NOT_LISTED = [
    None,
    "",
    "null",
    EVIL,
    "HTTPS://APP.EXAMPLE",
    "https://app.example:443",
    "http://app.example",
    "https://app.example.evil.example",
    "https://app.example/",
    "https://app.example, https://evil.example",
    # What the brackets of an IPv6 address would match, were they a pattern's.
    "http://1:3000",
    "http://::3000",
    "http://[::1]:30000",
]


@pytest.mark.parametrize("origin", NOT_LISTED)
def test_any_other_page_reads_nothing_and_no_cache_confuses_them(app, origin):
    client, headers = app.test_client(), {} if origin is None else {"Origin": origin}
    for path in ("/subscribe/news?timeout=0", "/channels", "/nowhere", "/subscribe/news?timeout=x"):
        assert_not_readable(client.get(path, headers=headers))
    for path in ("/subscribe/news", "/nowhere"):
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        assert_not_readable(client.options(path, headers=headers | asked))


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_and_changes_nothing(app, method):
    path = "/publish/news" if method == "POST" else "/channels/news"
    answer = app.test_client().open(path, method=method, json={"message": 1}, headers={"Origin": EVIL})
    assert answer.status_code == 403
    assert_not_readable(answer)


# What a browser asks before


def preflight(client, path, method="POST", origin=PAGE, fields="authorization,content-type"):
    headers = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": fields}
    return client.options(path, headers={"Origin": origin, **headers})


def test_before_every_call_a_browser_is_told_what_pages_may_send_and_needs_no_token(guarded):
    rules = list(guarded.application.url_map.iter_rules())
    assert len(rules) > 10
    for path in [*(rule.rule.replace("<", "").replace(">", "") for rule in rules), "/nowhere", "/channels/%20/events"]:
        answer = preflight(guarded, path)
        assert (answer.status_code, answer.data) == (204, b"")
        assert answer.headers.getlist("Access-Control-Allow-Origin") == [PAGE]
        assert answer.headers.getlist("Access-Control-Allow-Credentials") == ["true"]
        assert answer.headers.getlist("Access-Control-Max-Age") == ["7200"]
        assert listed(answer, "Access-Control-Allow-Methods") == METHODS
        assert listed(answer, "Access-Control-Allow-Headers") == ALLOWED
        assert answer.headers.getlist("Vary") == ["Origin"]


def test_asking_first_reaches_no_view(app, monkeypatch):
    for endpoint in app.view_functions:
        monkeypatch.setitem(app.view_functions, endpoint, lambda **_: pytest.fail("it was reached"))
    for rule in app.url_map.iter_rules():
        assert preflight(app.test_client(), rule.rule).status_code == 204


@pytest.mark.parametrize(("method", "fields"), [("PUT", ""), ("POST", "x-anything")])
def test_what_is_not_in_the_list_is_the_browsers_to_refuse(app, method, fields):
    answer = preflight(app.test_client(), "/publish/news", method, fields=fields)
    assert "PUT" not in listed(answer, "Access-Control-Allow-Methods")
    assert "x-anything" not in {name.lower() for name in listed(answer, "Access-Control-Allow-Headers")}


def test_options_that_ask_for_nothing_tell_of_the_path(app):
    answer = app.test_client().options("/channels/news", headers={"Origin": PAGE})
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert_readable(answer)


# Beside what an embedding application does


def test_without_a_listed_origin_nothing_is_registered_and_nothing_said():
    with serving() as app, serving(cors_origins=LISTED) as other:
        assert len(other.before_request_funcs[None]) == len(app.before_request_funcs[None]) + 1
        answer = app.test_client().get("/subscribe/news?timeout=0", headers={"Origin": PAGE})
        assert (of_cors(answer), "Vary" in answer.headers) == ([], False)


def test_what_an_embedder_adds_is_for_him_to_open(app):
    app.add_url_rule("/own", view_func=lambda: "his", methods=["GET", "DELETE"])
    client = app.test_client()
    assert of_cors(client.get("/own", headers={"Origin": PAGE})) == []
    assert of_cors(preflight(client, "/own", "DELETE")) == []


def test_an_embedders_own_word_is_the_last(app):
    @app.after_request
    def after(response):
        response.headers["access-control-allow-origin"] = "https://his.example"
        response.headers["X-Own"] = "1"
        return response

    answer = app.test_client().get("/healthz", headers={"Origin": PAGE})
    assert of_cors(answer) == []
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["X-Own"]) == ("https://his.example", "1")


def test_so_it_is_where_he_uses_flask_cors_himself(app):
    CORS(app, origins=[EVIL])
    app.add_url_rule("/own", view_func=lambda: "his")
    client = app.test_client()
    for path in ("/own", "/healthz"):
        answer = client.get(path, headers={"Origin": EVIL})
        assert answer.headers.getlist("Access-Control-Allow-Origin") == [EVIL]
    assert_readable(client.get("/healthz", headers={"Origin": PAGE}))
    assert preflight(client, "/publish/news").headers.getlist("Access-Control-Allow-Origin") == [PAGE]


def test_content_that_an_embedder_replaced_is_read_all_the_same(app):
    @app.after_request
    def after(response):
        response.set_data(b"other")
        return response

    answer = app.test_client().get("/healthz", headers={"Origin": PAGE})
    assert answer.data == b"other"
    assert_readable(answer)
