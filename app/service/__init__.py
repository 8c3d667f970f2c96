"""What the server says of itself: a greeting, and whether it is alive and ready."""

from __future__ import annotations

from flask import Blueprint

from . import health

blueprint = Blueprint("service", __name__)

_route = blueprint.add_url_rule
_route("/", view_func=health.greet, methods=["GET"])
_route("/healthz", view_func=health.alive, methods=["GET"])
_route("/readyz", view_func=health.ready, methods=["GET"])
