"""Keys of a provider: rotation, a provider that is away or lies, and tokens that name keys which nobody knows.

The provider is a real HTTP server. What takes a real worker, TLS and providers that never end, is in tests/gunicorn.
"""

import contextlib
import gzip
import json
from unittest import mock

import gevent
import pytest

from app.access import jwks
from app.errors import Unauthorized, Unavailable
from tests.support.app import problem, serving, wait_until
from tests.support.provider import jwk, of_key, providing
from tests.support.signing import ask, claims, private, refused, segment, signed

RSA, EC, ED = "RSA 2048", "P-256", "Ed25519"


@pytest.fixture
def provider():
    with providing(jwk(EC, kid="one")) as provider:
        yield provider


@pytest.fixture
def client(provider):
    with serving(jwks_url=provider.url) as app:
        yield app.test_client()


@pytest.fixture
def eager():
    """A token that names an unknown key has the keys fetched however often."""
    with mock.patch.object(jwks, "EARLY_SECONDS", 0):
        yield


@contextlib.contextmanager
def knowing(provider, *entries):
    """The server's own end, which knows these keys of the provider already."""
    provider.tells(*entries)
    known = jwks.Provider(provider.url)
    known.fetch()
    yield known


def unavailable(answer):
    """A 503 that says when to come again, and nothing of a token that would be no good."""
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "WWW-Authenticate" not in answer.headers
    assert problem(answer)["type"] == "/problems/unavailable"


# -- rotation


@pytest.mark.parametrize("kind", [RSA, EC, ED])
def test_a_token_of_a_key_that_the_provider_tells_is_good(provider, client, kind):
    provider.tells(jwk(kind, kid="it"), jwk(RSA, 1, kid="another"))
    for number in range(3):
        assert ask(client, of_key(kind, kid="it", sub=f"subject-{number}")).status_code == 200
    assert provider.asked == 1


def test_a_new_key_is_good_at_the_next_request(provider, client, eager):
    assert ask(client, of_key(EC, kid="one")).status_code == 200
    provider.tells(jwk(EC, kid="one"), jwk(EC, 1, kid="two"))
    assert ask(client, of_key(EC, 1, kid="two")).status_code == 200
    assert ask(client, of_key(EC, kid="one")).status_code == 200
    assert provider.asked == 2


def test_with_an_old_key_go_its_tokens_that_were_known_already(provider, caplog):
    provider.tells(jwk(EC, kid="one"), jwk(EC, 1, kid="two"))
    with serving(jwks_url=provider.url) as app, mock.patch.object(jwks, "REFRESH_SECONDS", 0.01):
        client = app.test_client()
        one, two = of_key(EC, kid="one"), of_key(EC, 1, kid="two")
        assert ask(client, one).status_code == ask(client, two).status_code == 200
        provider.tells(jwk(EC, 1, kid="two"))
        asked = provider.asked
        wait_until(lambda: provider.asked > asked + 1, "two rounds in the background")
        assert "kid" in refused(client, one, caplog)
        assert ask(client, two).status_code == 200


def test_a_key_that_took_the_name_of_another_takes_its_place(provider, eager):
    with knowing(provider, jwk(EC, kid="it")) as known:
        lost = mock.Mock()
        known.on_loss = lost
        provider.tells(jwk(EC, 1, kid="it"))
        known.fetch()
        lost.assert_called_once_with()
        assert known.find("it", "ES256").key == private(EC, 1).public_key()


def test_nothing_is_lost_where_keys_come_or_stay(provider):
    with knowing(provider, jwk(EC, kid="one")) as known:
        known.on_loss = mock.Mock()
        known.fetch()
        provider.tells(jwk(RSA, kid="first"), jwk(EC, kid="one"))
        known.fetch()
        provider.says(b"no keys")
        known.fetch()
        known.on_loss.assert_not_called()


