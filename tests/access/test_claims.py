"""What a token's claims are to be: one that is not what it should be is refused, and says which."""

import time
from unittest import mock

import pytest

from app.access import tokens
from tests.support.app import serving
from tests.support.signing import ALL_OF_A, SECRET, ask, claims, minted, refused, signed

HS256 = {"alg": "HS256", "typ": "JWT"}
NOW = int(time.time())


@pytest.fixture(scope="module")
def client():
    with serving(jwt_secret=SECRET) as app:
        yield app.test_client()


@pytest.fixture(scope="module")
def particular():
    with serving(jwt_secret=SECRET, jwt_audience="bide", jwt_issuer="https://issuer.example/") as app:
        yield app.test_client()


BAD_CLAIMS = [
    ("exp", None, "exp"),
    ("exp", NOW - 6000, "expired"),
    ("exp", -1, "expired"),
    ("exp", 0, "expired"),
    ("exp", False, "expired"),
    ("exp", True, "expired"),
    ("exp", "x", ""),
    ("exp", "", ""),
    ("exp", str(NOW + 6000), "exp"),
    ("exp", [NOW + 6000], ""),
    ("exp", {}, ""),
    ("exp", float("nan"), ""),
    ("exp", float("inf"), ""),
    ("exp", float("-inf"), ""),
    ("exp", 10**400, "exp"),
    ("exp", -(10**400), ""),
    ("nbf", NOW + 6000, "not valid yet"),
    ("nbf", 10**400, ""),
    ("nbf", "x", ""),
    ("nbf", str(NOW), "nbf"),
    ("nbf", True, "nbf"),
    ("nbf", [], ""),
    ("nbf", float("nan"), ""),
    ("iat", NOW + 6000, "not valid yet"),
    ("iat", str(NOW), "iat"),
    ("iat", True, "iat"),
    ("iat", 10**400, ""),
    ("iat", -(10**400), "iat"),
    ("iat", float("inf"), ""),
    ("sub", None, "sub"),
    ("sub", "", "sub"),
    ("sub", "x" * 256, "sub"),
    ("sub", 7, ""),
    ("sub", ["ann"], ""),
    ("sub", True, ""),
    ("sub", "a\nb", "printable"),
    ("sub", "a\0", "printable"),
    ("sub", "\x1b[31m", "printable"),
    ("sub", "\ud800", "printable"),
    ("sub", "\u202eann", "printable"),
    ("jti", 7, ""),
    ("jti", ["x"], ""),
    ("aud", "elsewhere", "aud"),
    ("aud", ["bide"], "aud"),
    ("bide", "news", "bide"),
    ("bide", ["news"], "bide"),
    ("bide", 1, "bide"),
    ("bide", True, "bide"),
    ("bide", {"subscribe": "a*"}, "bide.subscribe"),
    ("bide", {"subscribe": None}, "bide.subscribe"),
    ("bide", {"subscribe": {"a*": 1}}, "bide.subscribe"),
    ("bide", {"publish": [1]}, "bide.publish"),
    ("bide", {"presence": [["a*"]]}, "bide.presence"),
    ("bide", {"admin": True}, "bide.admin"),
    ("bide", {"rate": "1/second"}, "bide.rate"),
    ("bide", {"rate": None}, "bide.rate"),
    ("bide", {"rate": {"publish": 1}}, "bide.rate.publish"),
    ("bide", {"rate": {"publish": None}}, "bide.rate.publish"),
    ("bide", {"rate": {"publish": "0/second"}}, "bide.rate.publish"),
    ("bide", {"rate": {"publish": "off"}}, "bide.rate.publish"),
    ("bide", {"rate": {"publish": "1" + "0" * 5000 + "/second"}}, "a rate such as"),
    ("bide", {"rate": {"subscribe": "1/fortnight"}}, "bide.rate.subscribe"),
    ("bide", {"rate": {"publsh": "1/second"}}, "bide.rate"),
]


@pytest.mark.parametrize(("claim", "value", "told"), BAD_CLAIMS, ids=range(len(BAD_CLAIMS)))
def test_a_claim_that_is_not_what_it_should_be_is_refused(client, caplog, claim, value, told):
    detail = refused(client, signed(HS256, claims(**{claim: value})), caplog)
    assert told in detail
    assert len(detail) < 300


