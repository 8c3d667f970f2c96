"""A JWK Set: which of its keys are used, which never, and which of them is a token's."""

import json

import pytest

from app.access import jwks
from app.errors import Unauthorized
from tests.support.app import serving
from tests.support.provider import jwk, providing
from tests.support.signing import minted, private, refused, segment

RSA, EC, ED = "RSA 2048", "P-256", "Ed25519"

#: Members of a key that say that it is for something else, or that it is none.
UNUSED = [
    jwk(EC, alg="ES384"),
    jwk(EC, alg="HS256"),
    jwk(EC, alg=1),
    jwk(EC, use="enc"),
    jwk(EC, use=["sig"]),
    jwk(EC, key_ops=["sign"]),
    jwk(EC, key_ops=[]),
    jwk(EC, key_ops="verify"),
    jwk(EC, kid=1),
    jwk(EC, kid=["one"]),
    jwk(EC, kty=None),
    jwk(EC, kty="ec"),
    jwk(EC, kty=["EC"]),
    jwk(EC, kty="oct"),
    jwk(EC, kty="RSA"),
    jwk(EC, crv="P-384"),
    jwk(EC, crv=None),
    jwk(EC, x=None),
    jwk(EC, y=segment(b"\0" * 32)),
    jwk(EC, y=7),
    jwk(EC, y="\u00e9"),
    jwk(EC, secret=True),
    jwk(EC, d=""),
    jwk("P-384"),
    jwk("secp256k1"),
    jwk(RSA, alg="RS512"),
    jwk(RSA, alg="PS256"),
    jwk(RSA, use="enc"),
    jwk(RSA, e="AQ"),
    jwk(RSA, e="Ag"),
    jwk(RSA, e=None),
    jwk(RSA, n=""),
    jwk(RSA, n=["x"]),
    jwk(RSA, n=segment(b"\xff" * 100_000)),
    jwk(RSA, secret=True),
    jwk(RSA, p="AQAB"),
    jwk(EC, k="AQAB"),
    jwk("RSA 1024"),
    jwk(ED, crv="X25519"),
    jwk(ED, crv="Ed448"),
    jwk(ED, x=segment(b"short")),
    jwk(ED, secret=True),
    {"kty": "oct", "k": segment(b"x" * 32)},
    {"kty": "oct", "k": segment(b"x" * 32), "alg": "HS256", "use": "sig"},
    {"kty": "RSA", "x5c": ["AAAA"]},
]


@pytest.mark.parametrize("entry", UNUSED, ids=lambda entry: f"{entry.get('kty')} {list(entry)[-1]}")
def test_a_key_that_is_for_something_else_is_not_used(entry):
    with pytest.raises(jwks.NoKeys, match="no key that can be used"):
        jwks.read(json.dumps({"keys": [entry]}).encode())
    (kept,) = jwks.read(json.dumps({"keys": [entry, jwk(EC, kid="kept")]}).encode())
    assert kept.key_id == "kept"


USED = [
    jwk(EC, alg="ES256", use="sig", key_ops=["verify"]),
    jwk(EC, key_ops=["verify", "sign"]),
    jwk(EC, x5c=["AAAA"], x5t="x", later=1, kid=""),
    {**jwk(EC), "alg": None, "use": None, "key_ops": None, "kid": None},
    jwk(RSA, alg="RS256"),
    jwk(ED, alg="EdDSA"),
]


@pytest.mark.parametrize("entry", USED, ids=lambda entry: f"{entry['kty']} {list(entry)[-1]}")
def test_a_key_that_is_for_this_is_used(entry):
    assert len(jwks.read(json.dumps({"keys": [entry]}).encode())) == 1


def test_a_shared_secret_of_the_set_signs_nothing(caplog):
    """Nor does a public key that is taken for one (RFC 8725, section 2.1)."""
    secret = b"x" * 32
    shared = {"kty": "oct", "k": segment(secret), "kid": "it", "alg": "HS256"}
    with providing(shared, jwk(RSA, kid="rsa")) as provider, serving(jwks_url=provider.url) as app:
        client = app.test_client()
        for key in (secret, segment(secret).encode(), jwk(RSA)["n"].encode()):
            for kid in ("it", "rsa"):
                refused(client, minted(key, "HS256", kid), caplog)


@pytest.mark.parametrize(
    ("entries", "asked", "found"),
    [
        ([jwk(EC)], (None, "ES256"), (EC, 0)),
        ([jwk(EC, kid="a")], (None, "ES256"), (EC, 0)),
        ([jwk(EC, kid="a"), jwk(RSA, kid="b")], (None, "RS256"), (RSA, 0)),
        ([jwk(EC, kid="a"), jwk(EC, 1, kid="b")], (None, "ES256"), None),
        ([jwk(EC, kid="a"), jwk(EC, 1, kid="b")], ("b", "ES256"), (EC, 1)),
        ([jwk(EC), jwk(EC, 1, kid="b")], ("b", "ES256"), (EC, 1)),
        ([jwk(EC), jwk(EC, 1, kid="b")], ("a", "ES256"), None),
        ([jwk(EC)], ("a", "ES256"), None),
        ([jwk(EC, kid="")], ("", "ES256"), (EC, 0)),
        ([jwk(EC, kid="a"), jwk(EC, 1, kid="a")], ("a", "ES256"), None),
        ([jwk(EC, kid="a"), jwk(RSA, kid="a")], ("a", "RS256"), (RSA, 0)),
        ([jwk(EC, kid="a"), jwk(EC, 1, kid="a", use="enc")], ("a", "ES256"), (EC, 0)),
        ([jwk(EC, kid="a")], ("A", "ES256"), None),
        ([jwk(EC, kid="a")], ("a", "EdDSA"), None),
    ],
)
def test_a_token_is_verified_where_exactly_one_key_fits(entries, asked, found):
    with providing(*entries) as provider:
        known = jwks.Provider(provider.url)
        if found is None:
            with pytest.raises(Unauthorized):
                known.find(*asked)
        else:
            assert known.find(*asked).key == private(*found).public_key()
