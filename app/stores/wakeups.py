"""How the processes that share a file wake one another: an empty datagram to each sibling's unix socket.

The sockets lie in a folder beside the file. A datagram says only "look": what is new is read from the file, so a
lost one, a doubled one or one from a process that died costs nothing but the wait for the safety look.

The path of a unix socket ends at 107 bytes, a data folder's does not: on Linux sockets are reached through the
folder's descriptor in /proc. Where there is no /proc and the path is too long, only the safety look is left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from pathlib import Path

from gevent import socket

log = logging.getLogger("bide.store")

#: A folder's time of change ticks every few milliseconds: what changed less than this ago is listed again.
SETTLED_SECONDS = 0.1


class Wakeups:
    """Sends wake-ups to every sibling that listens at `folder`; receives them after `listen`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._open()
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)
        self._receiver: socket.socket | None = None
        #: This process's name among its siblings, and whether they can wake it.
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.bound = False
        #: Those that took the last wake-up: processes that live, whether or not they come round.
        self.reached: list[str] = []
        self._siblings: list[str] = []
        self._listed_at = -1
        self._said = False

    def listen(self, mark: str) -> None:
        """Make this process one that is woken. `mark` is what whoever looks at its name is to know of it."""
        self.name = f"{self.name}-{mark}"
        self._bind()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._leave()
        self._descriptor = descriptor
        short = f"/proc/self/fd/{descriptor}"
        self._path = short if os.path.isdir(short) else str(self._folder)
        self._listed_at = -1

    def _leave(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1  # the number is given again

    def _bind(self) -> None:
        self.bound = False
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setblocking(False)
        try:
            receiver.bind(f"{self._path}/{self.name}")
            self.bound = True
        except OSError as error:  # the safety look is enough to be right, a socket only makes it quick
            if not self._said:
                log.warning("%s: no other process can wake this one, which hears them later: %s", self._folder, error)
        self._said = not self.bound
        self._receiver = receiver

    def wait(self, seconds: float) -> bool:
        """Wait until woken or the time is up; whether woken. Wake-ups that came together are one."""
        assert self._receiver is not None
        self._receiver.settimeout(seconds)
        try:
            self._receiver.recv(1)
        except OSError:
            if not self._is_there():
                # Somebody tidied up: without it every wake-up would be left to the safety look.
                self._receiver.close()
                with contextlib.suppress(OSError):
                    self._open()
                self._bind()
            return False
        self._receiver.settimeout(0)
        with contextlib.suppress(OSError):
            while True:
                self._receiver.recv(1)
        return True

    def send(self) -> None:
        """Wake every sibling. Never fails: what was to be announced is stored already, and they look for it."""
        self.reached = []
        for name in self.siblings():
            try:
                self._sender.sendto(b"", f"{self._path}/{name}")
                self.reached.append(name)
            except BlockingIOError:
                self.reached.append(name)  # its queue is full of wake-ups: it will look
            except FileNotFoundError:
                self._listed_at = -1
            except ConnectionRefusedError:
                # Its process ended without a word; the name is never bound again.
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self._descriptor)
            except OSError:
                pass  # the safety look is the sibling's way out

    def close(self) -> None:
        self._sender.close()
        if self._receiver is not None:
            self._receiver.close()
        if self.bound:
            with contextlib.suppress(OSError):
                os.unlink(self.name, dir_fd=self._descriptor)
        self._leave()

    def _is_there(self) -> bool:
        try:
            os.stat(self._folder / self.name)
        except OSError:
            return False
        return True

    def siblings(self) -> list[str]:
        """The others that listen, and those that ended without a word since the last wake-up."""
        try:
            found = os.stat(self._descriptor)
            if found.st_nlink == 0:  # the folder was removed: whoever comes makes another
                self._open()
                found = os.stat(self._descriptor)
            changed_at = found.st_mtime_ns
            if changed_at != self._listed_at:
                self._siblings = [name for name in os.listdir(self._descriptor) if name != self.name]
                settled = time.time_ns() - changed_at > SETTLED_SECONDS * 1e9
                self._listed_at = changed_at if settled else -1
        except OSError:
            return []
        return self._siblings


def marks(folder: Path) -> set[str]:
    """The marks of the processes that listen at the folder and live."""
    if not folder.is_dir():
        return set()
    end = Wakeups(folder)
    end.send()
    end.close()
    # Those of earlier versions have none.
    return {name.split("-", 2)[2] for name in end.reached if name.count("-") > 1}
