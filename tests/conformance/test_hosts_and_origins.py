"""Without any setting a server is for its own machine: foreign hosts, proxies and origins are refused."""

import pytest

from .client import assert_problem, assert_published, fresh

FOREIGN = [
    "http://evil.example",
    "https://evil.example:8443",
    "null",
    "http://localhost.evil.example",
    "file://",
    "x",
]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LocalHost"])
def test_the_names_of_this_machine_are_served(bide, channel, host):
    for name in (host, host + ":" + bide.host.rsplit(":", 1)[-1]):
        answer = bide.exact("POST", f"/publish/{channel}", "Content-Type: text/plain", host=name, body=b"x")
        assert_published(answer, channel)


@pytest.mark.direct
@pytest.mark.keyless
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "127.0.0.2",
    ],
)
def test_any_other_name_is_told_what_to_set(bide, channel, host):
    for method, path in [("POST", "/publish/{}"), ("GET", "/subscribe/{}?timeout=0"), ("GET", "/channels")]:
        body = b"x" if method == "POST" else b""
        answer = bide.exact(method, path.format(channel), "Content-Type: text/plain", host=host, body=body)
        assert "BIDE_" in assert_problem(answer, 421)["detail"]
    assert bide.is_unknown(channel)


@pytest.mark.direct
@pytest.mark.keyless
@pytest.mark.parametrize(
    "header",
    [
        "Forwarded: for=192.0.2.1;proto=https",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 443",
    ],
)
def test_what_a_proxy_forwarded_is_told_what_to_set(bide, channel, header):
    for path in (f"/channels/{channel}", f"/subscribe/{channel}?timeout=0"):
        assert "BIDE_" in assert_problem(bide.exact("GET", path, header), 421)["detail"]
    answer = bide.exact("POST", f"/publish/{channel}", header, "Content-Type: text/plain", body=b"x")
    assert_problem(answer, 421)
    assert bide.is_unknown(channel)


def unsafe(bide, channel, headers):
    """Every call that changes something or opens a poll by POST."""
    return [
        bide.post(f"/publish/{channel}", json={"message": 1}, headers=headers),
        bide.post("/publish", json={"channels": [channel], "message": 1}, headers=headers),
        bide.post("/subscribe", json={"channels": {channel: 0}, "timeout": 0}, headers=headers),
        bide.request("DELETE", f"/channels/{channel}", headers=headers),
    ]


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_origins_change_nothing(bide, channel, origin):
    bide.publish(channel, "kept")
    for answer in unsafe(bide, channel, {"Origin": origin}):
        assert_problem(answer, 403)
    assert bide.messages(channel) == ["kept"]


def test_a_page_of_another_port_is_of_another_origin(bide, channel):
    scheme, _, host = bide.origin.partition("://")
    for answer in unsafe(bide, channel, {"Origin": f"{scheme}://{host.split(':')[0]}:1"}):
        assert_problem(answer, 403)


def test_pages_of_the_servers_own_origin_are_served(bide, channel):
    statuses = [answer.status_code for answer in unsafe(bide, channel, {"Origin": bide.origin})]
    assert statuses == [200, 200, 200, 204]


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "cross-site", "Origin": "null"}]
)
def test_what_a_browser_calls_cross_site_changes_nothing(bide, channel, headers):
    bide.publish(channel, "kept")
    for answer in unsafe(bide, channel, headers):
        assert_problem(answer, 403)
    assert bide.messages(channel) == ["kept"]


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_a_browser_calls_its_own_is_served(bide, channel, site):
    statuses = [answer.status_code for answer in unsafe(bide, channel, {"Sec-Fetch-Site": site})]
    assert statuses == [200, 200, 200, 204]


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=repr)
def test_reading_is_not_a_matter_of_origin(bide, channel, headers):
    event_id = bide.publish(channel, "x")
    assert bide.polled(channel, headers=headers)["id"] == event_id
    for path in ("/", "/channels", f"/channels/{channel}", f"/channels/{channel}/events"):
        assert bide.get(path, headers=headers).status_code == 200
    assert bide.request("OPTIONS", f"/publish/{fresh()}", headers=headers).status_code in (200, 204)
