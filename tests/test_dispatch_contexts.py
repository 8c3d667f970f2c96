"""Bide's Flask beside plain Flask: contexts and signals. Both do the same, and leave nothing behind."""

import contextlib
import gc
import io
import weakref

import flask
import gevent
import pytest
from flask import copy_current_request_context, current_app, g, request, session, signals, url_for
from gevent import GreenletExit

from app.dispatch import ChannelsFlask, current_environ
from tests.support.twins import alike

OF_REQUESTS = ["request_started", "request_finished", "request_tearing_down"]
SIGNALS = [*OF_REQUESTS, "got_request_exception", "appcontext_pushed", "appcontext_popped", "appcontext_tearing_down"]


def plain_views(app, note):
    def show(**arguments):
        note(request.method, request.path, request.args.to_dict(), current_app.name, url_for("show", a=1))
        note(request.endpoint, request.url_rule.rule, request.view_args, arguments, g.setdefault("n", 0))
        note(flask.has_request_context(), flask.has_app_context(), current_environ() is request.environ)
        g.n += 1
        return "shown"

    app.add_url_rule("/", "show", show)
    app.add_url_rule("/bug", "bug", lambda: 1 / 0)


@pytest.fixture
def told():
    """Who is told of signals; at the end nobody is."""
    kept = []

    def connect(names, note, sender=None):
        for name in names:

            def hear(sender, name=name, **more):
                more.pop("_async_wrapper", None)
                note(name, sender.name, sorted(more), flask.has_request_context(), repr(more.get("exc")))

            kept.append((getattr(signals, name), hear))
            getattr(signals, name).connect(hear, **({} if sender is None else {"sender": sender}))

    yield connect
    for signal, hear in kept:
        signal.disconnect(hear)


def test_views_find_what_they_find_in_flask():
    alike(plain_views, "GET /?q=1&q=2", "HEAD /", "GET /bug")


@pytest.mark.parametrize("names", [[name] for name in SIGNALS] + [SIGNALS])
@pytest.mark.parametrize("teardowns", [False, True])
def test_whoever_listens_to_signals_hears_of_the_same(told, names, teardowns):
    def build(app, note):
        plain_views(app, note)
        if teardowns:
            app.teardown_request(lambda error: note("teardown", repr(error)))
        told(names, note, app)

    done = alike(build, "GET /", "GET /bug", "GET /nowhere", "OPTIONS /")
    assert names[0] in str(done)


def test_what_is_to_be_done_at_the_end_of_a_context_is_done():
    def build(app, note):
        plain_views(app, note)
        app.teardown_appcontext(lambda error: note("end", repr(error)))

    assert "'end'" in str(alike(build, "GET /", "GET /bug")[0])


@pytest.mark.parametrize("name", OF_REQUESTS)
def test_whoever_begins_to_listen_after_the_first_request_hears_of_the_next(told, name):
    def build(app, note):
        plain_views(app, note)
        app.add_url_rule("/connect", "connect", lambda: told([name], note, app) or "connected")

    done = alike(build, "GET /", "GET /connect", "GET /")
    assert name in str(done[-1])
    assert name not in str(done[:3])


def test_a_stream_may_keep_the_contexts_until_its_end():
    def build(app, note):
        @app.get("/")
        def stream():
            g.kept = "kept"

            @flask.stream_with_context
            def parts():
                for _ in range(3):
                    yield f"{request.args['a']} {g.kept} {url_for('stream')},"

            return parts()

    done = alike(build, "GET /?a=1", "GET /?a=2", "HEAD /?a=1")
    assert done[3][1][2] == b"2 kept /," * 3


@pytest.mark.parametrize("read", [0, 1])
def test_a_stream_that_nobody_reads_to_its_end_leaves_nothing_behind(read):
    app = ChannelsFlask("twin", static_folder=None)

    @app.get("/")
    def stream():
        return flask.Response(flask.stream_with_context(request.path for _ in range(3)))

    body = iter(answer := app(flask.testing.EnvironBuilder(app).get_environ(), lambda status, headers: None))
    for _ in range(read):
        assert next(body) == b"/"
    answer.close()
    assert not flask.has_app_context()
    assert not flask.has_request_context()


def test_a_greenlet_may_have_a_copy_of_the_request_s_context():
    def build(app, note):
        begun = []

        @app.get("/")
        def begin():
            g.mine = 1

            @copy_current_request_context
            def work(wait):
                wait()
                note(request.path, request.args.to_dict(), url_for("begin"), "mine" in g)

            gevent.spawn(work, lambda: None).get()
            begun.append(gevent.spawn(work, lambda: gevent.sleep(0)))
            return "begun"

        @app.get("/join")
        def join():
            note("join", len(gevent.joinall(begun)))
            begun.clear()
            return ""

    alike(build, "GET /?a=1", "GET /join")


