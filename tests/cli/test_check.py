"""`bide check`, the canary: what is between a client and its server, one fault at a time, is seen and named."""

import json
import socket
import threading

import pytest
from click.testing import CliRunner

from app.cli import canary
from app.cli.check import check
from tests.support.http_proxy import HttpProxy
from tests.support.proxies import Proxy
from tests.support.servers import Server, make_certificate


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    monkeypatch.setattr(canary, "PARK_SECONDS", 0.05)


def run(*words, env=None):
    """Its exit code, and what it printed."""
    clean = dict.fromkeys(("BIDE_URL", "BIDE_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"))
    result = CliRunner().invoke(check, words, env=clean | (env or {}))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


def found(url, *words, env=None):
    """Its exit code, and what it found, by name."""
    code, text = run("--json", *words, url, env=env)
    told = json.loads(text.splitlines()[-1])
    assert told["ok"] is (code == 0)
    names = [finding["name"] for finding in told["findings"]]
    assert len(set(names)) == len(names)
    return code, {finding["name"]: finding for finding in told["findings"]}


def through(server, *words, **faults):
    """What is found through a proxy that has these faults."""
    with HttpProxy(server.address, **faults) as proxy:
        return found(proxy.url, *words)


def levels(findings):
    return {name: finding["level"] for name, finding in findings.items() if finding["level"] != "ok"}


def channels(server):
    return json.loads(server.get("/channels")[2])["channels"]


def test_all_is_well_with_a_server_of_its_own(server):
    code, text = run(server.url)
    assert code == 0, text
    lines = text.splitlines()
    assert {line.split()[0] for line in lines} == {"ok"}
    # In columns, and without colours where nobody sees them.
    assert {(line[5], line[17], line[18] != " ") for line in lines} == {(" ", " ", True)}
    assert "\x1b" not in text
    names = ["server", "way", "alive", "ready", "poll", "publish", "catch-up", "clock", "repeat", "cursor", "delivery"]
    assert [line.split()[1] for line in lines] == [*names, "headers", "connection"]


def test_figures_are_there_for_programs(server):
    code, findings = found(server.url)
    assert code == 0
    assert 0 < findings["server"]["connect_seconds"] < 1
    assert findings["way"]["headers"] == {"Server": "gunicorn"}
    assert findings["way"]["http"] == 1.1
    assert 0 < findings["delivery"]["seconds"] < 1
    assert abs(findings["clock"]["skew_seconds"]) < 5
    assert findings["connection"]["connections"] == 1


def test_the_url_may_come_from_the_environment(server):
    assert run(env={"BIDE_URL": server.url})[0] == 0


def test_nothing_is_left_of_a_channel_that_it_made_up(server):
    assert run(server.url)[0] == 0
    assert [entry["events"] for entry in channels(server) if entry["channel"].startswith("bide-check.")] != []
    assert all(entry["events"] == 0 for entry in channels(server) if entry["channel"].startswith("bide-check."))


def test_a_channel_that_was_named_keeps_what_is_in_it(server):
    # More than a poll brings, so that it has to begin at the end.
    before = server.publish_all("monitor", range(150))
    for _ in range(2):
        assert run(server.url, "--channel", "monitor")[0] == 0
    ids = [event["id"] for event in server.events("monitor")]
    assert ids[:150] == before
    assert len(ids) == 154


def test_all_is_well_behind_nginx(tmp_path):
    with (
        Server(tmp_path / "server", env={"BIDE_INSECURE": 1}, workers=2) as server,
        Proxy(tmp_path / "proxy", "{}:{}".format(*server.address)) as proxy,
    ):
        code, findings = found(proxy.url)
        assert (code, levels(findings)) == (0, {})
        assert findings["way"]["headers"]["Server"].startswith("nginx")


def test_a_server_that_refuses_what_is_forwarded_says_what_to_set(server, tmp_path):
    with Proxy(tmp_path / "proxy", "{}:{}".format(*server.address)) as proxy:
        code, findings = found(proxy.url)
    assert code == 1
    assert "421" in findings["poll"]["text"]
    assert "set a key (BIDE_JWT_SECRET), or BIDE_INSECURE=1" in findings["poll"]["text"]
    assert list(findings)[-1] == "poll"


def test_answers_that_are_held_back_are_late(server, monkeypatch):
    monkeypatch.setattr(canary, "LATE_SECONDS", 0.1)
    code, findings = through(server, delay=0.6)
    assert (code, levels(findings)) == (1, {"delivery": "fail"})
    assert "buffers" in findings["delivery"]["text"]


def test_a_poll_that_is_not_held_for_long_enough_to_hear_of_anything_is_told(server, monkeypatch):
    monkeypatch.setattr(canary, "PARK_SECONDS", 0.3)
    code, findings = through(server, idle=0.15)
    assert code == 1
    assert levels(findings) == {"delivery": "fail"}
    assert "closed the connection without an answer" in findings["delivery"]["text"]


def test_connections_that_are_closed_after_each_answer_are_a_warning(server):
    code, findings = through(server, closes=True)
    assert (code, levels(findings)) == (0, {"connection": "warn"})
    assert findings["connection"]["connections"] == findings["connection"]["requests"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("last-event-id", {"cursor": "fail", "headers": "fail"}),
        ("idempotency-key", {"repeat": "fail"}),
        ("idempotency-replayed", {"headers": "warn"}),
        ("cache-control", {"headers": "warn"}),
    ],
)
def test_a_header_that_is_lost_is_named(server, name, expected):
    code, findings = through(server, strips=[name])
    assert levels(findings) == expected
    assert code == int("fail" in expected.values())
    assert any(name in findings[each]["text"].lower() for each in expected)


