"""Who may do what, and how often. The blueprint is what a client can do about its own right to be here."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("access", __name__)
