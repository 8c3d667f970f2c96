"""`bide channels`: what there is, once or for as long as one looks at it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import click

from ..client import ChannelInfo, Client, Unavailable
from .asking import asks, note
from .output import Output, rich_for

ROUND_SECONDS = 2.0
COLUMNS = ("channel", "subscribers", "events", "last event", "published")


@click.command()
@click.option("--prefix", metavar="TEXT", default="", help="Only those whose names begin so.")
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@asks(patience=5)
def channels(client: Client, prefix: str, watch: bool) -> None:
    """List the channels.

    On a terminal as a table, else a line for each: its name, its subscribers, how many events are kept, the last id,
    and when that was published, with tabs between them and - for what there is not.

    \b
      bide channels
      bide channels --prefix user. --watch
      bide channels | cut -f1
    """
    output = Output()
    rich = rich_for(sys.stdout, "rich.table")
    if not watch:
        found = client.channels(prefix)
        if rich is None:
            _lines(output, found)
        else:
            _console().print(_table(rich, found))
        return
    # As Ctrl-C, so that a terminal's cursor is shown again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if rich is None:
            _repeat(client, prefix, lambda found: _lines(output, found))
        else:
            with rich_for(sys.stdout, "rich.live").Live(console=_console(), auto_refresh=False) as live:
                _repeat(client, prefix, lambda found: live.update(_table(rich, found), refresh=True))
    except KeyboardInterrupt:
        return


def _repeat(client: Client, prefix: str, show: Callable[[Iterable[ChannelInfo]], object]) -> None:
    is_troubled = False
    while True:
        try:
            show(list(client.channels(prefix)))
            is_troubled = False
        except Unavailable as error:
            if not is_troubled:
                note(f"{error}; trying again until it works")
            is_troubled = True
        time.sleep(ROUND_SECONDS)


def _cells(info: ChannelInfo, when: str) -> list[str]:
    told = (info.subscribers, info.events, info.last_event_id)
    return [info.channel, *("-" if each is None else str(each) for each in told), when]


def _lines(output: Output, found: Iterable[ChannelInfo]) -> None:
    for info in found:
        at = info.last_published_at
        output.line(
            "\t".join(_cells(info, "-" if at is None else f"{datetime.fromtimestamp(at).astimezone():%FT%T%z}"))
        )


def _table(rich: Any, found: Iterable[ChannelInfo]) -> Any:
    table = rich.Table(box=None, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("channel", "published") else "right")
    for info in found:
        at = info.last_published_at
        # A channel's name has no square brackets, which rich would take for its own.
        table.add_row(*_cells(info, "-" if at is None else f"{datetime.fromtimestamp(at):%F %T}"))
    return table


def _console() -> Any:
    return rich_for(sys.stdout, "rich.console").Console()
