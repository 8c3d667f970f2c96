"""`bide history`: what is kept of a channel."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from ..client import Client, Event
from .asking import asks, channel_argument, note
from .output import Output, line_of, rich_for, text_of, visible

PAGE = 1000
#: Above every id.
END = 2**53 - 1


@click.command()
@channel_argument
@click.option("--after", metavar="ID", type=click.IntRange(0), help="Only what came after this event.")
@click.option("--before", metavar="ID", type=click.IntRange(1), help="Only what came before this event.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, PAGE), help="So many: the last ones, or with --after the first ones."
)
@click.option("--json", "is_json", is_flag=True, help="The whole event as one line of JSON, rather than its message.")
@asks(patience=5)
def history(
    client: Client, channel: str, after: int | None, before: int | None, limit: int | None, is_json: bool
) -> None:
    """Print what is kept of a channel, oldest first.

    A text is printed as it is, other JSON compact; on a terminal each with its id and time.

    \b
      bide history news --limit 10
      bide history news --json | jq .timestamp
    """
    output = Output()
    rich = None if is_json else rich_for(sys.stdout, "rich.text")
    console = None if rich is None else rich_for(sys.stdout, "rich.console").Console(highlight=False)
    for event in _events(client, channel, after, before, limit):
        if rich is None or console is None:
            output.line(line_of(event, is_json=is_json))
        else:
            console.print(_drawn(rich, event), soft_wrap=True)


def _drawn(rich: Any, event: Event) -> Any:
    at = f"{datetime.fromtimestamp(event.timestamp):%F %T}"
    kind = "" if event.type is None else f"  {event.type}"
    return rich.Text.assemble((f"{event.id}  {at}", "dim"), (kind, "cyan"), f"  {visible(text_of(event.message))}")


def _events(client: Client, channel: str, after: int | None, before: int | None, limit: int | None) -> Iterator[Event]:
    if limit is not None and after is None:
        yield from client.history(channel, before=before or END, limit=limit).events
        return
    if after is None:
        after = 0
    while True:
        page = client.history(channel, after=after, before=before, limit=limit or PAGE)
        if page.gap:
            note(f"events of {channel} after {after} are gone")
        yield from page.events
        if not page.events or limit is not None:
            return
        after = page.events[-1].id
