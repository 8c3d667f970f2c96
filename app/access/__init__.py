"""Who may do what, and how often. The blueprint is what a client can do about its own right to be here."""

from __future__ import annotations

from flask import Blueprint

from . import revoking, sessions

blueprint = Blueprint("access", __name__)

_route = blueprint.add_url_rule
_route("/auth/session", endpoint="begin_session", view_func=sessions.begin, methods=["POST"])
_route("/auth/session", endpoint="end_session", view_func=sessions.end, methods=["DELETE"])
_route("/auth/revoke", view_func=revoking.revoke, methods=["POST"])