def test_the_keys_are_fetched_again_and_again_in_a_server_that_serves(provider):
    with serving(jwks_url=provider.url), mock.patch.object(jwks, "REFRESH_SECONDS", 0.001):
        assert provider.asked == 0  # an app that was only made asks nobody
        wait_until(lambda: provider.asked >= 3, "three rounds")
    asked = provider.asked
    gevent.sleep(0.02)
    assert provider.asked == asked


# -- a provider that is away, or lies

LIES = {
    "html": b"<!doctype html><title>Sign in</title>",
    "nothing": b"",
    "no object": b"[]",
    "no keys": b"{}",
    "null": b"null",
    "keys that are none": b'{"keys": [null, 1, "x", [], {}]}',
    "no list": b'{"keys": {"kid": "one"}}',
    "an empty set": b'{"keys": []}',
    "no utf-8": b'{"keys": "\xff"}',
    "very deep": b'{"keys":' + b"[" * 100_000,
    "too many": json.dumps({"keys": [jwk(EC, kid="one")] * 101}).encode(),
    "compressed": gzip.compress(json.dumps({"keys": [jwk(EC, 1, kid="two")]}).encode()),
    "shared secrets": json.dumps({"keys": [{"kty": "oct", "k": segment(b"x" * 32), "kid": "one"}]}).encode(),
}
TROUBLE = {name: (lambda provider, body=body: provider.says(body)) for name, body in LIES.items()} | {
    "error 500": lambda provider: provider.says(b'{"keys": []}', 500),
    "error 404": lambda provider: provider.says(b"", 404),
    "204": lambda provider: provider.says(b"", 204),
    "more than a mebibyte": lambda provider: provider.says(b" " * jwks.MAX_BYTES + b'{"keys": []}'),
    "no http": lambda provider: setattr(provider, "answer", lambda handler: handler.wfile.write(b"\x15\x03\x01\0")),
    "no answer": lambda provider: setattr(provider, "answer", lambda handler: handler.connection.close()),
    "cut": lambda provider: setattr(provider, "answer", cut),
}


