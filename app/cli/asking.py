"""What the commands that talk to a server have in common: which server, for how long, and how failures are told."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import click

from ..client import Client, ClientError
from ..client.places import NAME


def check_url(ctx: click.Context, param: click.Parameter, url: str) -> str:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or True)
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment:
        raise click.BadParameter(f"give one such as http://127.0.0.1:8000, not {url!r}", ctx, param)
    if "@" in parts.netloc:  # and it is not repeated
        raise click.BadParameter("who asks is told by BIDE_TOKEN, not in the URL", ctx, param)
    return url


def _token(ctx: click.Context, param: click.Parameter, token: str | None) -> str | None:
    if token is None or not token.strip():
        return None
    return token.strip()  # a file's last line end


def check_name(ctx: click.Context, param: click.Parameter, found: Any) -> Any:
    """For the option or argument of a channel, or of several, or of none."""
    for channel in () if found is None else (found,) if isinstance(found, str) else found:
        if not NAME.fullmatch(channel):
            raise click.BadParameter(f"{channel!r} is no channel: 1 to 128 of A-Z a-z 0-9 _ . : @ ~ -", ctx, param)
    return found


channel_argument = click.argument("channel", callback=check_name)
channels_argument = click.argument("channels", metavar="CHANNEL...", nargs=-1, required=True, callback=check_name)

_url_option = click.option(
    "--url",
    envvar="BIDE_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    show_envvar=True,
    callback=check_url,
    help="The server.",
)
token_option = click.option(
    "--token",
    envvar="BIDE_TOKEN",
    show_envvar=True,
    callback=_token,
    help="A token for it. Better given in the variable: others on the machine see a command's options.",
)


def asks(patience: float | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A command that is given a `client`; with `patience` it has an option for how long it waits for the server."""

    def wrap(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(url: str, token: str | None, patience: float = 0.0, **rest: Any) -> Any:
            _tell_troubles()
            try:
                client = Client(url, token=token, patience=patience)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            with failures(), client:
                return command(client=client, **rest)

        if patience is not None:
            call = click.option(
                "--patience",
                metavar="SECONDS",
                type=click.FloatRange(0, 86400),
                default=patience,
                show_default=True,
                help="How long to try again where the server does not answer; what is wrong is said at once.",
            )(call)
        return _url_option(token_option(call))

    return wrap


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """What the client raises, as what the command tells."""
    try:
        yield
    except ClientError as error:
        raise click.ClickException(str(error)) from error


def note(sentence: str) -> None:
    """Tell something that is no failure."""
    with contextlib.suppress(OSError):
        click.echo(f"bide: {sentence}", err=True)


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def _tell_troubles() -> None:
    log = logging.getLogger("bide.client")
    log.handlers = [_Notes()]
    log.propagate = False
