"""TLS by `BIDE_TLS_CERT` and `BIDE_TLS_KEY`: files that are judged before a client meets them, and how it is spoken."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509

from .errors import SettingsError

CERT: Final = "BIDE_TLS_CERT"
KEY: Final = "BIDE_TLS_KEY"

#: OpenSSL's reasons where the key is another one's; the last where it is even of another kind.
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


class _EncryptedError(Exception):
    """The key has a password."""


def check(cert: str, key: str) -> str | None:
    """What is to be said of a certificate and key, which are paths of PEM files, though they can be used; None where
    there is nothing. Raises SettingsError, which names the setting, where they cannot."""
    try:
        chain = x509.load_pem_x509_certificates(_read(CERT, cert))
    except ValueError:
        raise _unusable(CERT, cert, "it holds no certificate in PEM") from None
    _read(KEY, key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_refuse)
    except _EncryptedError:
        raise _unusable(KEY, key, "it is encrypted, and nobody is there to type its password") from None
    except ssl.SSLError as error:
        if error.reason is None:
            raise _unusable(KEY, key, "it holds no private key in PEM") from None
        if error.reason in _MISMATCHES:
            raise _unusable(KEY, key, f"it is not the key of the certificate in {CERT}") from None
        raise _unusable(CERT, cert, f"OpenSSL refuses it: {error.reason}") from None
    ends_at, begins_at = chain[0].not_valid_after_utc, chain[0].not_valid_before_utc
    now = time.time()
    if ends_at.timestamp() <= now:
        return f"{CERT}={cert!r} expired at {ends_at:%Y-%m-%d %H:%M} UTC: clients will refuse it"
    if begins_at.timestamp() > now:
        return f"{CERT}={cert!r} is valid from {begins_at:%Y-%m-%d %H:%M} UTC on: clients refuse it until then"
    return None


def harden(context: ssl.SSLContext) -> ssl.SSLContext:
    """A server's context, for TLS 1.2 and later (RFC 8996) and without renegotiation, which costs the server more than
    who asks for it. Its ciphers are Python's and OpenSSL's, which are kept up to date with them."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _read(variable: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise _unusable(variable, path, getattr(error, "strerror", None) or "that is no path") from None


def _refuse() -> NoReturn:
    raise _EncryptedError


def _unusable(variable: str, path: str, why: str) -> SettingsError:
    cert = "a certificate, and after it those between it and its root, in PEM"
    what = cert if variable == CERT else "its private key, in PEM and without a password"
    return SettingsError(f"{variable}={path!r} cannot be used ({why}): give the path of a file with {what}")
