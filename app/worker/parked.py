"""The parked poll of a connection: what it waits for is looked at in its turn, and then answered."""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

from gevent.hub import spawn_raw

from ..deadlines import Deadlines
from ..grant import Grant, Request
from ..hangup import HangUps
from ..waiter import Waiter
from .fanout import Fanout, ParkedWaiter, Standing
from .request import SocketOfRequest
from .runqueue import RunQueue
from .state import ANSWERED, PARKED, READING, State

log = logging.getLogger("bide")

#: When so much is kept behind a parked poll no more is read: the rest is the system's to keep, for thousands of polls.
BEHIND_BYTES: Final = 4096
HEAD_END: Final = b"\r\n\r\n"
#: Read at once. Most heads are far shorter.
READ_BYTES: Final = 8192


class Office(Protocol):
    """What a connection has of its worker."""

    deadlines: Deadlines
    hang_ups: HangUps
    fanout: Fanout
    run_queue: RunQueue
    #: How long a connection may be idle, in seconds.
    keepalive: float
    #: Whether each request is told to the access log.
    logs_requests: bool

    @property
    def closes_polls(self) -> bool:
        """Whether a connection ends with the answer of its poll."""

    def closed(self, connection: Any) -> None:
        """The connection has ended."""

    def log_answer(self, request: Request, size: int) -> None:
        """Tell the access log of a poll that was answered with a body of so many bytes."""


class HolderOfPoll(SocketOfRequest):
    """As much of a connection as has to do with its poll."""

    __slots__ = ("_grant", "_is_looking", "_is_queued", "_standing", "_worker", "state")

    def __init__(self, sock: Any, worker: Office) -> None:
        super().__init__(sock)
        self._worker = worker
        self.state: State = READING
        self._grant: Grant | None = None
        self._standing: Standing | None = None
        self._is_queued = False
        self._is_looking = False

    # What the connection itself does, in connection.py.

    def on_readable(self) -> None:
        raise NotImplementedError

    def close(self, *_: Any) -> None:
        raise NotImplementedError

    def _wake_at(self, when: float | None) -> None:
        raise NotImplementedError

    def _write(self, data: bytes, closes: bool) -> None:
        raise NotImplementedError

    def _write_rest(self, data: bytes, closes: bool) -> None:
        raise NotImplementedError

    def _read_on(self) -> None:
        raise NotImplementedError

    def waiter(self) -> Waiter:
        """A waiter for the poll of the request that is served."""
        return ParkedWaiter(self)

    @property
    def logs_requests(self) -> bool:
        """Whether the grant is to keep what gunicorn's access log tells of its request."""
        return self._worker.logs_requests

    def hold(self, grant: Grant) -> None:
        """Keep the grant of the request that is served; it is parked when the view is done and its head is known."""
        self._grant = grant

    def _park(self, grant: Grant) -> None:
        self.state = PARKED
        self._watch_behind_poll()
        self._stand(grant)

    def _stand(self, grant: Grant) -> None:
        """The poll waits where it is."""
        shares = grant.shares
        self._standing = None if shares is None else self._worker.fanout.standing(shares)
        self._wake_at(grant.wake_at)
        if grant.poll.waiter.is_roused:
            self.enqueue()

    def stand_alone(self) -> None:
        self._standing = None

    def _read_behind_poll(self) -> None:
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hung_up()
            return
        self.unread += data
        if len(self.unread) > BEHIND_BYTES:
            self._watch_behind_poll()

    def _watch_behind_poll(self) -> None:
        if len(self.unread) <= BEHIND_BYTES:
            self._watcher.start(self.on_readable)
            return
        # No more is read, so that only the system can still tell when the client goes.
        self._watcher.stop()
        self._worker.hang_ups.remove(self.fileno())  # of a grant that lives on
        self._worker.hang_ups.add(self.fileno(), self._hung_up)

    def _hung_up(self) -> None:
        self._watcher.stop()
        if self._grant is not None:
            self._grant.poll.waiter.hang_up()

    def enqueue(self) -> None:
        """There may be something for the parked poll: look at it in its turn."""
        if self.state is PARKED and not self._is_queued:
            self._is_queued = True
            self._worker.fanout.add(self)

    def proceed(self) -> None:
        """It is the parked poll's turn."""
        self._is_queued = False
        grant, standing = self._grant, self._standing
        if self.state is not PARKED or grant is None or self._is_looking:
            return
        try:
            if standing is not None and (data := standing.data) is not None:
                self._send(grant, data, standing.closes)
            elif grant.poll.waiter.ending == "hung up":
                self._answer(grant)
            elif grant.poll.needs_store:
                self._is_looking = True
                spawn_raw(self._look_into_store, grant)
            else:
                self._look(grant)
        except Exception:
            self._give_up()

    def _closes(self, grant: Grant) -> bool:
        return grant.closes or self._worker.closes_polls

    def _look_into_store(self, grant: Grant) -> None:
        try:
            self._look(grant)
        except Exception:
            self._give_up()

    def _give_up(self) -> None:
        """Whatever it was: it must not keep the loop from the other polls, nor this one from its end."""
        log.exception("a parked poll could not be answered")
        self.close()

    def _look(self, grant: Grant) -> None:
        try:
            grant.poll.look()
        except Exception:
            log.exception("a parked poll failed")
            grant.poll.waiter.hang_up()
        finally:
            self._is_looking = False
        if self.state is not PARKED:
            return
        if grant.poll.is_over or grant.has_ended:
            self._answer(grant)
        else:
            self._stand(grant)

    def _answer(self, grant: Grant) -> None:
        # Who hung up may still read, if it was only his own direction that he closed, and what he has asked behind the
        # poll is answered too.
        left = grant.poll.waiter.ending == "hung up"
        ends = left and (grant.framing.lives_on or not self.unread)
        closes = ends or grant.has_ended or self._closes(grant)
        page = grant.poll.page()
        if grant.empty is not None and not page.events:
            grant.empty()
        data = grant.framing.frame(grant, page, closes)
        if grant.request is not None:
            self._worker.log_answer(grant.request, len(data.rpartition(HEAD_END)[2]))
        if grant.framing.lives_on and not closes:
            grant.poll.go_on(page)
            self._write(data, closes)
            return
        if self._standing is not None and grant.poll.found:
            self._worker.fanout.share(self._standing, data, closes)
        self._send(grant, data, closes)

    def _send(self, grant: Grant, data: bytes, closes: bool) -> None:
        """Send the last that the grant has to send."""
        grant.closes = closes
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent == len(data):
            self.state = ANSWERED
            self._worker.fanout.add_answered(self)
        else:
            self._let_go(grant)
            self._write_rest(data[sent:], closes)

    def settle(self) -> None:
        grant = self._grant
        if self.state is not ANSWERED or grant is None:
            return
        try:
            self._watcher.stop()  # its client asks again at once, and would call the loop from those who still wait
            grant.poll.answered()
        except Exception:
            self._give_up()

    def put_away(self) -> None:
        grant = self._grant
        if self.state is ANSWERED and grant is not None:
            self._let_go(grant)
            if grant.closes:
                self.close()
            else:
                self._read_on()

    def _let_go(self, grant: Grant) -> None:
        self._wake_at(None)
        self._worker.hang_ups.remove(self.fileno())
        self._grant = None
        grant.end()