def cut(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"keys": [')
    handler.close_connection = True


@pytest.mark.parametrize("name", TROUBLE)
def test_the_keys_stay_good_whatever_becomes_of_the_provider(provider, eager, caplog, name):
    """It is told once when it goes and once when it is back, however often it was tried."""
    one = jwk(EC, kid="one")
    with knowing(provider, one) as known:
        assert not caplog.records
        key = known.find("one", "ES256")
        TROUBLE[name](provider)
        for _ in range(3):
            known.fetch()
            assert known.find("one", "ES256") is key
            with pytest.raises(Unavailable):  # it may be a key that the provider has now
                known.find("two", "ES256")
        assert provider.asked == 7
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        provider.tells(one)
        known.fetch()
        known.fetch()
        assert known.find("one", "ES256") == key
        with pytest.raises(Unauthorized):
            known.find("two", "ES256")
    gone, back = (record.getMessage() for record in caplog.records)
    assert gone.startswith("BIDE_JWKS_URL: the provider ")
    assert "1 keys are known meanwhile" in gone
    assert back == "BIDE_JWKS_URL: the keys were fetched, 1 of them can be used"
    for told in (provider.url, "whom", one["x"], "Sign in", "Traceback"):
        assert told not in caplog.text


def test_a_provider_that_is_gone_altogether(caplog):
    with providing() as provider, knowing(provider, jwk(EC, kid="one")) as known:
        pass
    known.fetch()
    assert known.find("one", "ES256")
    assert "cannot be reached" in caplog.text
    assert "localhost" not in caplog.text


def test_before_there_are_keys_a_token_is_neither_good_nor_bad(provider, client, eager, caplog):
    provider.says(b"", 500)
    for token in (of_key(EC, kid="one"), of_key(EC), of_key(RSA, kid="two"), of_key(EC, kid="one", exp=1)):
        unavailable(ask(client, token))
    assert client.get("/healthz").status_code == 200
    provider.tells(jwk(EC, kid="one"))
    assert ask(client, of_key(EC, kid="one")).status_code == 200
    assert len(caplog.records) == 2


def test_whatever_goes_wrong_with_a_fetch_the_next_one_is_made(provider, client, eager, capfd):
    with mock.patch.object(jwks, "read", side_effect=ZeroDivisionError):
        unavailable(ask(client, of_key(EC, kid="one")))
        unavailable(ask(client, of_key(EC, kid="one")))
    assert ask(client, of_key(EC, kid="one")).status_code == 200
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_what_can_be_no_token_whatever_the_keys_are_is_refused_without_them(provider, client, caplog):
    assert client.get("/channels/a/events").status_code == 401
    refused(client, "x.y.z", caplog)
    for algorithm in ("none", "HS256", "RS512", "PS256", ["ES256"], None):
        refused(client, signed({"alg": algorithm, "kid": "one"}, claims()), caplog)
    assert provider.asked == 0


def test_the_provider_is_asked_for_what_is_read_here(provider):
    """Not compressed: a mebibyte of that would be a gigabyte."""
    heads = []
    provider.answer = lambda handler: heads.append(handler.headers)
    jwks.Provider(provider.url).fetch()
    assert heads[0]["Accept-Encoding"] == "identity"
    assert heads[0]["Accept"].startswith("application/jwk-set+json")
    assert "Authorization" not in heads[0]


def test_no_redirect_is_followed(provider, caplog):
    with providing(jwk(EC, kid="one")) as other:
        provider.says(b"", 302, Location=other.url)
        known = jwks.Provider(provider.url)
        known.fetch()
        assert other.asked == 0
    assert "answers 302" in caplog.text


def test_what_never_ends_is_read_up_to_its_bound(provider, caplog):
    sent = 0

    def pour(handler):
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        while sent < 500 * 1024 * 1024:
            sent += handler.wfile.write(b" " * 65536)

    provider.answer = pour
    jwks.Provider(provider.url).fetch()
    assert "more than 1,048,576 bytes" in caplog.text
    assert sent < 20 * 1024 * 1024  # what the sockets hold as well


def test_this_machine_is_asked_without_a_proxy(provider, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with knowing(provider, jwk(EC, kid="one")) as known:
        assert known.find("one", "ES256")


# -- keys that nobody knows


def test_names_that_somebody_thought_up_do_not_reach_the_provider_each(provider, client):
    assert ask(client, of_key(EC, kid="one")).status_code == 200
    for number in range(50):
        assert ask(client, of_key(EC, 1, kid=f"thought up {number}")).status_code == 401
    assert provider.asked == 1
    with mock.patch.object(jwks.time, "monotonic", return_value=jwks.time.monotonic() + jwks.EARLY_SECONDS):
        for number in range(50):
            assert ask(client, of_key(EC, 1, kid=f"thought up {number}")).status_code == 401
    assert provider.asked == 2


def test_a_provider_that_is_away_is_not_tried_for_each_token(provider, client):
    provider.says(b"", 500)
    for number in range(20):
        unavailable(ask(client, of_key(EC, kid=f"{number}")))
    assert provider.asked == 1


def test_those_who_come_together_share_one_fetch():
    """And one whose request is ended does not end it for the others."""
    begun, may_end = gevent.event.Event(), gevent.event.Event()
    fetches = []

    def download(url):
        fetches.append(url)
        begun.set()
        may_end.wait()
        return json.dumps({"keys": [jwk(EC, kid="one")]}).encode()

    with mock.patch.object(jwks, "download", download):
        known = jwks.Provider("https://provider.example/")
        asking = [gevent.spawn(known.find, "one", "ES256") for _ in range(20)]
        begun.wait(1)
        asking.pop(0).kill()
        asking.append(gevent.spawn(known.find, "one", "ES256"))
        gevent.sleep(0)
        may_end.set()
        assert {greenlet.get(timeout=1).algorithm for greenlet in asking} == {"ES256"}
    assert len(fetches) == 1
