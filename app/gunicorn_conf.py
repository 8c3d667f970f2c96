"""gunicorn's settings for Bide, each with its reason. What an operator sets comes from the environment.

`gunicorn -c python:bide.gunicorn_conf 'bide:create_app()'` has them, as `bide serve` does; a file of one's own begins
with `from bide.gunicorn_conf import *`, as the checkout's gunicorn.conf.py does.
"""

from __future__ import annotations

import gc
import signal
import ssl
import sys
from collections.abc import Callable

from . import tls
from .config import Settings, bindable
from .errors import SettingsError

try:
    _settings = Settings.from_environment()
    _warning = tls.check(_settings.tls_cert, _settings.tls_key) if _settings.tls_cert else None
except SettingsError as error:
    sys.exit(f"bide: {error}")
if _warning is not None:
    print(f"bide: {_warning}", file=sys.stderr, flush=True)

bind = [_settings.bind]
if _settings.private_address is not None:
    bind.append(bindable(*_settings.private_address))
workers = _settings.workers

# gunicorn's gevent worker, in which a waiting poll needs no greenlet (app/worker). Plain -k gevent serves the same.
worker_class = f"{__package__}.worker.Worker"

# Polls, and as many again of connections that are idle between two of them would do; the app refuses polls above
# BIDE_MAX_POLLS with 503, so that the pool, whose end clients meet as silence, never fills.
worker_connections = _settings.max_polls + 1000

# Read by each worker, so that a reload takes new ones.
certfile = _settings.tls_cert or None
keyfile = _settings.tls_key or None

# Connections that come at once after a restart wait here; the system's own bound is net.core.somaxconn.
backlog = 4096

# A poll may name a hundred channels in its path.
limit_request_line = 8190

# Longer than proxies keep an idle upstream connection (nginx: 60 s), so that they close it and not we, under a request.
keepalive = 75

# Parked polls are answered within BIDE_DRAIN_SECONDS; the rest is for requests that are in work, whose bodies have
# ten seconds to come.
graceful_timeout = max(12, int(_settings.drain_seconds) + 5)

# Proxies are believed what limits believe them; the app sets the same where this file is not used.
forwarded_allow_ips = ",".join(map(str, _settings.forwarded_allow_ips))

# Only the worker's heartbeat, not a bound on requests.
timeout = 60

# A worker that is recycled is a gap for its clients, and one that is forked after the import of the app has
# unpatched sockets.
max_requests = 0
preload_app = False

# Its socket has one path for each user: two servers would fight over it.
control_socket_disable = True


def ssl_context(config: object, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """TLS as app/tls.py has it, for gunicorn's own --certfile too."""
    return tls.harden(default())


def post_fork(server: object, worker: object) -> None:
    """End a worker that is stopped before it began: until it has handlers of its own gunicorn's master's are in place,
    which note a signal for a master that is not there. The worker would serve on until graceful_timeout."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def post_worker_init(worker: object) -> None:
    """Spare the collector what lives as long as the worker, and let it run less often: it costs every poll else."""
    gc.collect()
    gc.freeze()
    # A round over 10,000 young objects takes some milliseconds, in which nobody is answered; over 50,000 30 to 70.
    gc.set_threshold(10_000, 20, 50)


def worker_exit(server: object, worker: object) -> None:
    """Give the collector back what it was spared, or it meets handlers of logging after gevent's modules are gone."""
    gc.unfreeze()
