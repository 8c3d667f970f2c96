"""The two rules that keep a server without a key safe: the Host, and the Origin. Each by itself, then over HTTP."""

import pytest

from app.access.origins import check_host, check_origin, split_host
from app.errors import ForeignHost, ForeignOrigin
from tests.support.app import problem, serving

LOCAL = ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000", "localhost:"]
FOREIGN = [
    "",
    "example.com",
    "localhost.example.com",
    "example.com:8000",
    "127.0.0.1.nip.io",
    "127.0.0.2",
    "localhost:80:80",
    "localhost:abc",
    "localhost:\u0661",
    "localhost:-1",
    "localhost@evil.example",
    "evil@localhost",
    "localhost.",
    "::1",
    "[::1",
    "[::2]",
    "0.0.0.0",
    "x" * 5000,
]

FORWARDED = ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything"]

OWN = [
    ("http://localhost:8000", "localhost:8000"),
    ("http://LOCALHOST:8000", "localhost:8000"),
    ("http://example.com", "example.com"),
    ("http://example.com", "example.com:80"),
    ("https://example.com", "example.com"),
    ("https://example.com", "example.com:443"),
    ("https://example.com:8443", "example.com:8443"),
    ("http://[::1]:8000", "[::1]:8000"),
    ("http://[::1]", "[::1]"),
]
OTHERS = [
    ("http://localhost:3000", "localhost:8000"),
    ("http://evil.example", "localhost:8000"),
    ("http://localhost.evil.example:8000", "localhost:8000"),
    ("https://example.com", "example.com:80"),
    ("http://example.com", "example.com:443"),
    ("http://localhost:8000/", "localhost:8000"),
    ("http://evil.example/localhost:8000", "localhost:8000"),
    ("http://evil@localhost:8000", "localhost:8000"),
    ("ftp://localhost:8000", "localhost:8000"),
    ("file://", "localhost:8000"),
    ("null", "localhost:8000"),
    ("", "localhost:8000"),
    ("localhost:8000", "localhost:8000"),
    ("http://", ""),
]


def environ(host="localhost:8000", method="POST", **headers):
    found = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return {"REQUEST_METHOD": method, "HTTP_HOST": host, **found}


@pytest.mark.parametrize("host", LOCAL)
def test_a_request_for_this_machine_is_served(host):
    check_host(environ(host))


@pytest.mark.parametrize("host", FOREIGN, ids=lambda host: host[:30])
def test_a_request_for_another_name_is_not_served(host):
    with pytest.raises(ForeignHost, match=r"BIDE_JWT_SECRET.*BIDE_INSECURE=1") as caught:
        check_host(environ(host))
    assert len(str(caught.value)) < 600


def test_a_request_without_a_name_is_not_served():
    with pytest.raises(ForeignHost):
        check_host({"REQUEST_METHOD": "GET"})


@pytest.mark.parametrize("header", FORWARDED)
def test_a_request_that_a_proxy_forwarded_is_not_served(header):
    with pytest.raises(ForeignHost, match=r"BIDE_JWT_SECRET.*BIDE_INSECURE=1"):
        check_host(environ(**{header.replace("-", "_"): "1"}))


@pytest.mark.parametrize(("origin", "host"), OWN)
def test_a_page_of_the_requests_own_origin_may_publish(origin, host):
    check_origin(environ(host, origin=origin), frozenset())


@pytest.mark.parametrize(("origin", "host"), OTHERS)
def test_a_page_of_another_origin_may_not(origin, host):
    with pytest.raises(ForeignOrigin, match="BIDE_CORS_ORIGINS"):
        check_origin(environ(host, origin=origin), frozenset())


def test_a_page_without_tls_is_of_another_origin_than_a_server_that_is_asked_with_it():
    """Whoever is on the way to `http://example.com` could have written it. Both have ports that nobody writes."""
    asked = {**environ("example.com", origin="http://example.com"), "wsgi.url_scheme": "https"}
    with pytest.raises(ForeignOrigin):
        check_origin(asked, frozenset())
    check_origin({**asked, "HTTP_ORIGIN": "https://example.com"}, frozenset())
    check_origin(asked, frozenset(["http://example.com"]))


