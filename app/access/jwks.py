"""Keys that a provider tells at a URL, as a JWK Set (RFC 7517): fetched, remembered, and fetched anew now and then.

What was fetched stays good until the provider tells other keys, whatever becomes of it meanwhile: one that is away, or
that tells something else than keys, changes nothing. Before the first keys are known nobody can say whether a token is
valid, which is no fault of who brings it.

A token that names a key which is not known has them fetched at once: the provider may have begun to sign with it. But
anyone can think up names, so this happens no more often than each few seconds, and once for all who wait for it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import gevent
import jwt.algorithms
import msgspec
import requests
from cryptography.exceptions import UnsupportedAlgorithm

from ..errors import Unauthorized, Unavailable
from .keys import Key, asymmetric

log = logging.getLogger("bide")

#: Between two fetches; a key that the provider takes back is good for so long yet.
REFRESH_SECONDS: Final = 300.0
#: After a fetch that brought nothing.
RETRY_SECONDS: Final = 10.0
#: For a token that names an unknown key.
EARLY_SECONDS: Final = 5.0
#: A fetch, from the look-up of the name to the last byte.
FETCH_SECONDS: Final = 5.0
MAX_BYTES: Final = 1024 * 1024
#: Of a set. Providers have two to twenty.
MOST_KEYS: Final = 100

#: By the type of a key. `oct`, a shared secret, is not among them: who may read the set could sign tokens with it.
_KINDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "RSA": jwt.algorithms.RSAAlgorithm.from_jwk,
    "EC": jwt.algorithms.ECAlgorithm.from_jwk,
    "OKP": jwt.algorithms.OKPAlgorithm.from_jwk,
}
_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
#: A key with one of these is known to whoever may read the set, and signs nothing that could be believed.
_PRIVATE: Final = frozenset(["d", "p", "q", "dp", "dq", "qi", "oth", "k"])


class NamedKey(NamedTuple):
    """A key of the set with its `kid`, where it has one."""

    key_id: str | None
    key: Key


class NoKeys(Exception):
    """Why the provider told none, in a few words that repeat nothing of what it said."""


class Provider:
    """The keys at a URL. `keep` fetches them again and again; `on_loss` is called when one is gone."""

    def __init__(self, url: str) -> None:
        self.on_loss: Callable[[], None] = lambda: None
        self._url = url
        self._keys: Sequence[NamedKey] = ()
        self._trouble: str | None = None
        self._fetching: gevent.Greenlet[..., None] | None = None
        self._may_fetch_at = 0.0

    def find(self, key_id: str | None, algorithm: object) -> Key:
        """See `Keys`: the one key that fits. Without a `kid` those of all names are looked at."""
        if algorithm not in _ALGORITHMS:
            raise Unauthorized(f"Tokens are to be signed with {', '.join(_ALGORITHMS)}")
        key = self._fitting(key_id, algorithm)
        if key is None and time.monotonic() >= self._may_fetch_at:
            self.fetch()
            key = self._fitting(key_id, algorithm)
        if key is not None:
            return key
        if self._trouble is not None or not self._keys:
            raise Unavailable("The key of this token cannot be fetched at the moment: try again", retry_after=5)
        raise Unauthorized("The provider of keys has none that fits the token's kid and alg, or more than one")

    def keep(self) -> None:
        """Fetch the keys for ever. Switches greenlets."""
        while True:
            self.fetch()
            # Workers that began together do not ask together for long.
            gevent.sleep(random.uniform(0.8, 1) * (REFRESH_SECONDS if self._trouble is None else RETRY_SECONDS))

    def fetch(self) -> None:
        """Fetch the keys, once for all who ask meanwhile. Switches greenlets."""
        if self._fetching is None:
            # A greenlet of its own: whoever waits for it may be ended.
            self._fetching = gevent.spawn(self._fetch)
        self._fetching.join()

    def _fetch(self) -> None:
        try:
            keys = read(download(self._url))
        except NoKeys as error:
            if self._trouble is None:
                known = len(self._keys)
                log.warning("BIDE_JWKS_URL: %s; trying again, %d keys are known meanwhile", error, known)
            self._trouble = str(error)
        else:
            if self._trouble is not None:
                log.warning("BIDE_JWKS_URL: the keys were fetched, %d of them can be used", len(keys))
            self._trouble = None
            before, self._keys = self._keys, keys
            if any(key not in keys for key in before):
                self.on_loss()
        finally:
            self._may_fetch_at = time.monotonic() + EARLY_SECONDS
            self._fetching = None

    def _fitting(self, key_id: str | None, algorithm: object) -> Key | None:
        found = [
            named.key for named in self._keys if key_id in (None, named.key_id) and named.key.algorithm == algorithm
        ]
        return found[0] if len(found) == 1 else None


def download(url: str) -> bytes:
    """What is at the URL. Switches greenlets. Raises NoKeys."""
    try:
        with gevent.Timeout(FETCH_SECONDS), requests.Session() as session:
            # A proxy that the environment names is for what is elsewhere; this machine is asked in plain HTTP.
            session.trust_env = url.lower().startswith("https:")
            headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
            # No redirect is followed: it would lead to another place than the one that was named, plain HTTP perhaps.
            with session.get(url, headers=headers, allow_redirects=False, stream=True, timeout=FETCH_SECONDS) as answer:
                if answer.status_code != 200:
                    raise NoKeys(f"the provider answers {answer.status_code}")
                body: bytes = answer.raw.read(MAX_BYTES + 1)
    except NoKeys:
        raise
    except (gevent.Timeout, requests.Timeout):
        raise NoKeys(f"the provider has no whole answer within {FETCH_SECONDS:g} seconds") from None
    except requests.exceptions.SSLError:
        raise NoKeys("the provider has no certificate that is trusted, or speaks no TLS") from None
    except Exception as error:  # whatever it is: its text may hold the URL, and the greenlet is to go on
        raise NoKeys(f"the provider cannot be reached ({type(error).__name__})") from None
    if len(body) > MAX_BYTES:
        raise NoKeys(f"the provider tells more than {MAX_BYTES:,} bytes")
    return body


def read(body: bytes) -> list[NamedKey]:
    """The keys of a JWK Set that tokens can be verified with. Raises NoKeys where it has none."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NoKeys("the provider tells no JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_KEYS:
        raise NoKeys(f"the provider tells no JWK Set of at most {MOST_KEYS} keys")
    keys = [key for entry in entries if isinstance(entry, dict) and (key := _read_key(entry)) is not None]
    if not keys:
        raise NoKeys(
            "the provider tells no key that can be used: "
            "public, for signatures, RSA of 2048 bits or more, EC P-256 or Ed25519"
        )
    return keys


def _read_key(entry: dict[str, Any]) -> NamedKey | None:
    """A key of the set; None for one that is not for this: a set may have others, for encryption too."""
    key_id, kind, use, operations = (entry.get(name) for name in ("kid", "kty", "use", "key_ops"))
    if entry.keys() & _PRIVATE or not isinstance(kind, str) or kind not in _KINDS:
        return None
    try:
        key = asymmetric(_KINDS[kind](entry))
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, UnsupportedAlgorithm):
        return None
    if (
        key is None
        or entry.get("alg") not in (None, key.algorithm)
        or use not in (None, "sig")
        or not (operations is None or (isinstance(operations, list) and "verify" in operations))
        or not isinstance(key_id, str | None)
    ):
        return None
    return NamedKey(key_id, key)
