"""Calls to one Redis server, over connections that greenlets share (`redis_way.py`).

redis-py's clients and their defaults are not used: they send a script again whose answer was lost, which appends twice;
the 101st greenlet at once is refused; and a server that stopped answering is waited for without end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from gevent.lock import BoundedSemaphore
from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from ..errors import SettingsError, StoreUnavailable
from .redis_way import KINDS, Way

log = logging.getLogger("bide.store")

#: Calls on their way at a time; the next waits for its turn.
CONNECTIONS: Final = 16
CONNECT_SECONDS: Final = 2.0
#: An answer comes within this, or the server is away.
ANSWER_SECONDS: Final = 5.0
#: What a client is told to wait before it tries again.
RETRY_AFTER: Final = 1
#: What the server refuses is said once in so long, however often it does; a server that came back less long ago is
#: said to be away again only once nothing has worked for AWAY_SECONDS: it may have room for some connections only.
REPEAT_SECONDS: Final = 60.0
AWAY_SECONDS: Final = 1.0


class Script:
    """A Lua script."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.sha = b""


def script(name: str) -> Script:
    """A Lua file of this package."""
    return Script((files(__package__) / name).read_bytes())


class Link:
    """Calls to the server at the URL. Raises SettingsError for one that cannot be used."""

    def __init__(self, url: str) -> None:
        try:
            options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
            self._kind = KINDS[options.pop("connection_class", Connection)]
            self._options = {**_DEFAULTS, **options, **_OURS}
            self._kind(**self._options)  # connects to nothing yet
            if min(options.get("db", 0), *(self._options[name] - 0.001 for name in _DEFAULTS)) < 0:
                raise ValueError("a database is no less than 0, a timeout no less than a millisecond")
        except (TypeError, ValueError, RedisError) as error:
            # The URL itself may have a password in it.
            raise SettingsError(f"BIDE_STORE cannot be used as the URL of a Redis server: {error}") from None
        self.database: int = options.get("db", 0)
        self._idle: list[Way] = []
        self._turns = BoundedSemaphore(CONNECTIONS)
        self.is_away = False
        self._failing_since: float | None = None
        self._back_at = -REPEAT_SECONDS
        self._said: dict[str, float] = {}
        self.closed = False
        #: How many times something was asked.
        self.calls = 0

    def open(self, **options: Any) -> Way:
        """A connection of one's own. Raises RedisError or OSError."""
        return Way(self._kind(**{**self._options, **options}))

    def call(self, *words: Any) -> Any:
        """Send one command. Raises StoreUnavailable; then nobody knows whether it was done."""
        return self.many([words])[0]

    def many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands at once, and return what each answers. Raises StoreUnavailable where one of them failed."""
        answers: list[Any] = self._on(lambda way: way.many(commands))
        return answers

    def run(self, script: Script, keys: Sequence[Any], *arguments: Any) -> Any:
        """Call a script; `Link.RUN` among its arguments stands for the server's run. Raises StoreUnavailable."""
        return self._on(lambda way: _run(way, script, keys, arguments))

    def run_all(self, script: Script, calls: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[Any]:
        """Call a script that may be called twice with several keys and arguments, at once."""
        if not calls:
            return []
        answers: list[Any] = self._on(lambda way: _run_all(way, script, calls))
        return answers

    RUN: Final = object()

    def close(self) -> None:
        self.closed = True
        self._hang_up()

    def _on(self, do: Any) -> Any:
        # A server that does not answer is waited for by each in turn: not by those at the end of a long line.
        if not self._turns.acquire(timeout=ANSWER_SECONDS):
            raise StoreUnavailable("The Redis server does not answer", retry_after=RETRY_AFTER)
        try:
            return self._on_a_way(do)
        finally:
            self._turns.release()

    def _on_a_way(self, do: Any) -> Any:
        if self.closed:
            raise StoreUnavailable("The store was closed", retry_after=RETRY_AFTER)
        way = None
        try:
            way = self._way()
            self.calls += 1
            answer = do(way)
        except ResponseError as error:
            if way is not None:
                self._idle.append(way)
            # One that became a replica: the name leads elsewhere by now.
            if self.closed or isinstance(error, ReadOnlyError):
                self._hang_up()
            raise self.unavailable(error) from error
        except BaseException as error:
            if way is not None:
                way.close()  # an answer may still be to come, and is nobody's
            if not isinstance(error, RedisError | OSError):
                raise  # the greenlet was killed
            if way is None or type(error) is not ConnectionError:
                self._hang_up()  # what befell this one befell those too, likely, and each would be waited for
                raise self.unavailable(error) from error
            # One connection was cut: whether the server is away, the next will show.
            raise StoreUnavailable("The Redis server closed the connection", retry_after=RETRY_AFTER) from error
        self._idle.append(way)
        if self.closed:
            self._hang_up()
        self.back()
        return answer

    def _hang_up(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _way(self) -> Way:
        while self._idle:
            way = self._idle.pop()
            if not way.is_stale:
                return way
            way.close()
        return self.open()

    def unavailable(self, error: BaseException) -> StoreUnavailable:
        """What to raise for an error of the server or of the network; said in the log when it is new."""
        now = time.monotonic()
        if isinstance(error, ResponseError):
            # Reads may go well meanwhile: it is not away, and does not come back. A node of a cluster tells of slots by
            # their numbers.
            kind = "".join(filter(str.isalpha, f"{type(error).__name__} {str(error)[:20]}"))
            if now - self._said.get(kind, -REPEAT_SECONDS) >= REPEAT_SECONDS:
                self._said[kind] = now
                log.error("the Redis server refuses: %s", error)
            return StoreUnavailable("The Redis server refuses that now", retry_after=RETRY_AFTER)
        if self._failing_since is None:
            self._failing_since = now
        lasts = now - self._failing_since >= AWAY_SECONDS or now - self._back_at >= REPEAT_SECONDS
        if lasts and not self.is_away:
            self.is_away = True
            log.warning("the Redis store is away: %s", error)
        what = "refuses the password" if isinstance(error, AuthenticationError) else "cannot be reached"
        return StoreUnavailable(f"The Redis server {what}", retry_after=RETRY_AFTER)

    def back(self) -> None:
        """It works."""
        self._failing_since = None
        if self.is_away:
            self.is_away = False
            self._back_at = time.monotonic()
            log.warning("the Redis store is back")


_DEFAULTS: Final[dict[str, Any]] = {
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_timeout": ANSWER_SECONDS,
}
#: Whatever the URL says.
_OURS: Final[dict[str, Any]] = {
    "retry": Retry(NoBackoff(), 0),
    "health_check_interval": 0,
    "protocol": 2,
    "decode_responses": False,
    "driver_info": None,
}


def _run_all(way: Way, script: Script, calls: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[Any]:
    if not script.sha:
        script.sha = way.call(b"SCRIPT", b"LOAD", script.text)
    commands = [(b"EVALSHA", script.sha, len(keys), *keys, *arguments) for keys, arguments in calls]
    try:
        return way.many(commands)
    except NoScriptError:
        script.sha = way.call(b"SCRIPT", b"LOAD", script.text)
        return way.many(commands)


def _run(way: Way, script: Script, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
    words = [len(keys), *keys, *[way.run if argument is Link.RUN else argument for argument in arguments]]
    if script.sha:
        try:
            return way.call(b"EVALSHA", script.sha, *words)
        except NoScriptError:
            pass  # a server that was started anew, or SCRIPT FLUSH
    script.sha = way.call(b"SCRIPT", b"LOAD", script.text)
    return way.call(b"EVALSHA", script.sha, *words)
