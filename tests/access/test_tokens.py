"""Tokens over HTTP: what is accepted, and that nothing else is, whatever it looks like.

A refusal says why, challenges as RFC 6750 wants it, and repeats nothing of the token.
"""

import base64
import json
import string

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.access import keys, tokens
from app.access.tokens import Tokens
from app.errors import SettingsError, Unauthorized
from app.revocations import Revocations
from tests.support.app import law, problem, serving
from tests.support.signing import (
    CHALLENGE,
    SECRET,
    ask,
    claims,
    minted,
    private,
    private_pem,
    public_pem,
    refused,
    segment,
    signed,
)

HS256 = {"alg": "HS256", "typ": "JWT"}


@pytest.fixture(scope="module")
def client():
    with serving(jwt_secret=SECRET) as app:
        yield app.test_client()


def test_a_token_lets_its_bearer_in(client):
    assert ask(client, minted()).status_code == 200


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer   "])
def test_the_scheme_is_read_as_http_has_it(client, scheme):
    answer = client.get("/channels/a/events", headers={"Authorization": scheme + minted()})
    assert answer.status_code == 200


def test_who_brings_no_token_is_told_what_to_bring(client):
    answer = client.get("/channels/a/events")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == CHALLENGE
    assert "Authorization: Bearer" in problem(answer)["detail"]


@pytest.mark.parametrize("header", ["Basic dTpw", "Bearer", "Bearer\t{token}", "{token}", "Token {token}", ""])
def test_another_scheme_is_no_token_and_no_error_of_one(client, header):
    """RFC 6750, section 3.1: who used another method is told of no error."""
    answer = client.get("/channels/a/events", headers={"Authorization": header.format(token=minted())})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == CHALLENGE


def test_what_the_token_does_not_allow_is_forbidden_and_says_which_claim_is_missing(client):
    """RFC 6750, section 3.1: a token that does not do is challenged too."""
    answer = ask(client, minted(), "/channels/b/events")
    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"] == f'{CHALLENGE}, error="insufficient_scope"'
    assert "bide.subscribe" in problem(answer)["detail"]


# -- the header

ALGORITHMS = ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS384", "HS512", "RS256", "ES256", "EdDSA", "dir"]


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, None, 256, True, ["HS256"], {"HS256": 1}, "HS256\0", "x" * 3000])
def test_a_token_is_signed_as_the_key_says_and_not_as_its_header_says(client, caplog, algorithm):
    header = {"alg": algorithm, "typ": "JWT"}
    unsigned = f"{segment(header)}.{segment(claims())}."
    for token in (signed(header, claims()), unsigned, unsigned + "AAAA"):
        assert refused(client, token, caplog) in ("Tokens are to be signed with HS256", tokens.NO_TOKEN)


def test_a_token_that_names_no_algorithm_is_refused(client, caplog):
    refused(client, signed({"typ": "JWT"}, claims()), caplog)
    refused(client, f"{segment({})}.{segment(claims())}.", caplog)


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "", "\0", "é", "k" * 3000, "https://evil.example"])
def test_the_one_key_has_any_name(client, kid):
    assert ask(client, signed(HS256 | {"kid": kid}, claims())).status_code == 200


@pytest.mark.parametrize("more", [{"kid": 1}, {"kid": None}, {"kid": ["a"]}, {"crit": ["exp"]}, {"crit": []}])
def test_a_header_that_is_not_what_it_should_be_is_refused(client, caplog, more):
    refused(client, signed(HS256 | more, claims()), caplog)


@pytest.mark.parametrize("crit", [["b64"], ["x"], "b64", None])
def test_extensions_that_must_be_understood_are_not(client, caplog, crit):
    """RFC 7515, section 4.1.11."""
    refused(client, signed(HS256 | {"crit": crit, "b64": True, "x": 1}, claims()), caplog)
    refused(client, signed(HS256 | {"crit": crit, "b64": False}, claims()), caplog)


def test_a_payload_that_is_not_encoded_is_none(client, caplog):
    refused(client, signed(HS256 | {"b64": False}, claims()), caplog)


@pytest.mark.parametrize("more", [{"typ": "at+jwt"}, {"zip": "DEF"}, {"jku": "http://evil.example"}, {"jwk": {}}])
def test_what_else_a_header_says_is_ignored(client, more):
    """RFC 7515, section 4.1: `jku` and `jwk`, where a token brings its own key, above all."""
    assert ask(client, signed(HS256 | more, claims())).status_code == 200


def test_of_two_of_one_name_the_last_counts(client, caplog):
    """RFC 7515, section 4, and RFC 7519, section 4; both are signed."""
    assert ask(client, signed(b'{"alg":"none","alg":"HS256"}', claims())).status_code == 200
    refused(client, signed(b'{"alg":"HS256","alg":"none"}', claims()), caplog)
    text = json.dumps(claims())[:-1]
    assert ask(client, signed(HS256, f'{text},"sub":"bob"}}'.encode())).status_code == 200
    refused(client, signed(HS256, f'{text},"exp":1}}'.encode()), caplog)


# -- the shape


def test_what_is_no_token_is_refused(client, caplog):
    token = minted()
    header, payload, signature = token.split(".")
    odd = [
        "",
        ".",
        "..",
        "...",
        "x",
        "x.y.z",
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f"{header}..{signature}",
        f".{payload}.{signature}",
        f"{token}.{signature}",
        f"{header}.{segment(token.encode())}.{signature}",
        ".".join([header, payload, signature, segment(b"tag"), segment(b"more")]),
        f"{token}=",
        f"{token}==",
        f"{header}=.{payload}.{signature}",
        f"{token},{token}",
        f"{token} {token}",
        f"{header}. {payload}.{signature}",
        f"{token}\t",
        f"{token}\u00e9",
        f"\u00e9{token}",
        f"{header}.{payload}!.{signature}",
        f'"{token}"',
        token.replace(".", "%2E"),
        "a" * 7000,
        "." * 7000,
    ]
    for text in odd:
        refused(client, text, caplog)


