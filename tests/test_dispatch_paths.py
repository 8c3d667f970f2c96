"""Bide's Flask beside plain Flask: paths, methods, redirects and hosts, and which matches are remembered."""

import flask
import pytest
from flask import request, url_for
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import BaseConverter, Rule

from app import dispatch
from app.dispatch import ChannelsFlask
from tests.support.twins import alike


def route_all(app, note):
    app.add_url_rule("/slash/", "slash", lambda: "slash")
    app.add_url_rule("/leaf", "leaf", lambda: "leaf")
    app.add_url_rule("/page/<int:n>", "page", lambda n: f"page {n}")
    app.add_url_rule("/page/", "first", lambda n: f"first {n}", defaults={"n": 1})
    app.add_url_rule("/other", "other", lambda: url_for("leaf", _external=True), methods=["POST", "PUT"])
    app.add_url_rule("/other", "that", lambda: url_for("page", n=3, q="a b"), methods=["GET"])
    app.url_map.add(Rule("/old", redirect_to="leaf"))
    app.add_url_rule("/any/<path:rest>", "any", lambda rest: rest)


def test_paths_methods_and_redirects():
    lines = ["/slash", "/slash/", "/slash?a=b&c=%20d", "/leaf/", "/leaf", "//leaf", "/page/2", "/page/x", "/page/"]
    lines += ["/other", "/old", "/old?q=1", "/any/a/b%20c/%C3%BC", "/any/%ff", "/ANY/x", "/any//x"]
    requests = [f"{method} {path}" for path in lines for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "BREW")]
    done = alike(route_all, *requests)
    found = {line: dict(told[1]).get("Location") for line, told, _ in done}
    assert found["GET /slash?a=b&c=%20d"].startswith("http://shop.example:8000/slash/?a=b")
    alike(route_all, *requests[:6], host="xn--bcher-kva.example")


def test_whoever_would_rather_speak_websocket_is_answered_as_anybody():
    """Flask refuses it, and would not where the path is remembered."""
    app = ChannelsFlask("twin", static_folder=None)
    route_all(app, None)
    for path in ("/leaf", "/leaf", "/slash", "/nowhere"):
        plain = app.test_client().get(path)
        other = app.test_client().get(path, headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        assert (other.status, other.location, other.data) == (plain.status, plain.location, plain.data)


def test_a_host_that_is_no_name_is_answered_as_any():
    """Flask has nothing for it, and would where the path is remembered."""
    app = ChannelsFlask("twin", static_folder=None)
    route_all(app, None)
    for path, status in (("/leaf", 200), ("/leaf", 200), ("/slash", 308), ("/nowhere", 404)):
        answer = app.test_client().get(path, headers={"Host": "a" * 70 + ".example"})
        assert answer.status_code == status


def test_an_app_without_a_request_builds_the_urls_of_its_configured_name():
    def build(app, note):
        app.config["SERVER_NAME"] = "named.example"
        route_all(app, note)
        with app.app_context():
            note(url_for("leaf"), url_for("page", n=4))

    alike(build, "POST /other", "GET /slash")


@pytest.mark.parametrize("names", [["shop.example"], ["another.example"]])
def test_only_trusted_hosts_are_served_where_some_are_named(names):
    def build(app, note):
        app.config["TRUSTED_HOSTS"] = names
        route_all(app, note)

    other = {"base_url": "http://another.example"}
    alike(build, "GET /leaf", ("GET /leaf", other), "GET /slash", ("GET /slash", other), "POST /other")


def test_a_mounted_app_knows_its_prefix():
    def build(app, note):
        route_all(app, note)
        app.add_url_rule("/where", "where", lambda: [request.script_root, request.path, url_for("leaf")])
        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/a": app.wsgi_app, "/a/b": app.wsgi_app})

    done = alike(build, *[f"GET {at}{path}" for at in ("", "/a", "/a/b", "/c") for path in ("/where", "/slash")])
    assert b'"/a/b"' in done[12][1][2]


def test_a_path_without_a_path_info_is_the_root():
    app = ChannelsFlask("twin", static_folder=None)
    app.add_url_rule("/", "root", lambda: "root")
    answers = []
    environ = flask.testing.EnvironBuilder(app).get_environ()
    del environ["PATH_INFO"]
    assert b"".join(app(environ, lambda status, headers: answers.append(status))) == b"root"
    assert answers == ["200 OK"]


class Counted(BaseConverter):
    """What it makes of a path depends on more than the path."""

    seen = 0

    def to_python(self, value):
        type(self).seen += 1
        return [value, self.seen]


def test_a_converter_of_the_embedder_is_asked_each_time():
    def build(app, note):
        Counted.seen = 0
        app.url_map.converters["counted"] = Counted
        app.add_url_rule("/<counted:it>/<name>", "view", lambda it, name: [*it, it.append("left")][:2])

    done = alike(build, "GET /a/b", "GET /a/b")
    assert [told[2] for _, told, _ in done] == [b'["a",%d]\n' % n for n in range(1, 7)]


def test_only_paths_that_were_found_are_remembered_and_so_many(monkeypatch):
    monkeypatch.setattr(dispatch, "PATHS", 5)
    app = ChannelsFlask("twin", static_folder=None)
    route_all(app, None)
    client = app.test_client()
    for number in range(20):
        assert client.get(f"/page/{number}").text == f"page {number}"
        assert len(app._matches) <= 5
    app._matches.clear()
    for path in ("/nowhere", "/slash", "/old", "/page/x", "/any/" + "x" * dispatch.PATH_CHARACTERS):
        client.get(path)
        client.delete(path)
    assert app._matches == {}
    client.get("/any/" + "x" * (dispatch.PATH_CHARACTERS - 5))
    assert len(app._matches) == 1
