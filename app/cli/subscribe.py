"""`bide subscribe`: events as lines, or each as the work of a command."""

from __future__ import annotations

from typing import Final

import click

from ..client import Client
from ..client.places import Since
from .asking import asks, channels_argument, note
from .executing import Executing
from .output import Output, line_of
from .stopping import Stopping

LIMIT = 100
WORDS: Final[dict[str, Since]] = {"oldest": "oldest", "latest": "latest"}


def _since(ctx: click.Context, param: click.Parameter, text: str) -> Since:
    if text in WORDS:
        return WORDS[text]
    if not (text.isascii() and text.isdigit()):
        raise click.BadParameter(f"give oldest, latest or an event's id, not {text!r}", ctx, param)
    return int(text)


@click.command()
@channels_argument
@click.option(
    "--since",
    metavar="oldest|latest|ID",
    callback=_since,
    default="oldest",
    show_default=True,
    help="From where on: the oldest that is kept, only what comes from now on, or after an event.",
)
@click.option(
    "--cursor", metavar="FILE", help="Go on where the last one with this file had come to; it wins over --since."
)
@click.option(
    "--exec",
    "command",
    metavar="COMMAND",
    help="Run this for each event, with the message on its standard input; an event is done when it succeeds.",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after so many events.")
@click.option("--json", "is_json", is_flag=True, help="The whole event as one line of JSON, rather than its message.")
@asks()
def subscribe(
    client: Client,
    channels: tuple[str, ...],
    since: Since,
    cursor: str | None,
    command: str | None,
    count: int | None,
    is_json: bool,
) -> None:
    """Print the events of channels as they come, or run a command for each.

    A text is printed as it is, other JSON compact. It begins with what is kept already, so that nothing is missed that
    came before it was there; --since latest leaves that out. The server is waited for, as long as it takes.

    With --exec the command finds the message on its standard input, and BIDE_CHANNEL, BIDE_EVENT_ID, BIDE_TIMESTAMP and
    BIDE_TYPE (where there is one) in its environment. Where it fails it is run again with the same event, after longer
    and longer pauses. With --cursor an event that was done stays done over restarts.

    SIGINT and SIGTERM end it with 0, once a command that runs has ended; a second one at once.

    \b
      bide subscribe news user.42
      bide subscribe news --since latest --json | jq .message
      bide subscribe jobs --exec ./worker.sh --cursor jobs.cursor
    """
    limit = LIMIT if count is None else min(count, LIMIT)
    try:
        subscription = client.subscribe(*channels, since=since, cursor_file=cursor, limit=limit)
    except ValueError as error:
        raise click.UsageError(f"{error}") from None
    if command is not None and cursor is None and since == "oldest":
        note("without --cursor FILE the next start begins with the oldest event again")
    output = Output()
    with Stopping(output, subscription.close) as stopping:
        execute = None if command is None else Executing(command, stopping)
        done = 0
        while done != count and (event := subscription.fetch()) is not None:
            line = line_of(event, is_json=is_json)
            if execute is None:
                output.line(line)
            elif not execute(event, line):
                return
            subscription.commit()
            done += 1