@pytest.mark.parametrize("origin", ["http://[", "http://[localhost:8000", "http://localhost]:8000", "http://\u2100.c"])
def test_what_is_no_origin_is_a_foreign_one(origin):
    with pytest.raises(ForeignOrigin):
        check_origin(environ(origin=origin), frozenset())


def test_a_listed_origin_may_publish_whatever_the_browser_calls_it():
    listed = frozenset(["https://app.example"])
    check_origin(environ(origin="https://app.example", sec_fetch_site="cross-site"), listed)
    with pytest.raises(ForeignOrigin):
        check_origin(environ(origin="https://app.example:444"), listed)


def test_what_is_no_page_may_publish():
    check_origin(environ(), frozenset())


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
def test_what_the_browser_calls_its_own_is_judged_by_its_origin(site):
    check_origin(environ(sec_fetch_site=site), frozenset())
    with pytest.raises(ForeignOrigin):
        check_origin(environ(sec_fetch_site=site, origin="http://evil.example"), frozenset())


def test_what_the_browser_calls_cross_site_may_not_publish_with_or_without_an_origin():
    with pytest.raises(ForeignOrigin, match="another site"):
        check_origin(environ(sec_fetch_site="cross-site"), frozenset())
    with pytest.raises(ForeignOrigin):
        check_origin(environ(sec_fetch_site="cross-site", origin="http://localhost:8000"), frozenset())


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [("a", "a", ""), ("a:1", "a", "1"), ("[::1]", "[::1]", ""), ("[::1]:1", "[::1]", "1"), ("", "", "")],
)
def test_a_host_is_split_into_name_and_port(host, name, port):
    assert split_host(host) == (name, port)


# Over HTTP


@pytest.fixture
def client():
    with serving() as app:
        yield app.test_client()


@pytest.mark.parametrize("path", ["/", "/healthz", "/subscribe/news?timeout=0", "/nowhere"])
def test_a_rebound_name_meets_421_on_every_path(client, path):
    answer = client.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert problem(answer)["type"] == "/problems/foreign-host"


FROM_A_PAGE = {"Origin": "http://evil.example"}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/publish/news"), ("POST", "/subscribe"), ("DELETE", "/channels/news")]
)
def test_what_changes_something_is_refused_to_foreign_pages(client, method, path):
    answer = client.open(path, method=method, json={"message": 1}, headers=FROM_A_PAGE)
    assert answer.status_code == 403
    assert problem(answer)["type"] == "/problems/foreign-origin"


def test_an_upgrade_is_refused_to_foreign_pages(client):
    answer = client.get("/subscribe/news?timeout=0", headers={**FROM_A_PAGE, "Upgrade": "websocket"})
    assert answer.status_code == 403


def test_reading_is_left_to_the_browser_to_judge(client):
    assert client.get("/subscribe/news?timeout=0", headers=FROM_A_PAGE).status_code == 200


def test_without_the_rule_of_the_host_the_rule_of_the_origin_holds():
    with serving(insecure=True) as app:
        client = app.test_client()
        proxied = {"Host": "bide.example", "X-Forwarded-For": "10.0.0.1"}
        assert client.get("/healthz", headers=proxied).status_code == 200
        assert client.post("/publish/news", json={"message": 1}, headers=proxied).status_code == 200
        assert client.post("/publish/news", json={"message": 1}, headers={**proxied, **FROM_A_PAGE}).status_code == 403


def test_the_listed_origins_are_those_of_the_settings():
    with serving(cors_origins=frozenset(["http://evil.example"])) as app:
        assert app.test_client().post("/publish/news", json={"message": 1}, headers=FROM_A_PAGE).status_code == 200