def test_of_the_texts_of_one_signature_one_is_the_token():
    """The bits that base64 has left over may not be anything, whatever PyJWT makes of them."""
    for length in range(31, 34):
        text = segment(b"\xab" * length)
        for last in string.ascii_letters + string.digits + "-_":
            other = text[:-1] + last
            padding = "=" * (-len(other) % 4)
            assert tokens._is_canonical(other) == (segment(base64.urlsafe_b64decode(other + padding)) == other)
    assert not tokens._is_canonical("a" * 41)


def test_a_nested_token_is_none(client, caplog):
    refused(client, signed(HS256 | {"cty": "JWT"}, minted().encode()), caplog)


def test_a_token_that_was_cut_is_refused(client):
    token = minted()
    assert {ask(client, token[:length]).status_code for length in range(len(token))} == {401}


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b'"ann"', b"{", b"\xff", b"[" * 5000, b'{"sub":' * 800, b'{"exp":1' + b"0" * 4500 + b"}"],
)
def test_claims_that_are_no_object_are_none(client, caplog, payload):
    refused(client, signed(HS256, payload), caplog)
    refused(client, signed(payload, claims()), caplog)


def test_a_token_of_seven_kilobytes_is_as_good_as_a_short_one(client):
    patterns = [f"room.{number}" for number in range(500)]
    token = minted(bide={"subscribe": [*patterns, "a"]})
    assert 7000 < len(token) < 8100
    assert ask(client, token).status_code == 200


@law
@given(st.data())
def test_no_byte_of_a_token_can_be_another(client, data):
    assert ask(client, mutant(minted(exp=4_000_000_000), data)).status_code == 401


@pytest.mark.long
@pytest.mark.parametrize("kind", ["HS256", "RS256", "ES256", "EdDSA"])
def test_no_byte_of_any_token_can_be_another(kind):
    """Of each kind of key: each byte of it, and two thousand changes by chance."""
    key, _ = signer(kind)
    token = minted(key, kind, exp=4_000_000_000)
    known = Tokens(
        keys.OneKey(keys.secret(key) if kind == "HS256" else keys.public(signer(kind)[1]["jwt_public_key"])),
        Revocations(),
    )
    known.permit(token)

    @hypothesis.settings(law, max_examples=2000)
    @given(st.data())
    def law_of_kind(data):
        refused_by(known, mutant(token, data))

    law_of_kind()
    for at in range(len(token)):
        for other in ["A", "B", "Q", "g", "w", "-", "_", ".", "=", "é", ""]:
            if token[at] != other:
                refused_by(known, token[:at] + other + token[at + 1 :])


def refused_by(known, text):
    with pytest.raises(Unauthorized):
        known.permit(text)


def mutant(token, data):
    """The token with one byte that is another, is gone or is one too many."""
    at = data.draw(st.integers(0, len(token) - 1))
    # Those that a header may have at all, and not blanks around it, which HTTP leaves out.
    other = data.draw(st.sampled_from(["", *map(chr, range(0x21, 0x7F)), *map(chr, range(0xA0, 0x100))]))
    end = data.draw(st.sampled_from([at, at + 1]))
    text = token[:at] + other + token[end:]
    hypothesis.assume(text != token)
    return text


# -- keys of other kinds


def signer(kind):
    """What signs tokens of an algorithm, and the settings of a server that takes them."""
    if kind == "HS256":
        return SECRET, {"jwt_secret": SECRET}
    name = {"RS256": "RSA 2048", "ES256": "P-256", "EdDSA": "Ed25519"}[kind]
    return private(name), {"jwt_public_key": public_pem(name)}


KINDS = ["HS256", "RS256", "ES256", "EdDSA"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_key_takes_its_own_tokens_and_no_others(caplog, kind):
    others = [minted(signer(other)[0], other) for other in KINDS if other != kind]
    others += [minted(private("RSA 2048"), "PS256"), minted(private("RSA 2048"), "RS512")]
    others += [minted(private("P-384"), "ES384"), minted(private("secp256k1"), "ES256K")]
    strangers = {"RS256": "RSA 2048", "ES256": "P-256", "EdDSA": "Ed25519"}
    others.append(minted(private(strangers[kind], 1) if kind in strangers else SECRET[::-1], kind))
    key, settings = signer(kind)
    with serving(**settings) as app:
        client = app.test_client()
        assert ask(client, minted(key, kind)).status_code == 200
        for token in others:
            refused(client, token, caplog)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_public_key_is_no_secret(caplog, kind):
    """RFC 8725, section 2.1: whoever signs with what everybody may know is nobody."""
    _, settings = signer(kind)
    pem = settings["jwt_public_key"]
    body = "".join(pem.splitlines()[1:-1])
    with serving(**settings) as app:
        client = app.test_client()
        for text in (pem, pem.strip(), pem.rstrip("\n"), body):
            for algorithm in ("HS256", kind):
                refused(client, signed({"alg": algorithm}, claims(), text.encode()), caplog)


@pytest.mark.parametrize("text", [public_pem("P-256"), private_pem("P-256"), "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ"])
def test_a_key_of_a_pair_is_no_shared_secret(text):
    """Of a public one anybody could sign tokens. The variable of the other key is named."""
    with pytest.raises(SettingsError, match="BIDE_JWT_PUBLIC_KEY") as caught:
        keys.secret(text)
    assert text[:12] not in str(caught.value)
