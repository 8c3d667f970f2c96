"""`bide token`: signs a token that says who somebody is and what he may do."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .. import knobs
from ..algorithms import KINDS, algorithm_of
from ..names import MAX_SUBJECT_CHARACTERS, OWN_PREFIX, SUBJECT, is_own, is_pattern, is_subject, resolved
from .output import Output

SECRET: Final = "BIDE_JWT_SECRET"
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: What lives longer than ten years is not meant to end.
MAX_SECONDS: Final = 10 * 365 * 86400

_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])").fullmatch


def _subject(ctx: click.Context, param: click.Parameter, text: str) -> str:
    if not is_subject(text):
        raise click.BadParameter(f"give 1 to {MAX_SUBJECT_CHARACTERS} printable characters", ctx, param)
    return text


def _seconds(ctx: click.Context, param: click.Parameter, text: str) -> int:
    found = _DURATION(text)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds <= MAX_SECONDS:
        raise click.BadParameter(f"{text!r} is no such time: give one such as 90s, 15m, 1h or 7d", ctx, param)
    return seconds


def _rate(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    try:
        if text is not None:
            knobs.rate(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} cannot be used: give {error}", ctx, param) from None
    return text


def _right(name: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(f"--{name}", metavar="PATTERN", multiple=True, help=f"{what} May be given several times.")


@click.command()
@click.argument("subject", callback=_subject)
@_right("publish", "Channels that it may publish to.")
@_right("subscribe", "Channels that it may read.")
@_right("presence", "Channels whose subscribers it may see.")
@_right("admin", "Channels that it may delete; * to revoke tokens too.")
@click.option(
    "--for", "seconds", metavar="TIME", default="1h", show_default=True, callback=_seconds, help="How long it is good."
)
@click.option("--jti", metavar="ID", help="Its own name, by which it can be revoked. One is made where none is given.")
@click.option("--audience", metavar="NAME", envvar="BIDE_JWT_AUDIENCE", show_envvar=True, help="Whom it is for.")
@click.option("--issuer", metavar="NAME", envvar="BIDE_JWT_ISSUER", show_envvar=True, help="Who gives it.")
@click.option("--rate-publish", metavar="RATE", callback=_rate, help="At most so many publishes, such as 10/second.")
@click.option("--rate-subscribe", metavar="RATE", callback=_rate, help="At most so many polls without an event.")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path), help=f"A private key in PEM ({KINDS}).")
@click.option("--kid", metavar="ID", help="The key's id, where the server finds its keys by BIDE_JWKS_URL.")
def token(
    subject: str,
    publish: Sequence[str],
    subscribe: Sequence[str],
    presence: Sequence[str],
    admin: Sequence[str],
    seconds: int,
    jti: str | None,
    audience: str | None,
    issuer: str | None,
    rate_publish: str | None,
    rate_subscribe: str | None,
    key: Path | None,
    kid: str | None,
) -> None:
    """Print a token: who somebody is, and what he may do.

    SUBJECT is who, a person or a program. PATTERN is a channel, or a prefix of channels that ends in *; {sub} in it
    stands for SUBJECT. It is signed with the key in the file of --key, else with the secret in the variable
    BIDE_JWT_SECRET, the one that the server has. There is no option for the secret: others on the machine see a
    command's options, and the shell's history keeps them. Who has the token may do what it says until it ends.

    \b
      bide token ann --subscribe 'news' --subscribe 'user.{sub}' --for 15m
      bide token shop --publish 'orders.*' --for 7d --key shop.pem
      export BIDE_TOKEN=$(bide token me --publish '*' --subscribe '*' --admin '*')
    """
    rights = {"publish": publish, "subscribe": subscribe, "presence": presence, "admin": admin}
    for name, patterns in rights.items():
        for pattern in patterns:
            _check(name, pattern, subject)
    if not any(rights.values()):
        raise click.UsageError("It would allow nothing: give --publish, --subscribe, --presence or --admin")
    own: dict[str, Any] = {name: list(patterns) for name, patterns in rights.items() if patterns}
    rates = {"publish": rate_publish, "subscribe": rate_subscribe}
    if any(rates.values()):
        own["rate"] = {kind: rate for kind, rate in rates.items() if rate}
    now = int(time.time())
    claims = {"sub": subject, "iat": now, "exp": now + seconds, "jti": jti or uuid.uuid4().hex, "bide": own}
    claims |= {name: value for name, value in (("aud", audience), ("iss", issuer)) if value}
    signs_with, algorithm = _secret() if key is None else _private(key)
    Output().line(jwt.encode(claims, signs_with, algorithm, {"kid": kid} if kid else None))


def _check(right: str, pattern: str, subject: str) -> None:
    found = resolved(pattern, subject)
    if not found and is_pattern(pattern.replace(SUBJECT, "x")):
        raise click.UsageError(f"--{right} {pattern!r} matches nothing: {subject!r} cannot be a part of such a channel")
    if not is_pattern(found):
        raise click.UsageError(
            f"--{right} {pattern!r} is no pattern: give a channel, or a prefix of channels that ends in *"
        )
    if right != "admin" and is_own(found):
        raise click.UsageError(f"--{right} {pattern!r} allows nothing: who reads {OWN_PREFIX} channels needs --admin")


def _secret() -> tuple[str, str]:
    text = os.environ.get(SECRET, "").strip()
    if not text:
        raise click.UsageError(f"Set {SECRET} to the server's secret, or give the file of a private key as --key")
    try:
        secret = knobs.secret(text)
        # As the server does: who has the public key of a pair could sign with it too.
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except ValueError as error:
        raise click.UsageError(f"{SECRET} cannot be used: give {error}") from None
    except jwt.InvalidKeyError:
        raise click.UsageError(f"{SECRET} is a key of a pair, or a certificate: give its file as --key") from None
    return secret, "HS256"


def _private(path: Path) -> tuple[Any, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"--key {str(path)!r} cannot be read: {error.strerror}") from None
    try:
        key = load_pem_private_key(data, None)
        algorithm = algorithm_of(key.public_key())
    except TypeError:
        raise click.UsageError(f"--key {str(path)!r} asks for a passphrase: give a key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        algorithm = None
    if algorithm is None:
        raise click.UsageError(f"--key {str(path)!r} cannot be used: give a private key in PEM ({KINDS})")
    return key, algorithm
