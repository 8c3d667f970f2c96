"""Flask, without doing for every request what is the same for each.

A poll that is parked at once costs more in Flask than in all that Bide does for it: signals that nobody hears, lists of
functions that nobody registered, and a URL map that is searched for the same path again and again. Here an endpoint's
functions are looked up once, as Flask lets nobody register more after the first request, and what a path has matched is
remembered: 33 µs for a poll instead of 58 (docs/decisions.md). Functions before and after requests, error handlers,
signals, sessions and what is called at the end of a context work as in any Flask application.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flask import Flask, Request, Response, signals
from flask.ctx import RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import NullSession, SecureCookieSession, SecureCookieSessionInterface
from werkzeug.exceptions import BadHost, HTTPException
from werkzeug.routing import MapAdapter, Rule
from werkzeug.routing.converters import DEFAULT_CONVERTERS

if TYPE_CHECKING:  # a module of stubs, there for the type checker alone
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Paths whose match is remembered; above it all are forgotten. As many channels as there may be by default have two
#: each. Longer ones than any channel's are not remembered, so that all together take 20 MB at most.
PATHS: Final = 25_000
PATH_CHARACTERS: Final = 256

#: Who listens to the signals that every request would send.
_RECEIVERS: Final = tuple(
    signal.receivers
    for signal in (
        signals.appcontext_pushed,
        signals.appcontext_popped,
        signals.appcontext_tearing_down,
        signals.request_started,
        signals.request_finished,
        signals.request_tearing_down,
    )
)


class _NoSessions(SecureCookieSessionInterface):
    """Without a secret key there are no sessions: one that says so serves all requests; Flask makes one for each."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return self._none if app.config["SECRET_KEY"] is None else super().open_session(app, request)


class _Context(RequestContext):
    """Flask's context of a request, whose adapter of the URL map is made only when somebody asks for it."""

    def __init__(self, app: Flask, environ: WSGIEnvironment, request: Any = None, session: Any = None) -> None:
        self.app = app
        if request is None:
            request = app.request_class(environ)
            request.json_module = app.json
        self.request = request
        self.flashes = None
        self._session = session
        self._after_request_functions = []
        self._cv_tokens = []

    @cached_property
    def url_adapter(self) -> MapAdapter | None:  # type: ignore[override]  # an attribute of Flask's
        try:
            return self.app.create_url_adapter(self.request)
        except HTTPException as error:
            self.request.routing_exception = error
            return None


class _Plan(NamedTuple):
    """The functions around the view of an endpoint, in the order in which they are called."""

    preprocessors: tuple[Callable[[str | None, dict[str, Any] | None], None], ...]
    before: tuple[Callable[[], Any], ...]
    after: tuple[Callable[[Any], Any], ...]


def current_request() -> Request:
    """The request that is served; as `flask.request`, without its proxies."""
    return _cv_request.get().request


def current_environ() -> WSGIEnvironment:
    """The environ of the request that is served; as `flask.request.environ`, without its proxies."""
    return _cv_request.get().request.environ


def current_app() -> Flask:
    """The app whose request is served; as `flask.current_app`."""
    return _cv_app.get().app


