"""What pages can do in a real browser: those of listed origins, those of others, and those whose name was rebound.

The page that publishes and listens is docs/examples/page, as it is.
"""

import contextlib
import json
import time
from urllib.parse import urlencode

import jwt
import pytest

from tests.support.clients import Line, subscription
from tests.support.servers import Server, await_that

SECRET = "of this test alone, of 32 bytes or more"


class Overheard(Server):
    """A server that tells what it was asked: method, path, status, and what the browser says of the page."""

    def __init__(self, folder, **more):
        super().__init__(folder, **more)
        self._app = "tests.support.overheard:app"

    def heard(self, path):
        _, _, body = self.get("/-test-/heard")
        return [
            (method, status, origin, site)
            for method, asked, status, origin, site, _ in json.loads(body)
            if asked == path and origin is not None
        ]


@pytest.fixture(scope="module", params=["bide", pytest.param("gevent", marks=pytest.mark.long)])
def servers(request, pages, tmp_path_factory):
    """One server without a key, and one with a key that holds two polls."""
    listed = {"BIDE_CORS_ORIGINS": f"http://127.0.0.1:{pages[0]} http://app.example:{pages[0]}"}
    guarded = {**listed, "BIDE_JWT_SECRET": SECRET, "BIDE_MAX_POLLS": 2}
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Overheard(tmp_path_factory.mktemp("bide"), env=env, gevent=request.param == "gevent"))
            for env in (listed, guarded)
        ]


@pytest.fixture
def server(servers):
    return servers[0]


@pytest.fixture
def guarded(servers):
    return servers[1]


@pytest.fixture
def ours(pages):
    return f"http://127.0.0.1:{pages[0]}"


@pytest.fixture
def theirs(pages):
    return f"http://127.0.0.1:{pages[1]}"


def chat(origin, server, token=""):
    return f"{origin}/chat?{urlencode({'bide': server.url, 'token': token})}"


def token(**rights):
    return jwt.encode({"sub": "ann", "exp": time.time() + 600, "bide": rights}, SECRET)


def shown(page):
    return page.locator("li").all_text_contents()


