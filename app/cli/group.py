"""The commands, each of which is imported when it is called, and how all of them tell what went wrong."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from ..version import VERSION

#: What `bide --help` says of each: importing them all would take longer than saying it.
COMMANDS: Final = {
    "serve": "Run the server.",
    "publish": "Publish a message, or what comes on standard input, a line an event.",
    "subscribe": "Print the events of channels as they come, or run a command for each.",
    "channels": "List the channels.",
    "history": "Print what is kept of a channel, oldest first.",
    "check": "Try a server by way of everything between here and there, and say what does not come through.",
    "token": "Print a token: who somebody is, and what he may do.",
    "backup": "Copy the store of this machine while servers use it.",
}
INTERRUPTED: Final = 130


class Commands(click.Group):
    """Its commands are modules beside this one, each with a click command of the same name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f".{cmd_name}", __package__), cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # such as by `| head`: who read it has what he wanted
            ctx.exit(0)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> NoReturn:
        """Run it, and end the program."""
        before = signal.getsignal(signal.SIGINT)
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
        except (KeyboardInterrupt, click.Abort):
            code = INTERRUPTED
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else prog_name
            code = _tell(f"{error.format_message().rstrip('.')}; see {path} --help", error.exit_code)
        except click.ClickException as error:
            code = _tell(error.format_message(), error.exit_code)
        except Exception as error:
            # A person can do nothing with a trace; what it was is enough to tell us.
            code = _tell(f"{type(error).__name__}: {error}", 1)
        finally:
            signal.signal(signal.SIGINT, before)
        sys.exit(code)


def _tell(sentence: str, code: int) -> int:
    click.echo(f"bide: {sentence}", err=True)
    return code


@click.group(cls=Commands, epilog="Of one of them: bide publish --help")
@click.version_option(VERSION, message="bide %(version)s")
def bide() -> None:
    """Bide, a real-time channel server over plain HTTP.

    \b
      bide serve                                   a server at http://127.0.0.1:8000
      bide subscribe news                          in another terminal: wait for events
      bide publish news "hello, world"             in a third: publish one

    Exit codes: 0 done, 1 failed, 2 cannot be asked so, 130 interrupted.
    """
