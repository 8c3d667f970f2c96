"""Which sockets are open to others than this machine, and that none of them is served without a key."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.access import exposure
from app.config import Settings
from app.errors import SettingsError
from tests.support.app import problem, serving
from tests.support.tokens import SECRET, all_rights, bearer

KEYS = [{"jwt_secret": SECRET}, {"jwt_public_key": "a key"}, {"jwks_url": "https://example.com/keys"}]


@contextlib.contextmanager
def bound(address: str) -> Iterator[socket.socket]:
    """A socket that is really bound; to an IPv6 address one that takes IPv4 too."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        if ":" in address:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, 0))
        yield listener


def own_addresses() -> list[str]:
    """Those at which other machines reach this one, if it has any."""
    found = set()
    for family, name in ((socket.AF_INET, "192.0.2.9"), (socket.AF_INET6, "2001:db8::9")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.connect((name, 9))  # nothing is sent: the system says from where it would be
            found.add(probe.getsockname()[0])
    return sorted(found)


def check_where_there_is_one(address: str, settings: Settings) -> None:
    try:
        with bound(address) as listener, bound("127.0.0.1") as local:
            exposure.check(settings, [local, listener])
    except OSError:
        if "CI" in os.environ:
            raise
        pytest.skip("this machine has no such address")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0", *own_addresses()])
def test_an_address_that_others_reach_is_refused_without_a_key(address: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_where_there_is_one(address, Settings())
    assert f"[{address}]:" in str(refused.value) if ":" in address else f"{address}:" in str(refused.value)
    for variable in ("BIDE_JWT_SECRET", "BIDE_JWT_PUBLIC_KEY", "BIDE_JWKS_URL", "BIDE_INSECURE=1"):
        assert variable in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
def test_an_address_that_only_this_machine_reaches_is_served(address: str) -> None:
    check_where_there_is_one(address, Settings())


@pytest.mark.parametrize("given", [*KEYS, {"insecure": True}], ids=lambda given: next(iter(given)))
def test_with_a_key_or_where_anyone_may_come_every_address_is_served(given: dict[str, str]) -> None:
    for address in ("0.0.0.0", "::"):
        check_where_there_is_one(address, Settings(**given))


def test_where_anyone_may_come_the_log_says_so_and_elsewhere_nothing(caplog: pytest.LogCaptureFixture) -> None:
    check_where_there_is_one("0.0.0.0", Settings(insecure=True))
    assert "publishes and reads everything (BIDE_INSECURE=1)" in caplog.text
    caplog.clear()
    check_where_there_is_one("127.0.0.1", Settings(insecure=True))
    check_where_there_is_one("0.0.0.0", Settings(insecure=True, jwt_secret="s" * 32))
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["{}/bide.sock", "\0bide-of-a-test-{}"])
def test_a_unix_socket_is_of_this_machine(tmp_path: Path, name: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name.format(tmp_path)[-100:])
        exposure.check(Settings(), [listener])


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.255.255.254", True),
        ("128.0.0.1", False),
        ("10.0.0.5", False),
        ("169.254.1.1", False),
        ("192.168.1.1", False),
        ("fe80::1%eth0", False),
        ("fd00::2", False),
        ("::2", False),
        ("::ffff:10.0.0.5", False),
        ("::ffff:7f00:1", True),
        ("::127.0.0.1", False),
    ],
)
def test_only_loopback_is_local(address: str, is_local: bool) -> None:
    assert exposure.is_local(address) is is_local


def test_where_no_sockets_are_seen_the_rule_for_hosts_holds() -> None:
    """Behind another server than gunicorn's, or in an application that embeds the server."""
    with serving(host="0.0.0.0") as app:
        client = app.test_client()
        assert client.get("/channels").status_code == 200
        answer = client.get("/channels", headers={"Host": "bide.example"})
        assert answer.status_code == 421
        assert "BIDE_INSECURE=1" in problem(answer)["detail"]
    with serving(host="0.0.0.0", jwt_secret=SECRET) as app:
        client = app.test_client()
        assert client.get("/channels", headers={"Host": "bide.example"}).status_code == 401
        assert client.get("/channels", headers={"Host": "bide.example", **bearer(all_rights())}).status_code == 200
