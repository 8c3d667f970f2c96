"""`create_app`: from settings to a Flask app, part by part."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from flask import Flask

from . import channels, service
from .access import origins
from .channels import problems
from .config import Settings
from .errors import SettingsError, StoreUnavailable
from .lifecycle import Gate, find_worker
from .server import Server
from .stores import open_store

#: gunicorn's Arbiter.WORKER_BOOT_ERROR: the master gives up too, and does not start the worker again for ever.
BOOT_ERROR = 3

#: Connections of a worker that are kept for everything but polls, so that a full worker still answers.
SPARE_CONNECTIONS = 100


def create_app(settings: Settings | None = None, *, defaults: Mapping[str, Any] | None = None) -> Flask:
    """Make the server: settings, store, and the blueprints that serve them.

    `settings` are read from the environment where they are not given, `defaults` stand for those that are not set
    there. Raises SettingsError for one that cannot be used and StoreUnavailable for a store that cannot be opened; in
    a gunicorn worker either is said in one line, and gunicorn stops.
    """
    worker = find_worker()
    try:
        if settings is None:
            settings = Settings.from_environment(**(defaults or {}))
        server = Server(settings, open_store(settings.store_url, settings.policy))
    except (SettingsError, StoreUnavailable) as error:
        if worker is None:
            raise
        print(f"bide: {error}", file=sys.stderr, flush=True)
        sys.exit(BOOT_ERROR)
    app = Flask(__package__, static_folder=None)
    app.extensions["bide"] = server
    app.url_map.merge_slashes = False  # an address with a slash too many is an unknown one, not a redirect
    origins.register(app, settings)
    problems.register(app)
    app.register_blueprint(channels.blueprint)
    app.register_blueprint(service.blueprint)
    gate = Gate(app.wsgi_app, server.notifier)
    app.wsgi_app = gate.serve  # type: ignore[method-assign]  # how Flask's documentation adds a WSGI layer
    if worker is not None:
        connections = worker.cfg.worker_connections
        server.subscriber.max_polls = min(
            settings.max_polls, max(connections - SPARE_CONNECTIONS, connections * 9 // 10)
        )
    server.lifecycle.start(worker, gate)
    return app
