"""Which algorithm a public key is for. Each has one, for who signs tokens as for who verifies them."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

#: The least that RS256 is safe with (RFC 7518, section 3.3), and the most that OpenSSL verifies with.
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 16384
#: What is used, for people.
KINDS: Final = "RSA of 2048 bits or more, EC P-256 or Ed25519"


def algorithm_of(key: object) -> str | None:
    """None for a key that is not used here, too weak or too large."""
    if isinstance(key, RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    return "EdDSA" if isinstance(key, Ed25519PublicKey) else None
