"""How far a subscription has come in each of its channels, and the file that keeps it over restarts."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from .errors import BadAnswer, ClientError

#: From where on: an id after which events are wanted, the oldest there is, or only what comes from now on.
Since = int | Literal["oldest", "latest"]
LATEST: Final = "latest"
#: docs/protocol.md, "Channels".
NAME: Final = re.compile(r"[A-Za-z0-9_.:@~-]{1,128}")


class Places:
    """Raises ValueError for names and places that there cannot be, ClientError for a file that cannot be used."""

    def __init__(
        self, channels: Sequence[str], since: Since | Mapping[str, Since], file: str | os.PathLike[str] | None
    ) -> None:
        if not channels or len(set(channels)) != len(channels):
            raise ValueError("Name one channel or more, each once")
        for channel in channels:
            if not NAME.fullmatch(channel):
                raise ValueError(f"{channel!r} is no channel: 1 to 128 of A-Z a-z 0-9 _ . : @ ~ -")
        self.channels = tuple(channels)
        self._file = None if file is None else Path(file)
        known = {} if self._file is None else _load(self._file)
        self.of: dict[str, int | str] = {}
        for channel in channels:
            wanted = since.get(channel, "oldest") if isinstance(since, Mapping) else since
            self.of[channel] = known.get(channel, _place(wanted))
        self._others = {name: id for name, id in known.items() if name not in self.of}
        self._saved: dict[str, int] | None = None
        self.save()  # a file that cannot be written is told of before there is something to lose

    @property
    def has_latest(self) -> bool:
        return LATEST in self.of.values()

    @property
    def cursor(self) -> str:
        """As a poll of these channels sends it."""
        return ",".join(str(place) for place in self.of.values())

    def parsed(self, cursor: object) -> dict[str, int]:
        """What an answer's cursor says of each channel. Raises BadAnswer."""
        parts = str(cursor).split(",")
        if len(parts) != len(self.channels) or not all(part.isascii() and part.isdigit() for part in parts):
            raise BadAnswer(f"The answer's cursor cannot be used: {str(cursor)[:100]!r}")
        return {channel: int(part) for channel, part in zip(self.channels, parts, strict=True)}

    def move(self, places: Mapping[str, int]) -> None:
        """Everything up to these was processed."""
        self.of.update(places)
        self.save()

    def save(self) -> None:
        """Write the file where it has changed. Raises ClientError."""
        if self._file is None:
            return
        known = self._others | {name: id for name, id in self.of.items() if isinstance(id, int)}
        if known == self._saved:
            return
        new = self._file.with_name(f"{self._file.name}.{os.getpid()}.new")
        try:
            # One that is there is whole: whoever dies here leaves the old one.
            with new.open("w", encoding="ascii") as file:
                json.dump(known, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise ClientError(f"The cursor cannot be kept in {self._file}: {error.strerror or error}") from error
        self._saved = known


def _place(since: object) -> int | str:
    if since == "oldest":
        return 0
    if since == LATEST or (isinstance(since, int) and since >= 0):
        return since
    raise ValueError(f"{since!r} is no place to begin at: give 'oldest', 'latest' or an event's id")


def _load(file: Path) -> dict[str, int]:
    try:
        found = json.loads(file.read_text("ascii"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ClientError(f"{file} cannot be read as a file of cursors: {error}") from error
    if not isinstance(found, dict) or not all(type(id) is int and id >= 0 for id in found.values()):
        raise ClientError(f"{file} is no file of cursors, which has an id for each channel")
    return found