#: Fetches, and tells what a script can see of the answer; null where the browser keeps it from the script.
FETCH = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options)
        return [answer.status, answer.type, Object.fromEntries(answer.headers), await answer.text()]
    } catch (error) {
        if (error instanceof TypeError) return null
        throw error
    }
}"""


def fetch(page, url, **options):
    return page.evaluate(FETCH, [url, options])


def test_the_tutorials_page_publishes_and_goes_on_with_its_cursor(server, ours, open_page):
    first = server.publish("chat", "before")
    page = open_page("about:blank")
    polls = []
    page.on("request", lambda request: "/subscribe/" in request.url and polls.append(request.url.rpartition("=")[2]))
    page.goto(chat(ours, server))
    page.locator("li >> text=before").wait_for()
    page.fill("input", "from the page")
    page.click("button")
    page.locator("li >> text=from the page").wait_for()
    server.publish("chat", "from elsewhere")
    page.locator("li >> text=from elsewhere").wait_for()
    assert shown(page) == ["before", "from the page", "from elsewhere"]
    assert page.locator("#trouble").text_content() == ""
    ids = [event["id"] for event in server.events("chat")]
    page.wait_for_timeout(1)  # lets what was heard meanwhile be told
    assert polls[:3] == ["0", *map(str, ids[:2])]
    assert ids[0] == first


def test_it_does_so_with_a_token_and_shows_why_without(guarded, ours, open_page):
    page = open_page(chat(ours, guarded))
    page.locator("#trouble >> text=Give a token").wait_for()
    page.goto(chat(ours, guarded, token(publish=["other"], subscribe=["chat"])))
    page.fill("input", "not allowed")
    page.click("button")
    page.locator("#trouble >> text=bide.publish").wait_for()
    page.goto(chat(ours, guarded, token(publish=["chat"], subscribe=["chat"])))
    page.fill("input", "with a token")
    page.click("button")
    page.locator("li >> text=with a token").wait_for()
    assert shown(page) == ["with a token"]


def test_a_script_reads_what_an_error_tells_of_trying_again(guarded, ours, open_page):
    bearer = {"Authorization": f"Bearer {token(subscribe=['busy', 'status'])}"}
    page = open_page(ours)

    def is_held():
        # The page of another test may have left its poll a moment ago.
        status, _, _ = guarded.get("/subscribe/status?timeout=0", headers=bearer)
        return status == 503

    await_that(lambda: not is_held())
    with Line(guarded) as line, Line(guarded) as other:
        for each in (line, other):
            each.send(subscription("busy", "latest", 50, None, f"Authorization: {bearer['Authorization']}"))
        await_that(is_held)
        status, kind, headers, body = fetch(page, f"{guarded.url}/subscribe/busy", headers=bearer)
    assert (status, kind) == (503, "cors")
    assert 1 <= int(headers["retry-after"]) <= 10
    assert "/problems/too-many-polls" in body


def test_a_page_of_another_site_that_is_listed_does_all_that_a_page_can(server, pages, open_page):
    origin = f"http://app.example:{pages[0]}"
    page = open_page(origin)
    headers = {"Content-Type": "application/json", "Idempotency-Key": "once", "X-Client-ID": "page"}
    publish = {"method": "POST", "headers": headers, "body": '{"message": "hello"}'}
    first = fetch(page, f"{server.url}/publish/site", **publish, credentials="include")
    again = fetch(page, f"{server.url}/publish/site", **publish)
    assert (first[0], again[0], again[2]["idempotency-replayed"]) == (200, 200, "true")
    polled = {"headers": {"Last-Event-ID": "0", "Prefer": "wait=0"}}
    status, _, found, body = fetch(page, f"{server.url}/subscribe/site", **polled)
    (event,) = server.events("site")
    assert (status, found["last-event-id"]) == (200, str(event["id"]))
    assert found["preference-applied"] == "wait=0"
    assert '"message":"hello"' in body
    assert fetch(page, f"{server.url}/nowhere", headers=headers)[0] == 404
    assert fetch(page, f"{server.url}/channels/site", method="DELETE")[0] == 204
    assert server.events("site") == []
    # Asked once, and remembered.
    asked = [("OPTIONS", 204, origin, "cross-site"), *[("POST", 200, origin, "cross-site")] * 2]
    assert server.heard("/publish/site") == asked


def test_a_page_that_is_not_listed_neither_publishes_nor_reads(server, theirs, open_page):
    server.publish("secret", "nobody else's")
    page = open_page(theirs)
    publish = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": '{"message": "evil"}'}
    assert fetch(page, f"{server.url}/publish/secret", **publish) is None
    for path in ("/subscribe/secret", "/channels/secret/events", "/channels", "/", "/nowhere"):
        assert fetch(page, server.url + path) is None
        assert fetch(page, server.url + path, mode="no-cors") is None
    assert fetch(page, f"{server.url}/channels/secret", method="DELETE") is None
    assert [event["message"] for event in server.events("secret")] == ["nobody else's"]
    # Its publish was not even sent: it was asked for first.
    assert server.heard("/publish/secret") == [("OPTIONS", 200, theirs, "same-site")]
    assert server.heard("/channels/secret") == [("OPTIONS", 200, theirs, "same-site")]


def test_what_needs_no_asking_stores_nothing_for_it(server, theirs, open_page):
    """A form, and what a script may send without a word to the server before."""
    server.publish("posted", "nobody else's")
    page = open_page(theirs)
    url = f"{server.url}/publish/posted"
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        options = {"method": "POST", "headers": {"Content-Type": kind}, "body": "message=evil"}
        assert fetch(page, url, **options) is None
        assert fetch(page, url, **options, mode="no-cors") is None
        page.evaluate("([url, body]) => navigator.sendBeacon(url, body)", [url, "evil"])
        with page.expect_navigation(url=url) as answer:
            page.evaluate(
                """([url, kind]) => {
                    document.body.innerHTML = `<form method=post action=${url} enctype=${kind}><input name=message>`
                    document.forms[0].message.value = "evil"
                    document.forms[0].submit()
                }""",
                [url, kind],
            )
        assert answer.value.status == 403
        page.goto(theirs)
    assert [event["message"] for event in server.events("posted")] == ["nobody else's"]
    assert server.heard("/publish/posted") == [("POST", 403, theirs, "same-site")] * 8


def test_a_page_without_an_origin_stores_nothing(server, ours, open_page):
    """A sandboxed frame's origin is null, whoever's page it is in."""
    page = open_page(ours)
    # To who asked, an answer that is not for him is a failure.
    with page.expect_event("requestfailed", lambda request: request.url == f"{server.url}/publish/null"):
        page.evaluate(
            """(url) => {
                const frame = document.createElement("iframe")
                frame.sandbox = "allow-scripts"
                frame.srcdoc = `<script>fetch("${url}", {method: "POST", body: "evil"})</scr` + "ipt>"
                document.body.append(frame)
            }""",
            f"{server.url}/publish/null",
        )
    assert server.heard("/publish/null") == [("POST", 403, "null", "cross-site")]
    assert server.events("null") == []


def test_an_answer_is_neither_a_script_nor_in_a_frame_nor_in_a_picture(server, theirs, open_page):
    server.publish("embedded", "<script>parent.found = 1</script>")
    page = open_page(theirs)
    url = f"{server.url}/channels/embedded/events"
    loaded = """([kind, url]) => new Promise((tell) => {
        const element = Object.assign(document.createElement(kind), {src: url})
        element.onload = () => tell("loaded")
        element.onerror = () => tell("refused")
        document.body.append(element)
    })"""
    assert page.evaluate(loaded, ["script", url]) == "refused"
    assert page.evaluate(loaded, ["img", url]) == "refused"
    page.evaluate(loaded, ["iframe", url])
    assert page.frames[1].url.startswith("chrome-error:")


def test_a_page_whose_name_was_rebound_reads_nothing(server, open_page):
    """Its name leads to this machine now, so that the browser takes the server for its own."""
    server.publish("rebound", "nobody else's")
    origin = f"http://rebound.example:{server.port}"
    # What its own server sent before its name was led here is not bound by the policy of ours, which this page is from.
    page = open_page(origin, bypass_csp=True)
    assert page.evaluate("location.origin") == origin
    for path in ("/subscribe/rebound", "/channels", "/channels/rebound/events"):
        status, _, _, body = fetch(page, path)
        assert status == 421
        assert "nobody else's" not in body
    publish = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": '{"message": "evil"}'}
    assert fetch(page, "/publish/rebound", **publish)[0] == 421
    assert fetch(page, f"{server.url}/channels/rebound/events") is None
    assert [event["message"] for event in server.events("rebound")] == ["nobody else's"]
    # Nothing betrays it but the name: without TLS only a server of this machine is told Sec-Fetch-Site. (What is a 421
    # is asked once more, on another connection.)
    assert set(server.heard("/publish/rebound")) == {("POST", 421, origin, None)}
