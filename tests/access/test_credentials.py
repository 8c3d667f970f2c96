"""Where a request's token comes from, each way by itself and beside the others; and what a cookie alone may not do."""

import hypothesis
import pytest
from hypothesis import strategies

from app.access.credentials import of_cookie
from app.errors import Unauthorized
from tests.access.asking import FOREIGN, OWN, POLL, SECRET, bearer, cookie, in_query, refused, token
from tests.support.app import law, problem, serving


@pytest.fixture(scope="module")
def client():
    with serving(jwt_secret=SECRET) as app:
        yield app.test_client(use_cookies=False)


@pytest.fixture(scope="module")
def with_query():
    """Of a server that takes tokens in the query."""
    with serving(jwt_secret=SECRET, token_in_query=True, cors_origins=frozenset(["https://app.example"])) as app:
        yield app.test_client(use_cookies=False)


# The cookie


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("__Host-bide=abc", "abc"),
        ("a=1; __Host-bide=abc; b=2", "abc"),
        ("a=1;__Host-bide = abc ;b=2", "abc"),
        ('__Host-bide="abc"', "abc"),
        ('__Host-bide="', '"'),
        ("__Host-bide=a=b==", "a=b=="),
        ("__Host-bide=", None),
        ("__Host-bide", None),
        ('__Host-bide=""', None),
        ("x__Host-bide=abc", None),
        ("__Host-bide2=abc", None),
        ("__host-bide=abc", None),
        ("a=__Host-bide=abc", None),
        (";;;=;= ;", None),
        ("", None),
    ],
)
def test_the_cookie_is_found_among_others(header, value):
    assert of_cookie({"HTTP_COOKIE": header}) == value


def test_a_cookie_that_came_twice_is_nobody_s():
    with pytest.raises(Unauthorized, match="2 times"):
        of_cookie({"HTTP_COOKIE": "__Host-bide=a; __Host-bide=b"})


@pytest.mark.parametrize(
    "text", ["\xff\xfe", '"', "a.b.c", "%00", "=", "e30.e30.", "x" * 6000, "\u2028".encode().decode("latin-1")]
)
def test_what_is_no_token_in_a_cookie_is_401_and_never_500(client, text):
    refused(client.get(POLL, headers=cookie(text)), "oken", "invalid_token")


def test_the_cookie_serves_what_is_only_read(client):
    assert client.get(POLL, headers=cookie(token())).status_code == 200
    assert client.head(POLL, headers=cookie(token())).status_code == 200
    assert client.get("/channels", headers={**cookie(token()), **FOREIGN}).status_code == 200