@pytest.mark.parametrize("claim", ["exp", "sub"])
def test_a_claim_that_is_required_is_there_and_not_null(client, caplog, claim):
    assert claim in refused(client, signed(HS256, claims() | {claim: None}), caplog)


@pytest.mark.parametrize("error", [ValueError, TypeError, OverflowError, RecursionError])
def test_what_pyjwt_stumbles_over_is_no_token(client, caplog, error):
    """It once did over an iat of infinity."""
    with mock.patch.object(tokens.jwt, "decode", side_effect=error):
        refused(client, minted(), caplog)


GOOD_CLAIMS = [
    {"exp": NOW + 6000.5},
    {"exp": 1e18},
    {"exp": 1e308},
    {"nbf": NOW - 5, "iat": NOW - 5},
    {"nbf": NOW - 0.5, "iat": 0},
    {"iat": -5.5},
    {"sub": "x" * 255},
    {"sub": "Zoë 🐟 <ann@example.com>"},
    {"jti": "x"},
    {"aud": []},
    {"iss": "anybody"},
    {"iss": 7},
    {"bide": ALL_OF_A | {"rate": {}}},
    {"bide": ALL_OF_A | {"rate": {"publish": "5/second", "subscribe": "1/day"}}},
    {"bide": ALL_OF_A | {"later": 1}, "scope": "openid"},
]


@pytest.mark.parametrize("more", GOOD_CLAIMS, ids=range(len(GOOD_CLAIMS)))
def test_claims_that_are_as_they_should_be_are_accepted(client, more):
    assert ask(client, signed(HS256, claims(**more))).status_code == 200


@pytest.mark.parametrize("bide", [None, {}])
def test_a_token_without_rights_is_valid_and_allows_nothing(client, bide):
    for token in (signed(HS256, claims(bide=bide)), signed(HS256, claims() | {"bide": bide})):
        assert ask(client, token).status_code == 403
        assert ask(client, token, "/channels").status_code == 200


def test_clocks_may_differ_by_a_few_seconds(client):
    assert ask(client, minted(exp=NOW + 6000, nbf=int(time.time()) + 3, iat=int(time.time()) + 3)).status_code == 200
    late = int(time.time()) - 2
    assert ask(client, minted(exp=late)).status_code == 200
    assert ask(client, minted(exp=late - tokens.LEEWAY_SECONDS)).status_code == 401


def test_a_known_token_ends_with_its_leeway(client, caplog):
    token = minted(exp=NOW + 6000)
    assert ask(client, token).status_code == 200
    with mock.patch.object(time, "time", return_value=NOW + 6000 + tokens.LEEWAY_SECONDS - 0.1):
        assert ask(client, token).status_code == 200
    with mock.patch.object(time, "time", return_value=NOW + 6000 + tokens.LEEWAY_SECONDS):
        assert "expired" in refused(client, token, caplog)


# -- audience and issuer

OURS = {"aud": "bide", "iss": "https://issuer.example/"}


@pytest.mark.parametrize("more", [{}, {"aud": ["x", "bide"]}, {"aud": ["bide"]}])
def test_a_token_for_this_server_is_accepted(particular, more):
    assert ask(particular, minted(**OURS | more)).status_code == 200


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"aud": None}, "no claim aud"),
        ({"aud": ""}, "no claim aud"),
        ({"aud": []}, "no claim aud"),
        ({"aud": "bid"}, "BIDE_JWT_AUDIENCE"),
        ({"aud": "bide "}, "BIDE_JWT_AUDIENCE"),
        ({"aud": ["x"]}, "BIDE_JWT_AUDIENCE"),
        ({"aud": ["bide", 1]}, "BIDE_JWT_AUDIENCE"),
        ({"aud": {"bide": 1}}, "BIDE_JWT_AUDIENCE"),
        ({"aud": 7}, "BIDE_JWT_AUDIENCE"),
        ({"iss": None}, "no claim iss"),
        ({"iss": "https://issuer.example"}, "BIDE_JWT_ISSUER"),
        ({"iss": "issuer"}, "BIDE_JWT_ISSUER"),
        ({"iss": ""}, "BIDE_JWT_ISSUER"),
        ({"iss": ["https://issuer.example/"]}, "BIDE_JWT_ISSUER"),
    ],
    ids=str,
)
def test_a_token_of_somebody_else_or_for_somebody_else_is_refused(particular, caplog, more, told):
    assert told in refused(particular, signed(HS256, claims(**OURS | more)), caplog)
