"""Certificates and keys that openssl's command makes only of today: expired ones, and some that cannot be used."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
DAY = datetime.timedelta(days=1)


def make_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def certify(key: Key, begins: int = -1, ends: int = 1) -> bytes:
    """A certificate of the key in PEM, from so many days on until so many."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now + begins * DAY).not_valid_after(now + ends * DAY)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def pem(key: Key, password: bytes | None = None) -> bytes:
    """The key as openssl writes it."""
    hidden: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)


def write(folder: Path, certificate: bytes, key: bytes) -> tuple[Path, Path]:
    """Both in files of the folder, in place of those that are there."""
    paths = folder / "cert.pem", folder / "key.pem"
    for path, text in zip(paths, (certificate, key), strict=True):
        path.write_bytes(text)
    return paths
