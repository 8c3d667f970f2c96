"""`bide serve`: gunicorn with Bide's settings and worker, wherever Bide is installed."""

from __future__ import annotations

import os
import sys

import click

from ..config import Settings
from ..errors import SettingsError


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen. [env var: HOST; default: 127.0.0.1]")
@click.option("--port", metavar="NUMBER", help="[env var: PORT; default: 8000]")
@click.option(
    "--workers", metavar="NUMBER", help="Processes, which are one server. [env var: WEB_CONCURRENCY; default: 1]"
)
@click.argument("options", metavar="[-- GUNICORN'S OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def serve(host: str | None, port: str | None, workers: str | None, options: tuple[str, ...]) -> None:
    """Run the server.

    Everything else is told by variables, BIDE_STORE, BIDE_RETENTION_EVENTS and more (docs/operations.md). What is
    published is kept in BIDE_DATA_DIR, without it in the folder data of the one where this is called. SIGTERM and
    Ctrl-C stop it so that no client is cut off; SIGHUP starts its workers anew.

    \b
      bide serve
      BIDE_STORE=memory:// bide serve --port 9000
      bide serve --workers 4 -- --access-logfile -
    """
    given = {"HOST": host, "PORT": port, "WEB_CONCURRENCY": workers}
    os.environ.update({name: text for name, text in given.items() if text is not None})
    if not os.environ.get("WEB_CONCURRENCY", "1"):  # gunicorn would stumble over it
        del os.environ["WEB_CONCURRENCY"]
    try:
        Settings.from_environment()
    except SettingsError as error:
        raise click.UsageError(f"{error}") from None
    package = (__package__ or "").rpartition(".")[0]
    command = [sys.executable, "-m", "gunicorn", "-c", f"python:{package}.gunicorn_conf", *options]
    # In this process's place, so that whoever started it stops gunicorn itself, and SIGUSR2 finds its command line.
    os.execv(sys.executable, [*command, f"{package}:create_app()"])
