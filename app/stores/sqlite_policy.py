"""The policy that a file is kept by: written into it by the server that started last, followed by every process.

A process that went on with the policy it once read would delete what the server keeps by now.
"""

from __future__ import annotations

import msgspec

from ..config import Policy
from .sqlite_file import Execute, SQLiteFile


class FilePolicy:
    """The file's policy; `given`, unless it is None, becomes it."""

    def __init__(self, file: SQLiteFile, given: Policy | None) -> None:
        self.current = Policy()
        self._text: str | None = None
        self._versions: dict[Execute, int] = {}
        with file.writing as execute:
            if given is not None:
                text = msgspec.json.encode(given).decode()
                execute("INSERT OR REPLACE INTO meta VALUES ('policy', ?)", (text,))
            self.follow(execute)

    def follow(self, execute: Execute) -> None:
        """Take what another process has written. Called within each transaction that deletes by the policy."""
        # Changes with every commit of any other connection, and is far cheaper to read than a row.
        (version,) = execute("PRAGMA data_version").fetchone()
        if version == self._versions.get(execute):
            return
        row = execute("SELECT value FROM meta WHERE name = 'policy'").fetchone()
        if row is not None and row[0] != self._text:
            self._text = row[0]
            self.current = msgspec.json.decode(row[0], type=Policy)
        self._versions[execute] = version
