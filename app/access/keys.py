"""The key that tokens are verified with. Each key has one algorithm, whatever a token's header says.

So neither `none` nor a public key taken for a secret (RFC 8725, sections 2.1 and 3.1) verifies anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ..algorithms import KINDS, algorithm_of
from ..errors import SettingsError, Unauthorized


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
    wanted = f"give a public key in PEM ({KINDS}), or the path of its file"
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
    algorithm = algorithm_of(key)
    return None if algorithm is None else Key(key, algorithm)
