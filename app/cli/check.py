"""`bide check`: a canary for monitors, and a doctor for what is between a client and its server."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Generator, Iterator
from typing import Final

import click

from .asking import check_name, token_option, url_of
from .canary import Canary
from .findings import Finding
from .holds import Holds

COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.argument("url", envvar="BIDE_URL", callback=url_of)
@click.option(
    "--channel",
    callback=check_name,
    help="Publish to this one and leave it as it is, instead of one that is deleted afterwards.",
)
@click.option(
    "--idle", is_flag=True, help="Measure how long polls can wait, for about 70 seconds; recommend a timeout."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, at the end.")
@token_option
def check(url: str, channel: str | None, idle: bool, as_json: bool, token: str | None) -> None:
    """Try a server by way of everything between here and there, and say what does not come through. It does what a
    client does, at URL (default: BIDE_URL).

    Each line is ok, warn or fail. The exit code is 0 where nothing failed, 1 where something did, and 2 where it is
    called wrongly.

    \b
    Examples:
      bide check http://127.0.0.1:8000
      bide check --idle https://bide.example.org
      bide check --json --channel monitor https://bide.example.org    # for a monitor, again and again
    """
    try:
        canary = Canary(url, token, channel)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    found: list[Finding] = []
    with contextlib.closing(_findings(canary, url, token, idle)) as findings:
        for finding in findings:
            found.append(finding)
            if not as_json:
                _print(finding)
    is_ok = all(finding.level != "fail" for finding in found)
    if as_json:
        listed = [{"level": each.level, "name": each.name, "text": each.text, **each.figures} for each in found]
        click.echo(json.dumps({"url": url, "ok": is_ok, "findings": listed}, ensure_ascii=False))
    if not is_ok:
        sys.exit(1)


def _findings(canary: Canary, url: str, token: str | None, idle: bool) -> Generator[Finding]:
    try:
        yield from canary.findings()
        if idle and canary.can_poll:
            yield from _measured(Holds(url, token, canary.channel))
    finally:
        # Also where it is interrupted, when nobody listens to what is found any more.
        left_behind = canary.clean_up()
    if left_behind is not None:
        yield left_behind


def _measured(holds: Holds) -> Iterator[Finding]:
    is_terminal = sys.stderr.isatty()
    try:
        click.echo(holds.announcement, err=True)
        while not holds.is_over:
            if is_terminal:
                click.echo(f"\r{holds.past_seconds:.0f} s", nl=False, err=True)
            time.sleep(0.1)
        if is_terminal:
            click.echo("\r\x1b[K", nl=False, err=True)
        yield from holds.findings()
    finally:
        holds.end()


def _print(finding: Finding) -> None:
    click.echo(f"{click.style(f'{finding.level:5}', fg=COLOURS[finding.level])} {finding.name:11} {finding.text}")
