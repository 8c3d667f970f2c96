"""What tokens are verified by.

Looked up late, as stores are: without a key nobody needs PyJWT and cryptography, and without a provider nobody needs
requests. Their imports would take a third of a worker's start.
"""

from __future__ import annotations

from importlib import import_module

from ..config import Settings
from ..server import Server
from . import keys
from .tokens import Tokens


def keys_of(settings: Settings) -> keys.Keys:
    """The keys of a server that has some. Raises SettingsError."""
    if settings.jwt_secret:
        return keys.OneKey(keys.secret(settings.jwt_secret))
    if settings.jwt_public_key:
        return keys.OneKey(keys.public(settings.jwt_public_key))
    provider: keys.Keys = import_module(".jwks", __package__).Provider(settings.jwks_url)
    return provider


def tokens_of(source: keys.Keys, server: Server) -> Tokens:
    """What verifies tokens with these keys, and fetches them where they are a provider's."""
    settings = server.settings
    tokens = Tokens(source, server.revocations, audience=settings.jwt_audience, issuer=settings.jwt_issuer)
    if settings.jwks_url:
        source.on_loss = tokens.forget  # type: ignore[attr-defined]  # a Provider
        server.lifecycle.spawn(source.keep)  # type: ignore[attr-defined]  # likewise
    return tokens
