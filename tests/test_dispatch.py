"""Bide's Flask beside plain Flask: functions around views, errors, answers and sessions. Both do the same.

Paths are in test_dispatch_paths.py, contexts and signals in test_dispatch_contexts.py.
"""

import logging

import flask
import pytest
from flask import Blueprint, abort, after_this_request, g, request, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner
from werkzeug.exceptions import Conflict, HTTPException

from app.dispatch import ChannelsFlask
from tests.support.twins import alike

STEPS = ["before", "after", "teardown_request", "teardown_appcontext", "url_value_preprocessor", "view"]
PLACES = ["app", "outer", "inner"]
REQUESTS = ["GET /", "GET /outer/7", "GET /outer/inner/x", "POST /", "HEAD /outer/7", "OPTIONS /", "GET /nowhere"]


def nest(app, note, does=lambda step, place: None, teardowns=False):
    """An app with a blueprint in a blueprint, and functions at every place of each. `does` is called in each."""
    outer, inner = Blueprint("outer", "twin"), Blueprint("inner", "twin")
    for name, place in zip(PLACES, (app, outer, inner), strict=True):
        for number in (1, 2):

            def before(name=name, number=number):
                note("before", name, number, request.endpoint, dict(request.view_args or {}))
                return does("before", name)

            def after(response, name=name, number=number):
                note("after", name, number, response.status)
                return does("after", name) or response

            def preprocess(endpoint, arguments, name=name, number=number):
                note("preprocess", name, number, endpoint, arguments)
                if arguments is not None:
                    arguments["seen"] = number
                does("url_value_preprocessor", name)

            place.before_request(before)
            place.after_request(after)
            place.url_value_preprocessor(preprocess)
            if teardowns:

                def teardown(error, name=name, number=number):
                    note("teardown", name, number, repr(error))
                    does("teardown_request", name)

                place.teardown_request(teardown)

    def view(**arguments):
        note("view", arguments, g.get("left"), request.path)
        g.left = True
        arguments["more"] = request.view_args["more"] = 1
        return does("view", request.blueprint or "app") or "viewed"

    if teardowns:

        @app.teardown_appcontext
        def end(error):
            note("end", repr(error))
            does("teardown_appcontext", "app")

    app.add_url_rule("/", "view", view)
    outer.add_url_rule("/<int:number>", "view", view)
    inner.add_url_rule("/<name>", "view", view)
    outer.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(outer, url_prefix="/outer")


@pytest.mark.parametrize("teardowns", [False, True])
def test_functions_around_views_are_called_in_the_same_order(teardowns):
    done = alike(lambda app, note: nest(app, note, teardowns=teardowns), *REQUESTS)
    assert next(noted for line, _, noted in done if line == "GET /outer/inner/x")[0] == (
        ("preprocess", "app", 1, "outer.inner.view", {"name": "x", "seen": 2, "more": 1})
    )
    # The first is looked up, the others are served by what was remembered.
    assert done[0][2] == done[1][2] == done[2][2]


@pytest.mark.parametrize("teardowns", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [ValueError("v"), Conflict("c"), SystemExit(3), KeyboardInterrupt()])
def test_an_error_at_any_step_has_the_same_consequences(error, step, place, teardowns):
    def does(at, name):
        if (at, name) == (step, place) or (at == name == step):
            raise error.with_traceback(None)

    alike(lambda app, note: nest(app, note, does, teardowns), *REQUESTS)


@pytest.mark.parametrize("place", PLACES)
def test_a_before_function_that_answers_is_the_answer(place):
    def does(step, name):
        return ("early", 299, {"X-Early": "1"}) if (step, name) == ("before", place) else None

    done = alike(lambda app, note: nest(app, note, does), *REQUESTS)
    assert "early" in str(done)


@pytest.mark.parametrize("place", PLACES)
def test_an_after_function_may_answer_something_else(place):
    def does(step, name):
        return flask.Response("other", 298) if (step, name) == ("after", place) else None

    alike(lambda app, note: nest(app, note, does), *REQUESTS)


def test_what_is_to_be_done_after_this_request_is_done_once_and_first():
    def build(app, note):
        nest(app, note)

        @app.get("/this")
        def this(**_):
            @after_this_request
            def first(response):
                note("first", response.status)

                @after_this_request
                def second(response):
                    note("second")
                    response.set_cookie("a", "b")
                    return response

                return response

            return "this"

    done = alike(build, "GET /this", "GET /", "GET /this")
    assert [words[0] for words in done[0][2]][-4:] == ["first", "second", "after", "after"]


