"""`bide backup`: a copy of the store's file, whole as of one moment."""

from __future__ import annotations

from pathlib import Path

import click

from ..backup import back_up_store
from ..errors import BideError


@click.command()
@click.argument("copy", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("file", metavar="[STORE]", type=click.Path(path_type=Path), required=False)
def backup(copy: Path, file: Path | None) -> None:
    """Copy the store of this machine while servers use it.

    FILE is made, whole as of one moment; it must not exist. STORE is the store's file, without it that of BIDE_STORE,
    else bide.db in BIDE_DATA_DIR, else data/bide.db. To restore, stop the server, put the copy in the file's place and
    remove the file's -wal and -shm.

    \b
      bide backup /backups/bide-$(date +%F).db
    """
    try:
        back_up_store(copy, file)
    except BideError as error:
        raise click.ClickException(str(error)) from error
