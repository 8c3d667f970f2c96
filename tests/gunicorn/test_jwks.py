"""Keys of a provider that speaks TLS, in real workers: requests and gevent go together there, and nobody waits long
for a provider that does not come to an end."""

import json
import time

import pytest

from tests.support.provider import jwk, of_key, providing
from tests.support.servers import Server, await_that, make_certificate

KIND = "P-256"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def provider(certificate):
    with providing(jwk(KIND, kid="one"), tls=certificate) as provider:
        yield provider


def serving(folder, provider, certificate, gevent=False, **env):
    env = {"BIDE_JWKS_URL": provider.url, "REQUESTS_CA_BUNDLE": certificate[0]} | env
    env = {name: value for name, value in env.items() if value is not None}
    return Server(folder, inspected=True, gevent=gevent, env=env)


def ask(server, number=0, kid="one"):
    token = of_key(KIND, number, kid, sub=f"{time.monotonic()}")  # never one that is known
    return server.get("/channels/a/events", headers={"Authorization": f"Bearer {token}"})


def drip(handler):
    """A body that does not end, and never pauses for as long as a socket waits."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def drip_heads(handler):
    handler.send_response(200)
    handler.flush_headers()
    while True:
        handler.wfile.write(b"X-More: and more\r\n")
        time.sleep(0.1)


def say_nothing(handler):
    time.sleep(3)


@pytest.mark.parametrize("gevent", [False, True], ids=["bide", "gevent"])
def test_a_provider_that_comes_to_no_end_keeps_nobody_out(tmp_path, provider, certificate, gevent):
    """The server starts, others are served meanwhile, and tokens are good as soon as there are keys."""
    good = provider.answer
    provider.answer = drip
    with serving(tmp_path, provider, certificate, gevent, TEST_FETCH_SECONDS=0.5) as server:
        await_that(lambda: "within 0.5 seconds" in server.output())
        for answer in (drip, drip_heads, say_nothing):
            provider.answer = answer
            asked = provider.asked
            begun = time.monotonic()
            status, headers, body = ask(server)
            assert status == 503, body
            assert int(headers["Retry-After"]) >= 1
            assert json.loads(body)["type"] == "/problems/unavailable"
            assert time.monotonic() - begun < 5
            await_that(lambda asked=asked: provider.asked > asked)
            begun = time.monotonic()
            assert server.get("/healthz")[0] == 200
            assert time.monotonic() - begun < 5
        assert server.output().count("BIDE_JWKS_URL") == 1
        provider.answer = good
        await_that(lambda: ask(server)[0] == 200)
        assert ask(server, 1, "two")[0] == 401
        provider.tells(jwk(KIND, 1, kid="two"))
        await_that(lambda: ask(server, 1, "two")[0] == 200)
        assert ask(server)[0] == 401
        assert "Traceback" not in server.output()
        assert "whom" not in server.output()


def test_a_provider_whose_certificate_nobody_trusts_tells_no_keys(tmp_path, provider, certificate):
    with serving(tmp_path, provider, certificate, REQUESTS_CA_BUNDLE=None) as server:
        await_that(lambda: "no certificate that is trusted" in server.output())
        assert ask(server)[0] == 503
        assert provider.asked == 0


def test_a_provider_that_is_not_there_does_not_stop_the_start(tmp_path, certificate):
    with providing(tls=certificate) as provider:
        pass
    with serving(tmp_path, provider, certificate) as server:
        await_that(lambda: "cannot be reached" in server.output())
        assert ask(server)[0] == 503
        assert server.get("/readyz")[0] == 200