class ChannelsFlask(Flask):
    """See the module's text."""

    session_interface = _NoSessions()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plans: dict[str, _Plan] = {}
        self._matches: dict[tuple[str, str], tuple[Rule, dict[str, Any]]] = {}

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            # At once: each request has a context of the app, too.
            return None if self.config["SERVER_NAME"] is None else super().create_url_adapter(None)
        adapter: Any
        try:
            adapter = super().create_url_adapter(request)
        except BadHost:
            # No name of the DNS. No rule names a host: only a URL that is built would tell of it.
            adapter = self.url_map.bind_to_environ({**request.environ, "HTTP_HOST": ""})
        # Who would rather speak WebSocket (RFC 9110, section 7.8) is answered as anybody; Flask refuses it.
        adapter.url_scheme, adapter.websocket = request.scheme, False
        return adapter  # type: ignore[no-any-return]  # there is one for each request

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is: greenlets wait, and nothing here is a coroutine."""
        return func

    def request_context(self, environ: WSGIEnvironment) -> RequestContext:
        return _Context(self, environ)

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request. Where somebody listens to contexts and requests as such it is Flask's own method."""
        if (
            self.teardown_request_funcs
            or self.teardown_appcontext_funcs
            or any(_RECEIVERS)
            or "werkzeug.debug.preserve_context" in environ
            or self.config["TRUSTED_HOSTS"] is not None
        ):
            return super().wsgi_app(environ, start_response)
        app_context = _cv_app.get(None)
        if app_context is None or app_context.app is not self:
            app_context = self.app_context()
        context = _Context(self, environ)
        # Flask's push() and pop(), without their signals.
        app_token = _cv_app.set(app_context)
        token = _cv_request.set(context)
        app_context._cv_tokens.append(app_token)
        context._cv_tokens.append((token, app_context))
        try:
            try:
                context._session = self.session_interface.open_session(self, context.request)
                if context._session is None:
                    context._session = self.session_interface.make_null_session(self)
                self._match(context)
                response = self._dispatch(context)
            except Exception as error:
                response = self.handle_exception(error)
            return response(environ, start_response)
        finally:
            try:
                context.request.close()
            finally:
                # Whatever happened, and whoever pushed what: the same greenlet serves the next request.
                _cv_request.reset(token)
                _cv_app.reset(app_token)
                # Rings that only the collector would undo.
                app_context._cv_tokens.remove(app_token)
                context._cv_tokens.clear()
                environ["werkzeug.request"] = None

    def _match(self, context: RequestContext) -> None:
        """Find the request's rule. What Werkzeug's converters find depends on method and path alone."""
        request = context.request
        environ = request.environ
        key = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        known = self._matches.get(key)
        if known is not None:
            request.url_rule, arguments = known
            request.view_args = arguments.copy()
            return
        context.match_request()
        if (
            request.url_rule is not None
            and request.view_args is not None
            and len(key[1]) <= PATH_CHARACTERS
            and self._converts_plainly
        ):
            if len(self._matches) >= PATHS:
                self._matches.clear()
            self._matches[key] = request.url_rule, request.view_args.copy()

    @cached_property
    def _converts_plainly(self) -> bool:
        """Whether there are no other converters."""
        plain = set(DEFAULT_CONVERTERS.values())
        return all(type(each) in plain for rule in self.url_map.iter_rules() for each in rule._converters.values())

    def _dispatch(self, context: RequestContext) -> Response:
        """`full_dispatch_request`, by the endpoint's plan."""
        request = context.request
        if request.url_rule is None or request.view_args is None or request.method == "OPTIONS":
            return self.full_dispatch_request()
        self._got_first_request = True
        endpoint = request.url_rule.endpoint
        plan = self._plans.get(endpoint) or self._plan(request, endpoint)
        try:
            answer = None
            for preprocess in plan.preprocessors:
                preprocess(endpoint, request.view_args)
            for before in plan.before:
                answer = before()
                if answer is not None:
                    break
            else:
                answer = self.view_functions[endpoint](**request.view_args)
        except Exception as error:
            answer = self.handle_user_exception(error)
        response = answer if isinstance(answer, Response) else self.make_response(answer)  # type: ignore[arg-type]
        for this in context._after_request_functions:  # may grow meanwhile
            response = this(response)  # type: ignore[assignment]  # none is a coroutine: see ensure_sync
        for after in plan.after:
            response = after(response)
        if not self.session_interface.is_null_session(context._session):
            self.session_interface.save_session(self, context._session, response)  # type: ignore[arg-type]  # it was opened
        return response

    def _plan(self, request: Request, endpoint: str) -> _Plan:
        names = (None, *reversed(request.blueprints))
        plan = self._plans[endpoint] = _Plan(
            tuple(f for name in names for f in self.url_value_preprocessors.get(name, ())),
            tuple(f for name in names for f in self.before_request_funcs.get(name, ())),
            tuple(f for name in reversed(names) for f in reversed(self.after_request_funcs.get(name, ()))),
        )
        return plan
