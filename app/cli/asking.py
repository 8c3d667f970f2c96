"""What the commands that talk to a server have in common: which server, for how long, and how failures are told."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import click

from ..client import Client, ClientError, NotAllowed
from ..client.places import NAME
from ..client.wire import check_url


def url_of(ctx: click.Context, param: click.Parameter, url: str) -> str:
    try:
        check_url(url)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
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
    callback=url_of,
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
            with failures(has_token=token is not None), client:
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
def failures(*, has_token: bool) -> Iterator[None]:
    """What the client raises, as what the command tells."""
    try:
        yield
    except NotAllowed as error:
        hint = "" if has_token or error.status != HTTPStatus.UNAUTHORIZED else " (in BIDE_TOKEN, or as --token)"
        raise click.ClickException(f"{error}{hint}") from error
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
