"""`bide publish`: one message, or standard input line by line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from ..client import Client, ClientError, Refused
from .asking import asks, channel_argument, note
from .lines import groups, message_of
from .output import Output
from .progress import Progress

#: Lines that have come already go together: a server remembers the key of each publish, and not very many.
TOGETHER = 100


@click.command()
@channel_argument
@click.argument("message", required=False)
@click.option("--type", metavar="NAME", help="What kind of event it is, for those who read it.")
@click.option("--json", "is_json", is_flag=True, help="MESSAGE, or each line, is JSON rather than a text.")
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(1, 1000),
    help="So many lines at a time are published together or not at all, with nothing between them.",
)
@asks(patience=30)
def publish(
    client: Client, channel: str, message: str | None, type: str | None, is_json: bool, batch: int | None
) -> None:
    """Publish a message, or what comes on standard input, a line an event.

    Prints the id of each event once it is stored. With - in the place of MESSAGE, or nothing and a pipe, every line of
    standard input is a message. At the first line that cannot be one it ends with 1, says which it is, and publishes
    nothing after it. What has to be sent again, as while the server restarts, is stored once.

    \b
      bide publish news "hello, world"
      bide publish news '{"hello": "world"}' --json
      tail -f app.log | grep --line-buffered . | bide publish logs
      bide publish prices --json --batch 100 < prices.ndjson
    """
    if message is None or message == "-":
        if sys.stdin is None or (message is None and sys.stdin.isatty()):
            raise click.UsageError("Give a MESSAGE, or send lines to standard input")
        with _Publishing(client, channel, type, is_json, batch) as publishing:
            publishing.run(sys.stdin.fileno())
        return
    if batch is not None:
        raise click.UsageError("--batch is for lines of standard input")
    try:
        found = message_of(message.encode(errors="surrogateescape"), is_json=is_json)
    except ValueError as error:
        raise click.UsageError(f"MESSAGE {error}") from None
    Output().line(str(client.publish(channel, found, type=type)))


class _Publishing:
    """Publishes lines, and knows how many of them were acknowledged."""

    def __init__(self, client: Client, channel: str, type: str | None, is_json: bool, batch: int | None) -> None:
        self._client = client
        self._channel = channel
        self._type = type
        self._is_json = is_json
        self._batch = batch
        self._output = Output()
        self._progress: Progress | None = None
        #: Lines that were acknowledged, and that were sent at least.
        self._done = 0
        self._sent = 0
        self._most = TOGETHER

    def __enter__(self) -> _Publishing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._progress is not None:
            self._progress.close()
        if kind is KeyboardInterrupt:
            open_ = f"; {_lines(self._done + 1, self._sent)} may be as well" if self._sent > self._done else ""
            note(f"interrupted: {self._before}{open_}")

    def run(self, number: int) -> None:
        self._progress = Progress(number, self._output)
        for group in groups(number, self._batch or TOGETHER, is_exact=self._batch is not None):
            self._take(group)

    @property
    def _before(self) -> str:
        if self._done == 0:
            return "nothing was published"
        return f"{_lines(1, self._done)} {'was' if self._done == 1 else 'were'} published"

    def _take(self, group: Sequence[bytes]) -> None:
        messages, trouble = [], None
        for line in group:
            try:
                messages.append(message_of(line, is_json=self._is_json))
            except ValueError as error:
                trouble = f"line {self._done + len(messages) + 1} {error}"
                break
        if trouble is None or self._batch is None:
            self._send(messages)
        if trouble is not None:
            raise click.ClickException(f"{trouble}; {self._before}")

    def _send(self, messages: list[Any]) -> None:
        while messages:
            part = messages[: self._batch or self._most]
            self._sent = self._done + len(part)
            try:
                ids = self._client.publish_many(self._channel, part, type=self._type)
            except Refused as error:
                if len(part) > 1 and self._batch is None:
                    # We alone put them together: one of them is at fault, or the server keeps less than so many.
                    self._most = 1
                    continue
                raise self._failure("not published", error) from error
            except ClientError as error:
                raise self._failure("not acknowledged, and may be published all the same", error) from error
            del messages[: len(part)]
            self._acknowledge(ids)

    def _failure(self, what: str, error: ClientError) -> click.ClickException:
        were = "was" if self._sent == self._done + 1 else "were"
        return click.ClickException(f"{_lines(self._done + 1, self._sent)} {were} {what}: {error}; {self._before}")

    def _acknowledge(self, ids: list[int]) -> None:
        self._done += len(ids)
        try:
            self._output.line("\n".join(map(str, ids)))
        except BrokenPipeError:
            raise click.ClickException(f"nobody reads the ids any more; {self._before}") from None
        if self._progress is not None:
            self._progress.tell(self._done)


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"
