"""BIDE_STORE=redis://…: passwords, databases, sockets, prefixes; what cannot be used is told without the password."""

import re
import time

import pytest

from app.errors import SettingsError, StoreUnavailable
from app.stores import open_store
from app.stores.base import Key
from tests.support.servers import ROOT

from .support import Ear, eventually, everything, messages, names, policy, put, sweep

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr3t@127.0.0.1:port/0",
        "redis://:s3cr3t@127.0.0.1:99999/0",
        "redis://:s3cr3t@127.0.0.1:0/0",
        "redis://:s3cr3t@[::1/0",
        "redis://:s3cr3t/more@127.0.0.1/0",
        "redis://:s3cr3t#more@127.0.0.1/0",
        "redis://:s3cr3t?more@127.0.0.1/0",
        "redis://:s3cr3t@127.0.0.1:1/first",
        "redis://:s3cr3t@127.0.0.1:1/0?db=first",
        "redis://:s3cr3t@127.0.0.1:1/0?colour=red",
        "redis://:s3cr3t@127.0.0.1:1/0?socket_timeout=soon",
        "redis://:s3cr3t@127.0.0.1:1/0?prefix=",
        "redis://:s3cr3t@127.0.0.1:1/0?prefix=a:b",
        "redis://:s3cr3t@127.0.0.1:1/0?prefix={a}",
        "redis://:s3cr3t@127.0.0.1:1/0?prefix=%C3%A9",
        "redis://:s3cr3t@127.0.0.1:1/0?prefix=a&prefix=b",
        "redis://:s3cr3t@127.0.0.1:1/0?db=-1",
        "redis://:s3cr3t@127.0.0.1:1/0?socket_timeout=0",
        "redis://:s3cr3t@127.0.0.1:1/0?socket_connect_timeout=-1",
        # What redis-py takes, and is not done, or would end in its depths.
        "redis://:s3cr3t@127.0.0.1:1/0?socket_keepalive=yes",
        "redis://:s3cr3t@127.0.0.1:1/0?retry_on_timeout=yes",
        "redis://:s3cr3t@127.0.0.1:1/0?health_check_interval=5",
        "redis://:s3cr3t@127.0.0.1:1/0?protocol=3",
        "redis://:s3cr3t@127.0.0.1:1/0?decode_responses=yes",
        "redis://:s3cr3t@127.0.0.1:1/0?encoding=utf-16",
        "redis://:s3cr3t@127.0.0.1:1/0?socket_read_size=0",
        "redis://:s3cr3t@127.0.0.1:1/0?credential_provider=s3cr3t",
        "redis://:s3cr3t@127.0.0.1:1/0?max_connections=5",
        "redis://:s3cr3t@127.0.0.1:1/0?wait_replicas=1",
        "redis://:s3cr3t@127.0.0.1:1/0?ssl_cert_reqs=none",
        "rediss://:s3cr3t@127.0.0.1:1/0?ssl_cert_reqs=perhaps",
        "unix:///",
        "unix://:s3cr3t@",
        "unix://s3cr3t",
        "unix://s3cr3t/path",
        "valkey://:s3cr3t@127.0.0.1:1/0",
        "redis:/:s3cr3t@127.0.0.1:1/0",
        "unix://",
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_its_password(url, caplog):
    with pytest.raises(SettingsError, match="BIDE_STORE") as raised:
        open_store(url)
    assert SECRET not in str(raised.value)
    assert SECRET not in caplog.text