def test_a_cache_is_seen(server):
    code, findings = through(server, caches=True)
    assert (code, levels(findings)) == (1, {"catch-up": "fail"})
    assert "caches" in findings["catch-up"]["text"]


def test_messages_that_are_changed_are_seen(server):
    code, findings = through(server, changes=("😀".encode(), b"?"))
    assert (code, levels(findings)) == (1, {"catch-up": "fail"})
    assert "changes it" in findings["catch-up"]["text"]


def test_bodies_that_are_eaten_are_told_from_bodies_that_are_wrong(server):
    code, findings = through(server, eats="up")
    assert (code, levels(findings)) == (1, {"publish": "fail"})
    assert "body is lost" in findings["publish"]["text"]
    code, findings = through(server, eats="down")
    assert (code, levels(findings)) == (1, {"server": "fail"})
    assert "takes the bodies of answers" in findings["server"]["text"]


PORTAL = (200, "text/html; charset=utf-8", b"<html><title>Hotel Seaview</title>")


def test_a_captive_portal_is_called_one(server):
    code, findings = through(server, pages={"/": PORTAL})
    assert (code, list(findings)) == (1, ["server"])
    assert "a web page “Hotel Seaview”" in findings["server"]["text"]


def test_health_that_is_not_shown_to_everybody_is_a_warning(server):
    code, findings = through(server, pages=dict.fromkeys(["/healthz", "/readyz"], (404, "text/html", b"")))
    assert (code, levels(findings)) == (0, {"alive": "warn", "ready": "warn"})


def test_another_server_is_not_taken_for_bide(server):
    code, findings = through(server, pages={"/": (200, "application/json", b'{"hello":"world"}')})
    assert (code, list(findings)) == (1, ["server"])
    assert "not Bide's" in findings["server"]["text"]


@pytest.mark.parametrize(
    ("path", "name", "right"), [("/publish", "publish", "publish"), ("/subscribe", "server", "poll")]
)
@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_allowed_learns_which_right_a_token_lacks(server, path, name, right, status):
    page = (status, "application/json", b'{"error":"no"}')
    code, findings = through(server, pages={path: page})
    assert (code, levels(findings)) == (1, {name: "fail"})
    assert f"a token that may {right} here: --token or BIDE_TOKEN" in findings[name]["text"]


def test_a_channel_that_may_not_be_deleted_is_left_behind_with_a_warning(server):
    page = (403, "application/json", b'{"error":"no"}')
    code, findings = through(server, pages={"/channels": page})
    assert (code, levels(findings)) == (0, {"clean-up": "warn"})


def test_the_token_goes_with_every_request(server):
    with HttpProxy(server.address) as proxy:
        assert found(proxy.url, "--token", "secret")[0] == 0
        assert found(proxy.url, env={"BIDE_TOKEN": "secret"})[0] == 0
        assert {headers["Authorization"] for _, _, headers in proxy.seen} == {"Bearer secret"}


def test_it_takes_the_way_that_the_environment_gives_and_says_so(server):
    with HttpProxy(server.address) as proxy:
        code, findings = found(
            server.url, env={"http_proxy": proxy.url.replace("//", "//me:secret@"), "no_proxy": "", "NO_PROXY": ""}
        )
        assert (code, levels(findings)) == (0, {})
        assert f"by the proxy {proxy.url.removeprefix('http://')} of this environment" in findings["way"]["text"]
        assert proxy.seen


def test_a_server_that_is_cut_amid_its_answer_is_one_sentence(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=half_an_answer, args=(listener,)).start()
        code, findings = found("http://{}:{}".format(*listener.getsockname()))
    assert (code, list(findings)) == (1, ["server"])
    assert "is cut before the end" in findings["server"]["text"]


def half_an_answer(listener):
    sock, _ = listener.accept()
    with sock:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def test_nobody_there_is_one_sentence():
    code, text = run("http://127.0.0.1:1")
    assert code == 1
    assert text == "fail  server      http://127.0.0.1:1 does not answer: Connection refused\n"


def test_trouble_with_tls_is_one_sentence(tmp_path, server):
    with Server(tmp_path, tls=make_certificate(tmp_path)) as secure:
        code, findings = found(secure.url)
        assert (code, list(findings)) == (1, ["server"])
        told = "its certificate is not trusted (self-signed certificate; REQUESTS_CA_BUNDLE names a file of those that "
        assert findings["server"]["text"] == f"{secure.url} does not answer: {told}are)"
    code, findings = found(server.url.replace("http", "https"))
    assert (code, list(findings)) == (1, ["server"])
    assert "begins with http://" in findings["server"]["text"]


def test_a_server_that_has_lost_its_store_is_not_well(tmp_path):
    with Server(tmp_path) as server:
        server.publish("news", 1)
        server.database.rename(tmp_path / "elsewhere")
        code, findings = found(server.url)
        assert code == 1
        assert "503" in findings["publish"]["text"]
        code, findings = found(server.url)
        assert code == 1
        assert findings["ready"]["level"] == "fail"
        assert "503" in findings["ready"]["text"]


@pytest.mark.parametrize(
    "words",
    [[], ["localhost:8000"], ["ftp://localhost"], ["http://"], ["http://h/?x"], ["http://h", "--channel", "a b"]],
)
def test_a_wrong_call_is_2(words):
    code, text = run(*words)
    assert code == 2
    assert "Traceback" not in text


@pytest.mark.parametrize("token", ["sec\nret", "s\u00e9cret"])
def test_a_token_that_there_cannot_be_is_refused_and_not_shown(server, token):
    result = CliRunner().invoke(check, [server.url], env={"BIDE_TOKEN": token})
    assert result.exit_code == 2
    assert "The token has characters that no token has" in result.output
    assert "cret" not in result.output