CHANGES = [
    ("POST", "/publish/news", {"message": 1}),
    ("POST", "/publish", {"channels": ["news"], "message": 1}),
    ("POST", "/subscribe", {"channels": {"news": 0}, "timeout": 0}),
    ("DELETE", "/channels/news", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_what_changes_something_needs_an_origin_by_cookie(client, method, path, body):
    def ask(**headers):
        return client.open(path, method=method, json=body, headers={**cookie(token()), **headers})

    refused(ask(), "Origin", status=403)
    assert problem(ask())["type"] == "/problems/foreign-origin"
    assert ask(**FOREIGN).status_code == 403
    assert ask(Origin="null").status_code == 403
    assert ask(**OWN, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert ask(**OWN).status_code in (200, 204)
    # By Authorization, which no browser sends by itself, it needs none.
    assert client.open(path, method=method, json=body, headers=bearer(token())).status_code in (200, 204)


def test_an_upgrade_needs_an_origin_by_cookie(client):
    asked = {**cookie(token()), "Upgrade": "websocket"}
    refused(client.get(POLL, headers=asked), "Origin", status=403)
    assert client.get(POLL, headers={**asked, **OWN}).status_code == 200


def test_a_listed_origin_may_use_the_cookie(with_query):
    headers = {**cookie(token()), "Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    assert with_query.post("/publish/news", json={"message": 1}, headers=headers).status_code == 200


def test_a_page_without_tls_is_another_origin_than_a_server_with_it(client):
    def publish(origin):
        headers = {**cookie(token()), "Origin": origin}
        return client.post("/publish/news", json={"message": 1}, headers=headers, base_url="https://localhost")

    assert publish("https://localhost").status_code == 200
    assert publish("http://localhost").status_code == 403


def test_authorization_goes_before_the_cookie(client):
    reader = {**bearer(token(bide={"subscribe": ["news"]})), **cookie(token())}
    refused(client.post("/publish/news", json={"message": 1}, headers=reader), "bide.publish", status=403)
    # Also where it is no token: whoever gives one means that.
    refused(client.get(POLL, headers={**bearer("x"), **cookie(token())}), "token", "invalid_token")
    refused(client.get(POLL, headers={"Authorization": "Basic YTpi", **cookie(token())}), "Bearer", code=None)


# The query


def test_a_token_in_the_query_is_refused_unless_it_was_allowed(client):
    for path in (in_query(token()), in_query("x"), in_query(""), in_query(token(), "access%5Ftoken")):
        refused(client.get(path), "Authorization")


@pytest.mark.parametrize("name", ["access_token", "access%5Ftoken", "%61ccess_token", "acce%73s_toke%6e"])
def test_a_token_in_the_query_serves_a_poll_where_it_was_allowed(with_query, name):
    assert with_query.get(in_query(token(), name)).status_code == 200
    assert with_query.get(in_query(token().replace(".", "%2E"), name)).status_code == 200
    assert with_query.get(f"/subscribe/news?{name}={token()}&timeout=0&last_event_id=latest").status_code == 200
    assert with_query.head(in_query(token(), name)).status_code == 200


def test_a_token_in_the_query_must_be_valid(with_query):
    refused(with_query.get(in_query(token(seconds=-60))), "expired", "invalid_token")
    refused(with_query.get(in_query("")), "token", "invalid_token")
    refused(with_query.get(in_query("%FF%00")), "token", "invalid_token")
    narrow = token(bide={"subscribe": ["other"]})
    refused(with_query.get(in_query(narrow)), "bide.subscribe", status=403)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/publish/news"),
        ("POST", "/subscribe"),
        ("GET", "/channels"),
        ("GET", "/channels/news/events"),
        ("DELETE", "/channels/news"),
    ],
)
def test_nothing_else_takes_a_token_in_the_query(with_query, method, path):
    refused(with_query.open(f"{path}?access_token={token()}", method=method, json={"message": 1}), "Authorization")


def test_two_tokens_are_one_too_many(with_query, client):
    for each in (with_query, client):
        refused(each.get(in_query(token()), headers=bearer(token())), "one token")
        refused(each.get(in_query(token()) + "&access_token=" + token()), "one token")


def test_the_cookie_is_no_second_one_since_the_browser_sends_it(with_query):
    narrow = token(bide={"subscribe": ["other"]})
    assert with_query.get(in_query(token()), headers=cookie("garbage")).status_code == 200
    refused(with_query.get(in_query(narrow), headers=cookie(token())), "bide.subscribe", status=403)


def test_where_there_is_no_key_a_token_is_ignored():
    with serving(cors_origins=frozenset()) as app:
        client = app.test_client(use_cookies=False)
        for headers in (bearer("x"), cookie("x; __Host-bide=y"), {}):
            assert client.get(in_query("x"), headers=headers).status_code == 200
            assert client.post("/publish/news", json={"message": 1}, headers=headers).status_code == 200


# Whatever else

#: What a header or a query may hold, as far as gunicorn lets it through.
ANYTHING = strategies.text(
    strategies.characters(codec="latin-1", min_codepoint=32, exclude_characters="\x7f"), max_size=60
)
PIECES = strategies.sampled_from(["__Host-bide=", "Bearer ", "access_token=", ";", "=", '"', "&", "%", ".", "e30", " "])
ODD = strategies.lists(PIECES | ANYTHING, max_size=6).map("".join)


@law
@hypothesis.given(authorization=strategies.none() | ODD, cookie_=ODD, query=ODD)
def test_nothing_that_a_client_sends_is_an_error_of_the_server(with_query, authorization, cookie_, query):
    # As it came: Werkzeug's client would write it anew.
    environ = {"HTTP_COOKIE": cookie_, "QUERY_STRING": query, "RAW_URI": f"/?{query}"}
    if authorization is not None:
        environ["HTTP_AUTHORIZATION"] = authorization
    for method, path in (("GET", "/subscribe/news"), ("POST", "/auth/session"), ("DELETE", "/auth/session")):
        answer = with_query.open(path, method=method, environ_overrides=environ)
        assert answer.status_code in (204, 401, 403)
