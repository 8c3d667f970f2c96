"""What the server says of itself: a greeting, whether it is alive and ready, and its description for programs."""

from __future__ import annotations

from flask import Blueprint

from . import description, health

blueprint = Blueprint("service", __name__)

_route = blueprint.add_url_rule
_route("/", view_func=health.greet, methods=["GET"])
_route("/healthz", view_func=health.alive, methods=["GET"])
_route("/readyz", view_func=health.ready, methods=["GET"])
_route("/openapi.json", view_func=description.describe, methods=["GET"])
