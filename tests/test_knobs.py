"""From text to value, parser by parser: what each takes, and the words in which it says what would do.

The words follow on `VARIABLE='text' cannot be used: give`. What is secret is shown nowhere.
"""

import ipaddress

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app import knobs
from app.config import Settings
from app.errors import SettingsError
from tests.support.app import law
from tests.support.signing import SECRET

A_RATE = "a rate such as 100/second, or per minute, hour or day"
AN_ADDRESS = "an IP address and a port, such as 127.0.0.1:8001 or [::1]:8001"
ORIGINS = (
    "origins as browsers send them, separated by spaces, such as https://example.com http://localhost:3000 "
    "(in lower case, without a path, without the port that the scheme has by itself)"
)
NETWORKS = "addresses and networks such as 10.0.0.5 192.168.1.0/24, separated by spaces"
A_SECRET = "at least 32 bytes that nobody can guess, such as `openssl rand -base64 32` prints"
A_URL = "an https:// URL without user and password (http:// for localhost alone)"

#: Parser, what it is given, and the value.
TAKEN = [
    (knobs.integer(1, 10), [("1", 1), ("10", 10), ("007", 7)]),
    (knobs.seconds(0, 10), [("0", 0), ("0.5", 0.5), (".5", 0.5), ("10.0", 10)]),
    (knobs.flag, [("1", True), ("0", False), ("", False)]),
    (
        knobs.origins,
        [("", frozenset()), ("https://a http://b:81,https://c", {"https://a", "http://b:81", "https://c"})],
    ),
    (knobs.address, [("127.0.0.1:80", ("127.0.0.1", 80)), ("[0::1]:80", ("::1", 80))]),
    (
        knobs.rate,
        [("1/second", (1, 1)), ("100/minute", (100, 60)), ("5/hour", (5, 3600)), ("1000000000/day", (10**9, 86400))],
    ),
    (knobs.optional_rate, [("off", None), ("", None), ("7/second", (7, 1))]),
    (knobs.networks, [("", ()), ("10.0.0.5, ::/8", (ipaddress.ip_network("10.0.0.5"), ipaddress.ip_network("::/8")))]),
    (knobs.given, [("x", "x"), ("-----BEGIN", "-----BEGIN")]),
    (knobs.secret, [(SECRET, SECRET), ("x" * 32, "x" * 32), ("é" * 16, "é" * 16)]),
    (
        knobs.keys_url,
        [(text, text) for text in ("https://a.example/jwks?x=1", "https://[2001:db8::1]:8443/", "http://localhost:81/")]
        + [(text, text) for text in ("http://127.0.0.1/k", "http://[::1]:8080/k", "HTTPS://a")],
    ),
]

#: Parser, what it does not take, and how it says so.
REFUSED = [
    (
        knobs.integer(1, 10),
        ["", "0", "11", "-1", "+1", "1.0", "1e1", " 1", "\u0661", "1_0", "9" * 5000],
        "a whole number from 1 to 10",
    ),
    (
        knobs.seconds(0.5, 10),
        ["", ".", "0", "10.1", "-1", "1e1", "nan", "inf", "1.5.1", "\u0661", "9" * 5000],
        "seconds from 0.5 to 10",
    ),
    (knobs.flag, ["2", "yes", "true", "on", "\u0661"], "1 or 0"),
    (
        knobs.origins,
        ["*", "a.example", "ftp://a", "https://", "https://a/", "https://*.a", "null", "https://a b"],
        ORIGINS,
    ),
    (
        knobs.address,
        ["", "80", ":80", "localhost:80", "::1:80", "[127.0.0.1]:80", "1.2.3.4:0", "1.2.3.4:65536"],
        AN_ADDRESS,
    ),
    (
        knobs.rate,
        ["", "1", "/second", "1/", "0/second", "-1/second", "1.5/second", "1/week", "1/Second", "1 /second"],
        A_RATE,
    ),
    (
        knobs.rate,
        ["1000000001/day", "10000000000000/day", "1" + "0" * 5000 + "/day", "\u0661/day", "off", "1/day/day"],
        A_RATE,
    ),
    (knobs.optional_rate, ["0", "none", "Off"], A_RATE),
    (knobs.networks, ["10.0.0.1/8", "example.com", "10.0.0", "10.0.0.0/33", "5", "*"], NETWORKS),
    (knobs.given, [""], "a value, or leave the variable out"),
    (knobs.secret, ["", "x" * 31, "é" * 15, "x" * 40 + "\udcff"], A_SECRET),
    (knobs.secret, ["/" * 32 + __file__], "what is in that file, not its path"),
    (
        knobs.keys_url,
        ["", "a.example", "http://a.example/", "ftp://localhost/", "https://", "https:///k", "//a/k"],
        A_URL,
    ),
    (knobs.keys_url, ["https://u:p@a/", "https://u@a/", "https://a:x/", "https://a:99999/", "https://a:0/"], A_URL),
    (knobs.keys_url, ["http://localhost.evil.example/", "http://127.0.0.1@evil.example/", "http://127.0.0.2/"], A_URL),
    (knobs.keys_url, ["https://a/ b", "https://a/\nb", "https://[::1", "https://é/", "file:///etc/passwd"], A_URL),
]


