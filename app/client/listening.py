"""Events in the background, for a service that has something else to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .backoff import Backoff
from .events import Event
from .subscription import Subscription
from .wire import Wire

log = logging.getLogger("bide.client")


class Listening:
    """Calls `callback` with each event, in a thread of its own (a greenlet where gevent has patched threads).

    An event is processed when the callback has returned. Where it raises, that is logged, and it is called with the
    same event again, after longer and longer pauses.
    """

    def __init__(self, callback: Callable[[Event], object], subscription: Subscription, wire: Wire) -> None:
        self._callback = callback
        self._subscription = subscription
        self._wire = wire
        #: What ended it: a server that refuses it for good, or a cursor that cannot be kept; None where `stop` did.
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="bide-listening", daemon=True)
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End it, and wait for a callback that is at work, so many seconds at most; whether it has ended. Called by the
        callback itself it does not wait."""
        self._subscription.close()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, so many seconds at most. Raises what ended it."""
        self._thread.join(timeout)
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            while (event := self._subscription.fetch()) is not None:
                if self._process(event):
                    self._subscription.commit()
        except BaseException as error:  # a SystemExit too, of which a thread says nothing
            self.error = error
            log.error("%s: no longer listened to: %s", ", ".join(self._subscription.channels), error)

    def _process(self, event: Event) -> bool:
        """Whether the callback has returned, rather than that this was stopped."""
        backoff = Backoff()
        while True:
            try:
                self._callback(event)
                return True
            except Exception:
                log.exception("event %d of %s was not processed; trying again", event.id, event.channel)
            self._wire.rest(backoff.seconds())
            if self._wire.is_cut:
                return False
