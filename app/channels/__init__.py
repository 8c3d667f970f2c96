"""The HTTP face of channels. The blueprint's URL map, read top to bottom, is what it can do."""

from __future__ import annotations

from flask import Blueprint

from . import views

blueprint = Blueprint("channels", __name__)

_route = blueprint.add_url_rule
_route("/publish/<channel>", view_func=views.publish, methods=["POST"])
_route("/publish", view_func=views.publish_several, methods=["POST"])
_route("/subscribe/<channels>", view_func=views.subscribe, methods=["GET"])
_route("/subscribe", view_func=views.subscribe_several, methods=["POST"])
_route("/channels", view_func=views.list_channels, methods=["GET"])
_route("/channels/<channel>", view_func=views.show_channel, methods=["GET"])
_route("/channels/<channel>", view_func=views.delete, methods=["DELETE"])
_route("/channels/<channel>/events", view_func=views.history, methods=["GET"])
_route("/channels/<channel>/subscribers", view_func=views.subscribers, methods=["GET"])