def test_a_request_within_a_request_gives_the_contexts_back():
    def build(app, note):
        @app.get("/outer")
        def outer():
            g.whose = "outer's"
            client = app.test_client()
            inner = client.get("/inner?a=1").text, client.get("/bug").status_code, client.get("/inner").text
            note(request.path, current_app.name, g.whose)
            return [*inner, request.path]

        @app.get("/inner")
        def inner():
            note(request.path, request.args.to_dict(), g.get("whose"))
            g.whose = "inner's"
            return "inner"

        app.add_url_rule("/bug", "bug", lambda: 1 / 0)

    alike(build, "GET /outer", "GET /inner")


def test_a_request_within_an_app_context_shares_what_it_keeps():
    for kind in (flask.Flask, ChannelsFlask):
        app = kind("twin", static_folder=None)
        app.add_url_rule("/", "show", lambda: str(g.setdefault("kept", 0)))
        with app.app_context():
            g.kept = 5
            assert app.test_client().get("/").text == "5"
            assert g.kept == 5
            other = kind("other", static_folder=None)
            other.add_url_rule("/", "show", lambda: str(g.setdefault("kept", 0)))
            assert other.test_client().get("/").text == "0"
            assert current_app.name == "twin"
        assert not flask.has_app_context()


def test_a_test_client_keeps_the_context_for_as_long_as_it_is_told_to():
    for kind in (flask.Flask, ChannelsFlask):
        app = kind("twin", static_folder=None)
        plain_views(app, lambda *_: None)
        app.secret_key = "k"
        with app.test_client() as client:
            client.get("/?a=1")
            assert (request.args["a"], g.n, dict(session)) == ("1", 1, {})
            client.get("/?a=2")
            assert (request.args["a"], g.n) == ("2", 1)
            with client.session_transaction() as kept:
                kept["k"] = "v"
            client.get("/")
            assert session["k"] == "v"
        assert not flask.has_request_context()
        assert not flask.has_app_context()


@pytest.mark.parametrize("kind", [flask.Flask, ChannelsFlask])
def test_files_that_were_uploaded_are_closed_at_the_end(kind):
    app = kind("twin", static_folder=None)
    kept = []

    @app.post("/")
    def upload():
        kept.append(request.files["f"])
        return request.files["f"].read()

    for _ in range(2):
        assert app.test_client().post("/", data={"f": (io.BytesIO(b"content"), "f")}).data == b"content"
    assert [file.closed for file in kept] == [True, True]


class Stuck(io.BytesIO):
    """A file whose close fails, as one does whose disk is full."""

    def close(self):
        raise OSError(28, "No space left on device")


def misbehave(app, note):
    """Views after which something is left, or fails at the very end."""
    app.add_url_rule("/ok", "ok", lambda: str(g.setdefault("n", 0)))

    @app.get("/stuck")
    def stuck():
        request.files = {"f": Stuck()}
        return "stuck"

    @app.get("/pushed")
    def pushed():
        app.test_request_context("/elsewhere").push()
        return "pushed"

    @app.get("/again")
    def again():
        flask.globals.request_ctx.push()
        return "again"

    @app.get("/exit")
    def leave():
        raise GreenletExit

    @app.get("/answer")
    def answer():
        def application(environ, start_response):
            raise SystemExit(5)

        class Failing(flask.Response):
            def __call__(self, environ, start_response):
                return application(environ, start_response)

        return Failing()


@pytest.mark.parametrize("path", ["/stuck", "/pushed", "/again", "/exit", "/answer"])
def test_the_next_request_finds_nothing_of_one_that_went_wrong(path):
    app = ChannelsFlask("twin", static_folder=None)
    misbehave(app, None)
    client = app.test_client()
    for _ in range(2):
        with contextlib.suppress(OSError, GreenletExit, SystemExit):
            client.get(path)
        assert not flask.has_request_context()
        assert not flask.has_app_context()
        assert client.get("/ok").text == "0"


@pytest.mark.parametrize("path", ["/stuck", "/exit", "/answer"])
def test_what_leaves_an_app_that_failed_is_what_leaves_flask(path):
    alike(misbehave, f"GET {path}", "GET /ok")


def test_a_request_that_was_served_is_not_kept():
    app = ChannelsFlask("twin", static_folder=None)
    kept = []
    app.add_url_rule("/<int:n>", "n", lambda n: kept.append(weakref.ref(request._get_current_object())) or str(n))
    gc.collect()
    gc.disable()
    try:
        for n in (1, 1, 2):
            environ = flask.testing.EnvironBuilder(app, f"/{n}").get_environ()
            b"".join(app(environ, lambda status, headers: None))
        assert [reference() for reference in kept] == [None] * 3
        assert environ["werkzeug.request"] is None
    finally:
        gc.enable()
