"""`create_app`: from settings to a Flask app, part by part."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from flask import Flask

from . import access, channels, guard, refusals, scrub, service, tls
from .access import admission, cors, exposure, limits, origins, private
from .capacity import check_descriptors, share_connections
from .channels import answers, problems
from .config import Settings
from .dispatch import ChannelsFlask
from .errors import SettingsError, StoreUnavailable
from .lifecycle import Gate, find_worker
from .server import Server
from .stores import open_store

log = logging.getLogger("bide")

BLUEPRINTS = (channels.blueprint, service.blueprint, access.blueprint)

#: gunicorn's Arbiter.WORKER_BOOT_ERROR: the master gives up too, and does not start the worker again for ever.
BOOT_ERROR = 3
#: Any other code: the master starts the worker again, and this is how long it waits before, at first and at most.
AGAIN = 1
AGAIN_SECONDS = 1.0
MOST_SECONDS = 10.0


def create_app(settings: Settings | None = None, *, defaults: Mapping[str, Any] | None = None) -> Flask:
    """Make the server: settings, store, and the blueprints that serve them.

    `settings` are read from the environment where they are not given, `defaults` stand for those that are not set
    there. Raises SettingsError for one that cannot be used and StoreUnavailable for a store that cannot be opened; in
    a gunicorn worker either is said in one line, and gunicorn stops; once it had started, a store that cannot be opened
    is tried again by another worker.
    """
    worker = find_worker()
    opening = False
    try:
        if settings is None:
            settings = Settings.from_environment(**(defaults or {}))
        else:
            settings.check()
        if worker is not None and worker.cfg.workers > 1 and settings.store.startswith("memory:"):
            raise SettingsError(
                f"{worker.cfg.workers} workers cannot be used: start one with BIDE_STORE=memory://, "
                "whose events one worker keeps to itself"
            )
        if worker is not None and "BIDE_MAX_POLLS" in os.environ:
            # Only where somebody asked for so many: the default is as many as there can be, wherever it runs.
            check_descriptors(settings.max_polls, worker, private=settings.private_address is not None)
        if worker is not None and settings.private_address is not None:
            private.check(settings.private_address, worker.sockets)
        if worker is not None:
            exposure.check(settings, worker.sockets)
        if worker is not None and settings.tls_cert and not worker.cfg.is_ssl:
            raise SettingsError(
                f"{tls.CERT} cannot be used: this gunicorn speaks plain HTTP; "
                "start `bide serve` or scripts/server, or give it --certfile and --keyfile instead"
            )
        verifier: Any = import_module(".access.verifier", __package__) if settings.has_key else None
        keys = None if verifier is None else verifier.keys_of(settings)
        opening = True
        if worker is not None and settings.tls_cert and worker.cfg.certfile == settings.tls_cert:
            _check_tls(settings, is_first=worker.age <= worker.cfg.workers)
        server = Server(settings, open_store(settings.store_url, settings.policy))
    except (SettingsError, StoreUnavailable) as error:
        if worker is None:
            raise
        with contextlib.suppress(OSError):  # the disk that is full may be the log's too
            print(f"bide: {error}", file=sys.stderr, flush=True)
        if opening and worker.age > worker.cfg.workers:
            # Not the start: others may be serving, and what is wrong with a file must not end them with this one.
            # Longer each time: a disk may stay full for a night.
            time.sleep(min(AGAIN_SECONDS * (worker.age - worker.cfg.workers), MOST_SECONDS))
            sys.exit(AGAIN)
        sys.exit(BOOT_ERROR)
    app = ChannelsFlask(__package__, static_folder=None)
    app.extensions["bide"] = server
    ours = [blueprint.name for blueprint in BLUEPRINTS]
    scrub.scrub_logs()
    app.url_map.merge_slashes = False  # an address with a slash too many is an unknown one, not a redirect
    if settings.cors_origins:
        cors.register(app, settings.cors_origins, ours)
    origins.register(app, settings)
    if settings.private_address is not None:
        private.register(app, settings.private_address)
    problems.register(app)
    answers.register(app)
    if verifier is not None:
        admission.register(app, settings, verifier.tokens_of(keys, server), ours)
    rules = limits.limits_of(settings, server.store, 1 if worker is None else worker.cfg.workers)
    if rules is not None:
        app.extensions[limits.LIMITS] = rules
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    gate = Gate(app.wsgi_app, server.notifier)
    app.wsgi_app = gate.serve  # type: ignore[method-assign]  # how Flask's documentation adds a WSGI layer
    if worker is not None:
        kept = share_connections(worker, settings.max_polls, private=settings.private_address is not None)
        server.subscriber.max_polls = min(settings.max_polls, kept)
        # By default gunicorn lets clients of this machine set SCRIPT_NAME: one that the path does not begin with is a
        # 500, and one that it does begin with leads around the rules of a proxy that passes it on.
        worker.cfg.set("forwarder_headers", "")
        # Whose word is taken for where a client is, is asked for its scheme too.
        worker.cfg.set("forwarded_allow_ips", ",".join(map(str, settings.forwarded_allow_ips)))
        refusals.quote_little(worker)
        if worker.cfg.is_ssl:
            guard.defer_handshakes(worker.cfg)
        server.lifecycle.start(worker, gate, kept)
        atexit.register(server.store.close)
    else:
        server.lifecycle.start(None, gate, 0)
    return app


def _check_tls(settings: Settings, *, is_first: bool) -> None:
    """Say what is wrong with files that may be others than those that the master started with."""
    warning = tls.check(settings.tls_cert, settings.tls_key)
    if warning is not None and not is_first:
        print(f"bide: {warning}", file=sys.stderr, flush=True)
