"""Which names a channel may have, and that every spelling of one in a URL is the same name."""

import pytest

from .client import assert_problem, assert_published, fresh
from .oddities import NOT_NAMES, label


@pytest.mark.parametrize(
    "make",
    [
        lambda: fresh(".a"),
        lambda: fresh("..")[:-1] + "~",
        lambda: fresh("@user:1_2.3~4-5"),
        lambda: fresh("-"),
        lambda: fresh("@bide"),
        lambda: fresh("bide."),
        lambda: fresh("x").ljust(128, "y"),
        lambda: fresh("0").upper(),
    ],
)
def test_a_channel_may_be_named_with_any_allowed_character(bide, make):
    name = make()
    assert_published(bide.exact("POST", f"/publish/{name}", "Content-Type: text/plain", body=b"x"), name)


@pytest.mark.parametrize("name", ["a", "Z", "0", "_", "-", "~", ":", "@", "x" * 128])
def test_a_name_has_from_1_to_128_characters(bide, name):
    assert_published(bide.exact("POST", f"/publish/{name}", "Content-Type: text/plain", body=b"x"), name)


@pytest.mark.parametrize("name", [*NOT_NAMES, "a,b", ",", "a,"], ids=label)
def test_a_publish_to_what_is_no_name_is_refused(bide, name):
    answer = bide.exact("POST", f"/publish/{name}", "Content-Type: text/plain", body=b"x")
    assert_problem(answer, 400, param="channel")


@pytest.mark.parametrize("name", [".", "..", "%2E", "%2e%2E"])
def test_a_name_of_dots_is_refused_and_not_taken_for_a_path(bide, name):
    answer = bide.exact("POST", f"/publish/{name}", "Content-Type: text/plain", body=b"x")
    assert_problem(answer, 400, param="channel")


@pytest.mark.direct
@pytest.mark.parametrize("name", ["a%00", "%00"])
def test_a_name_with_a_zero_byte_is_refused(bide, name):
    answer = bide.exact("POST", f"/publish/{name}", "Content-Type: text/plain", body=b"x")
    assert_problem(answer, 400, param="channel")


@pytest.mark.parametrize("path", ["/publish/a%2Fb", "/publish/a/b", "/publish/a/", "/publish/"])
def test_a_slash_is_in_no_name(bide, path):
    answer = bide.exact("POST", path, "Content-Type: text/plain", body=b"x")
    assert answer.status_code in (400, 404)
    assert_problem(answer, answer.status_code)


def test_a_percent_encoded_name_is_the_same_name(bide):
    name = fresh("a.b:c@d~e")
    encoded = "".join(f"%{ord(each):02X}" for each in name)
    [event_id] = assert_published(
        bide.exact("POST", f"/publish/{encoded}", "Content-Type: text/plain", body=b"x"), name
    )
    assert bide.polled(name)["id"] == event_id
    assert bide.exact("GET", f"/subscribe/{encoded}?timeout=0").json()["id"] == event_id


def test_names_differ_by_case(bide, channel):
    bide.publish(channel + "a", "small")
    bide.publish(channel + "A", "large")
    assert bide.messages(channel + "a") == ["small"]
    assert bide.messages(channel + "A") == ["large"]


@pytest.mark.parametrize("name", ["@bide.events", "@bide.", "@bide.a.b"])
def test_nobody_publishes_to_the_servers_own_channels(bide, name):
    assert_problem(bide.publish_json(name, '{"message": 1}'), 403)


def test_the_servers_own_channels_may_be_read(bide):
    assert bide.polled("@bide." + fresh(), last_event_id="latest")["status"] == "timeout"
