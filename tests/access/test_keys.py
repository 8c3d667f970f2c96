"""The key of a server: what is taken for one, and what stops the start, in one line that repeats nothing of it."""

import pytest
from cryptography.hazmat.primitives.asymmetric import x448
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.access import keys
from app.config import Settings
from app.errors import SettingsError, Unauthorized
from app.factory import create_app
from tests.support.signing import SECRET, private, private_pem, public_pem

KINDS = [("RSA 2048", "RS256"), ("P-256", "ES256"), ("Ed25519", "EdDSA")]


def refused(text):
    """The one line in which a public key is refused."""
    with pytest.raises(SettingsError) as caught:
        keys.public(text)
    line = str(caught.value)
    assert line.startswith("BIDE_JWT_PUBLIC_KEY ")
    assert "\n" not in line
    assert "2048" in line
    return line


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ({"jwt_secret": "x" * 31}, "BIDE_JWT_SECRET cannot be used: give at least 32 bytes"),
        ({"jwks_url": "http://a.example/keys"}, "BIDE_JWKS_URL cannot be used: give an https:// URL"),
        (
            {"jwt_secret": SECRET, "jwks_url": "https://a.example/keys"},
            "BIDE_JWT_SECRET cannot be used beside BIDE_JWKS",
        ),
    ],
)
def test_an_application_that_gives_settings_of_its_own_gives_no_weaker_key(key, told):
    with pytest.raises(SettingsError, match=told) as caught:
        create_app(Settings(store="memory://", **key))
    assert not any(value in str(caught.value) for value in key.values())


def test_a_secret_is_for_hs256():
    assert keys.secret(SECRET) == keys.Key(SECRET.encode(), "HS256")


@pytest.mark.parametrize(("kind", "algorithm"), KINDS)
def test_a_public_key_has_the_algorithm_of_its_kind(kind, algorithm):
    assert keys.public(public_pem(kind)) == keys.Key(private(kind).public_key(), algorithm)


@pytest.mark.parametrize(("kind", "algorithm"), KINDS)
def test_a_public_key_may_be_in_a_file(tmp_path, kind, algorithm):
    (tmp_path / "key.pem").write_text(public_pem(kind))
    assert keys.public(str(tmp_path / "key.pem")).algorithm == algorithm


def test_what_stands_around_a_key_is_no_part_of_it():
    assert keys.public(f"# ours\n{public_pem('P-256')}\n\n").algorithm == "ES256"


def test_the_older_form_of_an_rsa_key_is_one():
    pem = private("RSA 2048").public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    assert keys.public(pem.decode()).algorithm == "RS256"


@pytest.mark.parametrize("kind", ["RSA 1024", "P-384", "secp256k1"])
def test_a_weak_key_and_one_of_another_curve_are_refused(kind):
    assert "cannot be used" in refused(public_pem(kind))


def test_a_key_that_signs_nothing_here_is_refused():
    key = x448.X448PrivateKey.generate().public_key()
    refused(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


@pytest.mark.parametrize("kind", ["RSA 2048", "P-256", "Ed25519"])
def test_a_private_key_stays_where_tokens_are_signed(tmp_path, kind):
    (tmp_path / "key.pem").write_text(private_pem(kind))
    for text in (private_pem(kind), str(tmp_path / "key.pem"), private_pem(kind) + public_pem(kind)):
        assert "private key" in refused(text)


@pytest.mark.parametrize(
    "text", ["", "not there.pem", "/", "\0", "x" * 5000, "-----BEGIN", "-----BEGIN PUBLIC KEY-----"]
)
def test_what_is_neither_a_key_nor_a_file_is_refused(text):
    refused(text)


def test_a_key_that_was_cut_or_changed_is_refused():
    pem = public_pem("P-256")
    refused(pem[:-40])
    refused(pem.replace("PUBLIC", "PUBLISHED"))
    middle = pem.splitlines()[1]
    refused(pem.replace(middle, "A" * len(middle)))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"{}", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_that_holds_no_key_is_refused(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    refused(str(tmp_path / "key"))


def test_nothing_of_what_was_given_is_told():
    """Who puts the secret, or the private key, into the wrong variable does not find it in the log."""
    for text in ("hunter2" * 9, private_pem("P-256"), "-----BEGIN hunter2"):
        line = refused(text)
        assert "hunter2" not in line
        assert not any(len(part) > 9 and part in line for part in text.splitlines()[1:])


@pytest.mark.parametrize(("kind", "algorithm"), KINDS)
def test_the_one_key_is_found_for_its_algorithm_alone(kind, algorithm):
    key = keys.public(public_pem(kind))
    one = keys.OneKey(key)
    for key_id in (None, "", "any"):
        assert one.find(key_id, algorithm) is key
    for other in ("none", "None", "HS256", "", None, 1, [algorithm], algorithm.lower(), "ES384"):
        with pytest.raises(Unauthorized, match=f"signed with {algorithm}"):
            one.find(None, other)


@pytest.mark.parametrize("settings", [{"jwt_public_key": "not there.pem"}, {"jwt_secret": public_pem("P-256")}])
def test_a_server_does_not_start_with_a_key_that_cannot_be_used(settings):
    with pytest.raises(SettingsError, match="BIDE_JWT_PUBLIC_KEY"):
        create_app(Settings(store="memory://", **settings))
