"""Copies a store's file while servers use it: `bide backup`, and `scripts/backup` by `python -m app.backup`.

SQLite's backup API in one step: a read transaction, so that writers go on meanwhile, and the copy is the file as of one
moment. Where the copy is not whole there is none: it is made beside its place, checked, and then put there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import tempfile
from pathlib import Path

from .config import Settings
from .errors import BideError, SettingsError, StoreUnavailable
from .stores import sqlite_path
from .stores.sqlite_file import APPLICATION_ID

USAGE = "usage: scripts/backup COPY [FILE]: FILE is the store's, without it that of BIDE_STORE"


def back_up(file: Path, copy: Path) -> None:
    """Copy the store in `file` to `copy`, which must not exist.

    Raises SettingsError for a file that is none of a store's or a copy that exists, StoreUnavailable for a file that
    cannot be read or a copy that cannot be written.
    """
    if copy.exists():
        raise SettingsError(f"{copy} exists already: give another name, or remove it")
    if not file.is_file():
        raise SettingsError(f"{file} does not exist: give the store's file")
    part = copy
    try:
        # A name of its own: another backup may be under way.
        descriptor, name = tempfile.mkstemp(prefix=f"{copy.name}.", dir=copy.parent)
        os.close(descriptor)
        part = Path(name)
        with (
            contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(part)) as target,
        ):
            if source.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                raise SettingsError(f"{file} is no store of Bide's")
            source.backup(target)
            # One file, without a log beside it.
            target.execute("PRAGMA journal_mode = DELETE")
            problems = target.execute("PRAGMA integrity_check(1)").fetchone()
            if problems != ("ok",):
                raise StoreUnavailable(f"The copy of {file} is not whole: {problems[0]}")
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(part, copy)  # unlike a rename it does not replace what came there meanwhile
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"{file} cannot be copied to {copy}: {error}") from error
    finally:
        if part is not copy:
            part.unlink(missing_ok=True)


def back_up_store(copy: Path, file: Path | None) -> None:
    """Copy the store in `file`, without one that of the environment's settings; see `back_up`."""
    if file is None:
        url = Settings.from_environment().store_url
        file = sqlite_path(url)
        if file is None:
            # Not the whole URL, which may have a password in it.
            raise SettingsError(f"BIDE_STORE={url.partition(':')[0]}:… has no file: give the store's file")
    back_up(file, copy)


def main(arguments: list[str]) -> str | None:
    """Do what the command line asks; returns what went wrong, in one line."""
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        return USAGE
    try:
        back_up_store(Path(arguments[0]), Path(arguments[1]) if arguments[1:] else None)
    except BideError as error:
        return f"bide: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
