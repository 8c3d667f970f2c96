"""The key that tokens are verified with. Each key has one algorithm, whatever a token's header says.

So neither `none` nor a public key taken for a secret (RFC 8725, sections 2.1 and 3.1) verifies anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ..errors import SettingsError, Unauthorized

#: The least that RS256 is safe with (RFC 7518, section 3.3), and the most that OpenSSL verifies with.
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 16384


class Key(NamedTuple):
    """A key, as PyJWT takes it, and the one algorithm that it is for."""

    key: Any
    algorithm: str


class Keys(Protocol):
    """Where keys come from."""

    def find(self, key_id: str | None, algorithm: object) -> Key:
        """The key of a token whose header names this `kid` and `alg`. Raises Unauthorized where there is none,
        Unavailable where it cannot be known at the moment. May switch greenlets."""


class OneKey:
    """The one that tokens are verified with, whatever id it has at whoever signs them."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def find(self, key_id: str | None, algorithm: object) -> Key:
        if algorithm != self._key.algorithm:
            raise Unauthorized(f"Tokens are to be signed with {self._key.algorithm}")
        return self._key


def secret(text: str) -> Key:
    """A shared secret, which `knobs.secret` found long enough. Raises SettingsError."""
    key = Key(text.encode(), "HS256")
    try:
        # With a public key in its place everybody who has that could sign tokens.
        jwt.get_algorithm_by_name(key.algorithm).prepare_key(key.key)
    except jwt.InvalidKeyError:
        raise SettingsError(
            "BIDE_JWT_SECRET cannot be used: it is a key of a pair, or a certificate; "
            "give a secret, or the public key as BIDE_JWT_PUBLIC_KEY"
        ) from None
    return key


def public(text: str) -> Key:
    """A public key in PEM, or the one in the file of that path. Raises SettingsError."""
    wanted = "give a public key in PEM (RSA of 2048 bits or more, EC P-256 or Ed25519), or the path of its file"
    if "-----BEGIN" not in text:
        try:
            text = Path(text).read_text()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise SettingsError(f"BIDE_JWT_PUBLIC_KEY cannot be read as a file ({reason}): {wanted}") from None
    if "PRIVATE KEY-----" in text:
        raise SettingsError(f"BIDE_JWT_PUBLIC_KEY is a private key, which belongs to whoever signs tokens: {wanted}")
    try:
        key = asymmetric(load_pem_public_key(text.encode()))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise SettingsError(f"BIDE_JWT_PUBLIC_KEY cannot be used: {wanted}")
    return key


def asymmetric(key: object) -> Key | None:
    """A public key with its algorithm; None for one that is not used here, too weak or too large."""
    if isinstance(key, RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return Key(key, "RS256")
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return Key(key, "ES256")
    return Key(key, "EdDSA") if isinstance(key, Ed25519PublicKey) else None
