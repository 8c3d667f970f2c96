"""What gunicorn tells of requests that it cannot read: of their own words only as many as show what is wrong.

It quotes the line at fault, in its log and in its answer, and in its log at `debug` a head that was cut off. A client
that forgets a colon, breaks a line or sends its token where another field is to be would leave it in the log, for
whoever reads that.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.workers.base_async import AsyncWorker

#: Of a token's signature, 43 characters at least, so many are worth nothing.
MOST_CHARACTERS: Final = 30
#: What errors keep of a request; all the rest that they have is gunicorn's own words.
_QUOTED: Final = ("buf", "data", "expect", "hdr", "line", "method", "req", "term", "version")


def quote_little(worker: AsyncWorker) -> None:
    """Have the worker answer and log so."""
    handle_error = worker.handle_error

    def handle(req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        _cut(exc)
        handle_error(req, client, addr, exc)

    worker.handle_error = handle  # type: ignore[method-assign]  # of this one, whichever class it has
    worker.log.error_log.addFilter(_cut_record)


def _cut_record(record: logging.LogRecord) -> bool:
    for value in record.args if isinstance(record.args, tuple) else ():
        _cut(value)
    return True


def _cut(error: object) -> None:
    if isinstance(error, ParseException | NoMoreData):
        for name in _QUOTED:
            words = getattr(error, name, None)
            if isinstance(words, str | bytes):
                setattr(error, name, words[:MOST_CHARACTERS])
