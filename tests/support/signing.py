"""Who signs tokens in tests: keys of each kind, and tokens of any shape, well formed or not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.app import problem

SECRET = "a secret of tests that nobody else has"

#: May do everything with channels that begin with `a`.
ALL_OF_A = {"publish": ["a*"], "subscribe": ["a*"], "presence": ["a*"], "admin": ["a*"]}


def private(kind: str, number: int = 0) -> Any:
    """A private key of a kind, `RSA 2048`, `P-256`, `Ed25519` and so on; another for each number."""
    return _made(kind, number)


@cache
def _made(kind: str, number: int) -> Any:
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind.split()[1]))
    curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "secp256k1": ec.SECP256K1()}
    return ec.generate_private_key(curves[kind]) if kind in curves else ed25519.Ed25519PrivateKey.generate()


def public_pem(kind: str, number: int = 0) -> str:
    key = private(kind, number).public_key()
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def private_pem(kind: str, number: int = 0) -> str:
    pem: bytes = private(kind, number).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def claims(**more: Any) -> dict[str, Any]:
    """Of a token that may do everything with channels that begin with `a`; a claim of None is left out."""
    found = {"sub": "ann", "exp": int(time.time()) + 600, "bide": ALL_OF_A} | more
    return {name: value for name, value in found.items() if value is not None}


def minted(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    """A token as whoever has the key would make it."""
    return jwt.encode(claims(**more), key, algorithm, headers=None if kid is None else {"kid": kid})


def segment(content: bytes | object) -> str:
    """base64url without padding of bytes, or of anything as JSON."""
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(header: bytes | object, payload: bytes | object, key: bytes = SECRET.encode()) -> str:
    """Any header and payload, signed as HS256 whatever the header says."""
    text = f"{segment(header)}.{segment(payload)}"
    return f"{text}.{segment(hmac.digest(key, text.encode(), hashlib.sha256))}"


CHALLENGE = 'Bearer realm="bide"'


def ask(client: Any, token: str, path: str = "/channels/a/events") -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def refused(client: Any, token: str, caplog: Any) -> str:
    """A token that must be refused: 401, and nothing of it is told or logged. The answer's detail."""
    answer = ask(client, token)
    assert answer.status_code == 401, answer.data
    assert answer.headers["WWW-Authenticate"] == f'{CHALLENGE}, error="invalid_token"'
    detail: str = problem(answer)["detail"]
    for part in token.split("."):
        assert len(part) < 12 or part not in f"{answer.data!r}{answer.headers}{caplog.text}"
    assert not caplog.records
    return detail
