"""Every knob, with its unit, its bounds and its default. A value that cannot be used stops the start with one line.

`Settings` is what one server process runs with; it is read from the environment, `HOST`, `PORT`, `WEB_CONCURRENCY`
and `BIDE_*`. `Policy` is the part that decides what a store keeps: it is written into the store's file, so that a
publisher in another process trims by the server's rules and not by defaults of its own.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from . import knobs
from .errors import SettingsError
from .knobs import Network, Rate
from .names import OWN_PREFIX, is_pattern, pattern_matches

#: A head outlives its channel's last append by at least this, however short the retention: a client that was away
#: for a moment must not be told of a gap because its channel is quiet.
MIN_HEAD_SECONDS = 3600

#: Read by the command `bide` where it is a client, or told by it to what it executes: no settings, and no mistake
#: where a server starts beside them.
OF_CLIENTS = frozenset(["BIDE_URL", "BIDE_TOKEN", "BIDE_CHANNEL", "BIDE_EVENT_ID", "BIDE_TYPE", "BIDE_TIMESTAMP"])

#: The settings of which one says what tokens are verified with.
KEYS = frozenset(["jwt_secret", "jwt_public_key", "jwks_url"])

#: Above this a day's clock arithmetic in microseconds would leave the integers that JavaScript can hold.
MAX_SECONDS = 10 * 365 * 86400


class Retention(msgspec.Struct, frozen=True):
    """How much of a channel is kept: at most `events` events, none older than `seconds`."""

    events: int
    seconds: float

    @property
    def head_seconds(self) -> float:
        """How long a head is kept after the last append, in seconds."""
        return max(self.seconds, MIN_HEAD_SECONDS)


class RetentionRule(msgspec.Struct, frozen=True):
    """The retention of the channels that `pattern` matches: an exact name, or a prefix that ends in `*`."""

    pattern: str
    retention: Retention


class Policy(msgspec.Struct, frozen=True):
    """What a store keeps, and how much of it."""

    rules: tuple[RetentionRule, ...] = ()
    default: Retention = Retention(1000, 86400)
    max_channels: int = 10_000
    idempotency_seconds: float = 600
    max_idempotency_keys: int = 10_000
    max_revocations: int = 10_000

    def retention(self, channel: str) -> Retention:
        """The first rule that matches the channel, else the default."""
        for rule in self.rules:
            if pattern_matches(rule.pattern, channel):
                return rule.retention
        return self.default


def _rules(text: str) -> tuple[RetentionRule, ...]:
    wanted = "rules such as 'jobs.*=10000/604800 *=1000/86400': pattern=events/seconds, separated by spaces"
    rules = []
    for word in text.split():
        pattern, _, numbers = word.partition("=")
        events, _, seconds = numbers.partition("/")
        try:
            retention = Retention(knobs.integer(1, 10_000_000)(events), knobs.seconds(1, MAX_SECONDS)(seconds))
        except ValueError:
            raise ValueError(wanted) from None
        if not is_pattern(pattern):
            raise ValueError(wanted)
        rules.append(RetentionRule(pattern, retention))
    return tuple(rules)


def bindable(host: str, port: int) -> str:
    """Host and port as one text; an IPv6 address needs brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _knob(default: Any, variable: str, parse: Callable[[str], Any], *, secret: bool = False) -> Any:
    """A field that is read from a variable. What is `secret` is shown to nobody."""
    return field(default=default, repr=not secret, metadata={"variable": variable, "parse": parse, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server runs with. Sizes are in bytes, durations in seconds, counts are of one worker unless said."""

    host: str = _knob("127.0.0.1", "HOST", str)
    port: int = _knob(8000, "PORT", knobs.integer(1, 65535))
    #: Where the server tells of itself whatever its clients do; none: only at the address above.
    private_address: tuple[str, int] | None = _knob(None, "BIDE_PRIVATE_ADDRESS", knobs.address)
    workers: int = _knob(1, "WEB_CONCURRENCY", knobs.integer(1, 1024))

    #: `sqlite:///relative`, `sqlite:////absolute` or `memory://`; empty: `bide.db` in the data folder.
    #: Secret, since Redis's has a password in it.
    store: str = _knob("", "BIDE_STORE", str, secret=True)
    data_dir: Path = _knob(Path("data"), "BIDE_DATA_DIR", Path)

    retention_events: int = _knob(1000, "BIDE_RETENTION_EVENTS", knobs.integer(1, 10_000_000))
    retention_seconds: float = _knob(86400, "BIDE_RETENTION_SECONDS", knobs.seconds(1, MAX_SECONDS))
    retention: tuple[RetentionRule, ...] = _knob((), "BIDE_RETENTION", _rules)
    max_channels: int = _knob(10_000, "BIDE_MAX_CHANNELS", knobs.integer(1, 10_000_000))
    idempotency_seconds: float = _knob(600, "BIDE_IDEMPOTENCY_SECONDS", knobs.seconds(1, 7 * 86400))
    max_idempotency_keys: int = _knob(10_000, "BIDE_MAX_IDEMPOTENCY_KEYS", knobs.integer(1, 1_000_000))

    #: Proxies cut an idle request after 60 s as they come; the longest hold stays below with a margin.
    default_timeout_seconds: float = _knob(30, "BIDE_DEFAULT_TIMEOUT_SECONDS", knobs.seconds(0, 3600))
    max_timeout_seconds: float = _knob(55, "BIDE_MAX_TIMEOUT_SECONDS", knobs.seconds(0, 3600))
    #: A stopping worker answers its parked polls spread over this, so that they do not come back as one herd.
    drain_seconds: float = _knob(1, "BIDE_DRAIN_SECONDS", knobs.seconds(0, 60))
    #: A client between two polls counts as a subscriber for this long.
    presence_seconds: float = _knob(5, "BIDE_PRESENCE_SECONDS", knobs.seconds(0, 3600))

    max_message_bytes: int = _knob(64 * 1024, "BIDE_MAX_MESSAGE_BYTES", knobs.integer(1, 64 * 1024 * 1024))
    max_body_bytes: int = _knob(1024 * 1024, "BIDE_MAX_BODY_BYTES", knobs.integer(1, 256 * 1024 * 1024))
    #: Parked polls of one worker; a process here may hold 20,000 descriptors, each poll is one.
    max_polls: int = _knob(15_000, "BIDE_MAX_POLLS", knobs.integer(1, 1_000_000))

    #: The key that tokens are signed with: one of the three. Without any, anyone may do anything.
    jwt_secret: str = _knob("", "BIDE_JWT_SECRET", knobs.secret, secret=True)
    #: A key in PEM, or the path of its file.
    jwt_public_key: str = _knob("", "BIDE_JWT_PUBLIC_KEY", knobs.given, secret=True)
    #: Where a provider tells its keys; secret, since its query may say to whom.
    jwks_url: str = _knob("", "BIDE_JWKS_URL", knobs.keys_url, secret=True)
    jwt_audience: str = _knob("", "BIDE_JWT_AUDIENCE", str)
    jwt_issuer: str = _knob("", "BIDE_JWT_ISSUER", str)
    #: Whether a token may be given as `access_token` in the query, where logs of others may keep it.
    token_in_query: bool = _knob(False, "BIDE_TOKEN_IN_QUERY", knobs.flag)

    #: Subjects and tokens that are refused before their tokens expire, of all workers together.
    max_revocations: int = _knob(10_000, "BIDE_MAX_REVOCATIONS", knobs.integer(1, 100_000))

    #: Of one subject, or of one address where there are no tokens; over all workers.
    rate_publish: Rate | None = _knob(None, "BIDE_RATE_PUBLISH", knobs.optional_rate)
    #: Polls that were answered without an event.
    rate_subscribe: Rate | None = _knob(None, "BIDE_RATE_SUBSCRIBE", knobs.optional_rate)
    #: Parked polls of one subject or address; 0: no limit.
    max_polls_per_client: int = _knob(0, "BIDE_MAX_POLLS_PER_CLIENT", knobs.integer(0, 1_000_000))
    #: Proxies whose word is taken for where a request comes from.
    forwarded_allow_ips: tuple[Network, ...] = _knob(
        knobs.networks("127.0.0.1 ::1"), "BIDE_FORWARDED_ALLOW_IPS", knobs.networks
    )

    tls_cert: str = _knob("", "BIDE_TLS_CERT", str)
    tls_key: str = _knob("", "BIDE_TLS_KEY", str)
    #: Origins beside the request's own whose pages may read what is answered, publish and delete.
    cors_origins: frozenset[str] = _knob(frozenset(), "BIDE_CORS_ORIGINS", knobs.origins)
    #: Serve under any host name and behind proxies although no key says who may do what.
    insecure: bool = _knob(False, "BIDE_INSECURE", knobs.flag)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **defaults: Any) -> Settings:
        """Read the settings from `environ` (the process's own when absent).

        `defaults` stand where a variable is not set. Raises SettingsError, which names the variable, its value and
        what would do, for a value that cannot be used and for a `BIDE_` variable that nothing reads: a misspelt
        bound, or a key that this version does not know, must not be ignored in silence.
        """
        environ = os.environ if environ is None else environ
        values = dict(defaults)
        known = {}
        for knob in fields(cls):
            variable = known[knob.name] = knob.metadata["variable"]
            text = environ.get(variable)
            if text is None:
                continue
            try:
                values[knob.name] = knob.metadata["parse"](text.strip())
            except ValueError as error:
                shown = "" if knob.metadata["secret"] else f"={text!r}"
                raise SettingsError(f"{variable}{shown} cannot be used: give {error}") from None
        for variable in environ:
            if variable.startswith("BIDE_") and variable not in known.values() and variable not in OF_CLIENTS:
                near = difflib.get_close_matches(variable, known.values(), n=1)
                hint = f"did you mean {near[0]}?" if near else "see docs/operations.md for those it has"
                raise SettingsError(f"{variable} is not a setting of this version: {hint}")
        settings = cls(**values)
        settings.check()
        return settings

    def check(self) -> None:
        """Raise SettingsError where one setting does not go with another, or lets in whom it should not."""
        if self.default_timeout_seconds > self.max_timeout_seconds:
            raise SettingsError(
                f"BIDE_DEFAULT_TIMEOUT_SECONDS={self.default_timeout_seconds:g} cannot be used: "
                f"give at most BIDE_MAX_TIMEOUT_SECONDS ({self.max_timeout_seconds:g})"
            )
        if self.max_message_bytes > self.max_body_bytes:
            raise SettingsError(
                f"BIDE_MAX_MESSAGE_BYTES={self.max_message_bytes} cannot be used: "
                f"give at most BIDE_MAX_BODY_BYTES ({self.max_body_bytes})"
            )
        if self.private_address == (self.host.strip("[]"), self.port):
            raise SettingsError(
                f"BIDE_PRIVATE_ADDRESS={self.bind} cannot be used: give another address than HOST and PORT"
            )
        if self.store.startswith("memory:") and self.workers > 1:
            raise SettingsError(
                f"WEB_CONCURRENCY={self.workers} cannot be used: give 1 with BIDE_STORE=memory://, "
                "whose events one worker keeps to itself"
            )
        self._check_key()
        if bool(self.tls_cert) != bool(self.tls_key):
            given, missing = ("CERT", "KEY") if self.tls_cert else ("KEY", "CERT")
            raise SettingsError(f"BIDE_TLS_{given} cannot be used alone: give BIDE_TLS_{missing} too")

    def _check_key(self) -> None:
        """Raise SettingsError where there are several keys, or one that is not taken from the environment either."""
        given = [knob for knob in fields(self) if knob.name in KEYS and getattr(self, knob.name)]
        if len(given) > 1:
            first, second, *_ = [knob.metadata["variable"] for knob in given]
            raise SettingsError(f"{first} cannot be used beside {second}: give one key, of one kind")
        for knob in given:
            try:
                knob.metadata["parse"](getattr(self, knob.name))
            except ValueError as error:
                raise SettingsError(f"{knob.metadata['variable']} cannot be used: give {error}") from None

    @property
    def has_key(self) -> bool:
        """Whether tokens say who may do what."""
        return bool(self.jwt_secret or self.jwt_public_key or self.jwks_url)

    @property
    def policy(self) -> Policy:
        """The part of the settings that a store keeps beside its events."""
        return Policy(
            rules=self.retention,
            default=Retention(self.retention_events, self.retention_seconds),
            max_channels=self.max_channels,
            idempotency_seconds=self.idempotency_seconds,
            max_idempotency_keys=self.max_idempotency_keys,
            max_revocations=self.max_revocations,
        )

    @property
    def store_url(self) -> str:
        """The store's URL, the default spelt out."""
        return self.store or "sqlite:///" + quote(str(self.data_dir / "bide.db"))

    @property
    def bind(self) -> str:
        """Host and port as gunicorn's `bind` takes them."""
        return bindable(self.host.strip("[]"), self.port)


__all__ = ["MIN_HEAD_SECONDS", "OWN_PREFIX", "Policy", "Retention", "RetentionRule", "Settings"]
