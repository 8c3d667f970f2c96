"""How many connections a worker may have open, and how many of them polls may have: each takes a descriptor."""

from __future__ import annotations

import logging
import resource

from gunicorn.workers.base_async import AsyncWorker

from .errors import SettingsError

log = logging.getLogger("bide")

#: Connections of a worker that are kept for everything but polls, so that a full worker still answers.
SPARE_CONNECTIONS = 100
#: Connections at the private address, which are few: whoever runs the server has it to himself.
PRIVATE_CONNECTIONS = 50
#: Descriptors that are no connections: the store's, the listeners, the loop's.
OWN_DESCRIPTORS = 50


def share_connections(worker: AsyncWorker, max_polls: int, *, private: bool) -> int:
    """Size the worker's pools of connections, and return how many connections polls may have.

    `private` says that one of its listeners is the private address. It is said in the log where that is less than
    `max_polls`.
    """
    # Read by gunicorn's run() after the app was loaded: a pool that is full waits, where a process out of
    # descriptors would fail again and again.
    pool = worker.worker_connections = _most_connections(worker.cfg.worker_connections, worker, private)
    kept = _for_polls(pool)
    if kept < max_polls:
        log.warning(
            "%d polls are held at most, not BIDE_MAX_POLLS=%d: there are %d connections (ulimit -n, "
            "worker_connections), and some are kept for everything else",
            kept,
            max_polls,
            pool,
        )
    return kept


def check_descriptors(polls: int, worker: AsyncWorker, *, private: bool) -> None:
    """Raise SettingsError where this process may not have the descriptors for so many polls."""
    wanted = polls + SPARE_CONNECTIONS
    most = _for_polls(_most_connections(wanted, worker, private))
    if most < polls:
        listeners, others = _shares(worker, private)
        raise SettingsError(
            f"BIDE_MAX_POLLS={polls} cannot be used: give at most {most}, "
            f"or let a process have {wanted * listeners + others} descriptors (ulimit -n)"
        )


def _for_polls(connections: int) -> int:
    return connections - min(SPARE_CONNECTIONS, connections // 10)


def _most_connections(wanted: int, worker: AsyncWorker, private: bool) -> int:
    """How many connections each listener but the private one may have, up to those wanted.

    The limit of descriptors is raised as far as the system lets it be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has no such thing as its own hard limit
        hard = soft
    if hard == resource.RLIM_INFINITY:
        return wanted
    listeners, others = _shares(worker, private)
    return max(1, min(wanted, (hard - others) // listeners))


def _shares(worker: AsyncWorker, private: bool) -> tuple[int, int]:
    """Among how many listeners the descriptors are divided, and how many are put aside for everything else.

    On gunicorn's road each listener has a pool of its own, all of one size, and all polls may come by one of them. On
    that of Bide's worker they share one, and each may have a few more.
    """
    if getattr(worker, "has_own_road", False):
        return 1, OWN_DESCRIPTORS + PRIVATE_CONNECTIONS * (len(worker.sockets) - 1)
    return max(1, len(worker.sockets) - private), OWN_DESCRIPTORS + (PRIVATE_CONNECTIONS if private else 0)