class TestPassword:
    def test_it_is_given_in_the_url(self, own_server, joined):
        server = own_server_with_password(own_server)
        store = joined(server.url.replace("//", f"//:{SECRET}@"), ear=Ear())
        put(store, "a", 1)
        assert messages(everything(store, "a")) == [1]

    @pytest.mark.parametrize("given", ["", ":wr0ng@", "nobody:wr0ng@"])
    def test_a_wrong_one_and_none_are_told_and_shown_nowhere(self, own_server, joined, given, caplog):
        server = own_server_with_password(own_server)
        with pytest.raises(StoreUnavailable, match="refuses the password") as raised:
            joined(server.url.replace("//", f"//{given}"))
        assert raised.value.retry_after
        assert len(caplog.records) == 1
        for text in (str(raised.value), caplog.text):
            assert "wr0ng" not in text

    def test_what_a_user_may_not_do_is_told(self, own_server, joined, caplog):
        server = own_server()
        with server.client as client:
            client.execute_command("ACL", "SETUSER", "small", "on", f">{SECRET}", "~*", "&*", "+@all", "-info")
            with pytest.raises(StoreUnavailable):
                joined(server.url.replace("//", f"//small:{SECRET}@"))
        assert "info" in caplog.text
        assert SECRET not in caplog.text

    def test_what_a_user_may_not_announce_is_not_done_either(self, own_server, joined, caplog):
        """A user of Redis 7 may use no topic of Pub/Sub unless its rules say so."""
        server = own_server()
        keeper = joined(server.url)
        last = put(keeper, "a", 1).last_id
        with server.client as client:
            client.execute_command("ACL", "SETUSER", "small", "on", f">{SECRET}", "~{bide*", "+@all")
        store = joined(server.url.replace("//", f"//small:{SECRET}@"))
        for refused in (lambda: put(store, "a", 2), lambda: put(store, "b", 2), lambda: store.delete("a")):
            with pytest.raises(StoreUnavailable):
                refused()
        reading = everything(keeper, "a")
        assert (messages(reading), reading.head) == ([1], last)
        assert names(keeper) == ["a"]
        assert "PUBLISH" in caplog.text

    def test_a_user_who_may_not_subscribe_to_channels_is_told_of_and_does_not_connect_without_end(
        self, own_server, joined, caplog
    ):
        server = own_server()
        with server.client as client:
            client.execute_command("ACL", "SETUSER", "small", "on", f">{SECRET}", "~*", "+@all", "resetchannels")
            client.execute_command("ACL", "SETUSER", "small", "&{bide}:*")
            store = joined(server.url.replace("//", f"//small:{SECRET}@"), ear=Ear())
            everything(store, "a")
            eventually(lambda: "refuses" in caplog.text)
            before, begun = client.info("stats")["total_connections_received"], time.monotonic()
            put(joined(server.url), "a", 1)
            eventually(lambda: store.ear.messages() == [1])  # read every second, since nothing is heard
            made = client.info("stats")["total_connections_received"] - before
            assert made <= 2 * (time.monotonic() - begun) + 4
        assert caplog.text.count("refuses") == 1

    def test_a_user_with_the_rights_that_operations_md_names(self, own_server, joined, caplog):
        (rights,) = re.findall(r"`ACL SETUSER bide on >secret (.*)`", (ROOT / "docs/operations.md").read_text())
        server = own_server()
        with server.client as client:
            client.execute_command("ACL", "SETUSER", "bide", "on", f">{SECRET}", *rights.split())
        store = joined(server.url.replace("//", f"//bide:{SECRET}@"), policy(), ear=Ear())
        put(store, "a", 1, key=Key("s", "k", b"1"))
        assert messages(everything(store, "a")) == store.ear.messages() == [1]
        assert not store.ask({}).partial
        store.announce_control("noted", {})
        store.delete("a")
        sweep(store)
        store.check()
        assert names(store) == ["a"]
        assert caplog.records == []


def own_server_with_password(own_server):
    server = own_server()
    with server.client as client:
        client.config_set("requirepass", SECRET)
    return server


class TestPlaces:
    def test_a_socket_in_the_file_system(self, own_server, joined, tmp_path):
        own_server(unixsocket=tmp_path / "s")
        store = joined(f"unix://{tmp_path}/s?db=3&prefix=b", ear=Ear())
        put(store, "a", 1)
        assert store.ear.messages() == messages(everything(store, "a")) == [1]

    def test_a_database_by_number(self, server, new_url, joined):
        url = new_url().replace("/0?", "/5?")
        store = joined(url)
        put(store, "a", 1)
        with server.client as client:
            client.select(5)
            prefix = url.partition("prefix=")[2]
            assert client.exists(f"{{{prefix}:a}}:s")

    def test_a_database_that_is_not_there_is_told(self, new_url, joined, caplog):
        with pytest.raises(StoreUnavailable):
            joined(new_url().replace("/0?", "/99?"))
        assert "DB index" in caplog.text

    def test_options_of_the_connections(self, server, redis_url, joined):
        store = joined(f"{redis_url}&client_name=bide-7&socket_timeout=3&socket_connect_timeout=.5", ear=Ear())
        put(store, "a", "é")
        assert store.ear.messages() == messages(everything(store, "a")) == ["é"]
        with server.client as client:
            named = [about for about in client.client_list() if about["name"] == "bide-7"]
            # Both kinds; of those that ask there may be two, where something is asked beside.
            assert {int(about["sub"]) > 0 for about in named} == {True, False}


class TestApart:
    @pytest.fixture(params=["prefixes", "databases"])
    def apart(self, request, redis_url, joined):
        urls = redis_url, f"{redis_url}x" if request.param == "prefixes" else redis_url.replace("/0?", "/1?")
        return [joined(url, policy(events=events), ear=Ear()) for url, events in zip(urls, (5, 7), strict=True)]

    def test_they_share_nothing(self, apart):
        one, other = apart
        for store in apart:
            put(store, "a", 0)
            everything(store, "a")
        put(one, "a", 1)
        put(one, "b", 1)
        one.delete("b")
        one.announce_control("noted", {})
        assert len(one.ask({}).answers) == 1
        assert not one.ask({}).partial
        put(other, "a", 2)
        other.announce_control("own", {})
        # What one told came before what the other did.
        assert other.ear.messages("a") == messages(everything(other, "a")) == [0, 2]
        assert [kind for kind, _ in other.ear.controls] == ["own"]
        assert names(other) == ["a"]
        assert (one.policy.default.events, other.policy.default.events) == (5, 7)
        assert other._hearing.watches.rereads == 0