@pytest.mark.parametrize("settings", [{}, {"PROPAGATE_EXCEPTIONS": True}, {"TESTING": True}, {"DEBUG": True}])
@pytest.mark.parametrize("handlers", [(), ("app",), ("outer",), PLACES])
def test_error_handlers_are_found_by_code_by_kind_and_by_blueprint(handlers, settings):
    errors = {"bug": ZeroDivisionError("z"), "key": KeyError("k"), "conflict": Conflict("c"), "teapot": None}

    def build(app, note):
        app.config.update(settings)
        outer, inner = Blueprint("outer", "twin"), Blueprint("inner", "twin")
        for name, place in zip(PLACES, (app, outer, inner), strict=True):

            def fail(what):
                abort(418) if errors[what] is None else note("failing")
                raise errors[what].with_traceback(None)

            place.add_url_rule("/fail/<what>", "fail", fail)
            if name in handlers:
                place.register_error_handler(418, lambda e, name=name: (f"{name} 418", 418))
                place.register_error_handler(KeyError, lambda e, name=name: {"by": name})
                place.register_error_handler(HTTPException, lambda e, name=name: (f"{name} {e.code}", 297))
                place.register_error_handler(500, lambda e, name=name: (repr(e.original_exception), 500))
        outer.register_blueprint(inner, url_prefix="/inner")
        app.register_blueprint(outer, url_prefix="/outer")

    paths = [f"GET {at}/fail/{what}" for at in ("", "/outer", "/outer/inner") for what in errors]
    alike(build, *paths, "GET /nowhere", "PUT /fail/bug", "GET /fail/key")


ANSWERS = {
    "str": "text",
    "bytes": b"bytes",
    "dict": {"a": 1},
    "list": [1, 2],
    "pair": ("text", 201),
    "headers": ("text", {"X-A": "1"}),
    "triple": ({"a": 1}, "203 Of sorts", [("X-A", "1"), ("X-A", "2")]),
    "none": None,
    "number": 5,
    "odd": ("a", 1, 2, 3),
    "wsgi": Conflict("as an answer"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_view_may_answer_all_that_flask_takes(what):
    alike(lambda app, note: app.add_url_rule("/", "view", lambda: ANSWERS[what]), "GET /", "HEAD /")


def test_a_view_may_answer_a_stream():
    def build(app, note):
        app.add_url_rule("/", "view", lambda: (part for part in ("a", "b")))
        app.add_url_rule("/response", "response", lambda: flask.Response(iter(["a", "b"]), mimetype="text/x"))

    alike(build, "GET /", "GET /response", "HEAD /response")


def test_functions_that_are_registered_late_are_refused_alike():
    def build(app, note):
        @app.get("/")
        def late():
            for register in (app.before_request, app.after_request, app.teardown_request):
                try:
                    register(lambda *_: None)
                    note("taken")
                except AssertionError as refusal:
                    note(str(refusal)[:40])
            return "late"

    done = alike(build, "GET /")
    assert "taken" not in str(done)


def test_a_view_that_is_replaced_is_not_called_again():
    def build(app, note):
        app.add_url_rule("/", "root", lambda: "first")

        @app.post("/replace")
        def replace():
            app.view_functions["root"] = lambda: "second"
            return ""

    done = alike(build, "GET /", "POST /replace", "GET /")
    assert [told[2] for line, told, _ in done if line == "GET /"] == [*[b"first"] * 3, *[b"second"] * 3]


def with_sessions(app, note):
    @app.get("/")
    def count():
        note(session.get("n"), session.new)
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    app.add_url_rule("/read", "read", lambda: str(session.get("n")))
    app.add_url_rule("/none", "none", lambda: "no session")


def test_a_session_is_kept_where_there_is_a_secret_key():
    def build(app, note):
        app.secret_key = "k"
        with_sessions(app, note)

    done = alike(build, "GET /", "GET /read", "GET /none", "GET /")
    assert [told[2] for line, told, _ in done if line == "GET /"] == [b"%d" % n for n in range(1, 7)]


def test_without_a_secret_key_a_session_can_only_be_read():
    alike(with_sessions, "GET /read", "GET /", "GET /none")


@pytest.mark.parametrize("fails", ["", "open_session", "save_session"])
@pytest.mark.parametrize("opens", [True, False])
def test_an_embedder_s_own_sessions_are_opened_and_saved(fails, opens, monkeypatch):
    # A cookie tells when it was signed: the second may be another for the one than for the other.
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda signer: 1)

    def build(app, note):
        class Own(SecureCookieSessionInterface):
            def open_session(self, app, request):
                note("open", request.path, request.url_rule)
                if fails == "open_session":
                    raise ValueError("cannot be opened")
                return super().open_session(app, request) if opens else None

            def save_session(self, app, session, response):
                note("save", dict(session))
                if fails == "save_session":
                    raise ValueError("cannot be saved")
                super().save_session(app, session, response)

        app.session_interface = Own()
        app.secret_key = "k"
        with_sessions(app, note)

    alike(build, "GET /", "GET /read", "GET /")


def test_an_unexpected_error_is_logged_by_flask_as_ever(caplog):
    app = ChannelsFlask("told", static_folder=None)
    app.add_url_rule("/", "root", lambda: 1 / 0)
    with caplog.at_level(logging.ERROR, "told"):
        assert app.test_client().get("/").status_code == 500
    assert [record.getMessage() for record in caplog.records] == ["Exception on / [GET]"]