@pytest.mark.parametrize(("parse", "text", "value"), [(parse, *pair) for parse, pairs in TAKEN for pair in pairs])
def test_what_a_knob_takes(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "told"), [(parse, text, told) for parse, texts, told in REFUSED for text in texts]
)
def test_what_a_knob_does_not_take_and_what_it_says_then(parse, text, told):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is compared whole
        parse(text)
    assert str(caught.value) == told


@law
@given(st.sampled_from([parse for parse, _ in TAKEN]), st.text("0159./-:[]ehtps*@ \u0661\ud800", max_size=12))
def test_a_knob_takes_a_text_or_says_what_would_do_whatever_it_is_given(parse, text):
    told = None
    try:
        parse(text)
    except ValueError as error:
        told = str(error)  # and not in Python's own words
    assert told in {None, "seconds from 0 to 10", *(words for _, _, words in REFUSED)}


SECRETS = [
    ("BIDE_JWT_SECRET", "jwt_secret", "hunter2", "hunter2-hunter2-hunter2-hunter2-hunter2"),
    ("BIDE_JWT_PUBLIC_KEY", "jwt_public_key", "", "hunter2.pem"),
    ("BIDE_JWKS_URL", "jwks_url", "https://user:hunter2@a.example/", "https://a.example/?key=hunter2"),
    ("BIDE_STORE", "store", None, "redis://:hunter2@localhost/0"),
]


@pytest.mark.parametrize(("variable", "name", "bad", "good"), SECRETS)
def test_what_is_secret_is_shown_neither_in_an_error_nor_in_what_settings_look_like(variable, name, bad, good):
    settings = Settings.from_environment({variable: good})
    assert getattr(settings, name) == good
    assert "hunter2" not in f"{settings} {settings!r}"
    if bad is not None:
        with pytest.raises(SettingsError) as caught:
            Settings.from_environment({variable: bad})
        assert str(caught.value).startswith(f"{variable} cannot be used: give ")
        assert "hunter2" not in str(caught.value)


KEYS = {"BIDE_JWT_SECRET": SECRET, "BIDE_JWT_PUBLIC_KEY": "key.pem", "BIDE_JWKS_URL": "https://a.example/keys"}


def test_without_a_key_nobody_is_known():
    assert not Settings().has_key


@pytest.mark.parametrize("variable", KEYS)
def test_a_key_of_any_kind_is_one(variable):
    assert Settings.from_environment({variable: KEYS[variable]}).has_key


@pytest.mark.parametrize("left_out", [None, *KEYS])
def test_there_is_one_key_of_one_kind(left_out):
    """Of two, tokens of the weaker would be as good as those of the other."""
    environ = {variable: text for variable, text in KEYS.items() if variable != left_out}
    first, second, *_ = environ
    with pytest.raises(SettingsError, match=f"^{first} cannot be used beside {second}: give one key, of one kind$"):
        Settings.from_environment(environ)


@pytest.mark.parametrize("variable", KEYS)
def test_a_key_that_was_left_empty_is_no_server_for_anyone(variable):
    with pytest.raises(SettingsError, match=f"^{variable} cannot be used: give "):
        Settings.from_environment({variable: " "})


@pytest.mark.parametrize(("given", "missing"), [("CERT", "KEY"), ("KEY", "CERT")])
def test_tls_has_a_certificate_and_its_key(given, missing):
    with pytest.raises(SettingsError, match=f"BIDE_TLS_{given} cannot be used alone: give BIDE_TLS_{missing} too"):
        Settings.from_environment({f"BIDE_TLS_{given}": "file.pem"})
