"""The command `bide`: `serve`, and what people and shell scripts ask of a server."""

from __future__ import annotations

import click

from .check import check


@click.group()
def main() -> None:
    """Bide, a real-time channel server over plain HTTP."""


main.add_command(check)
