"""Who may ask for what: the one table of what each call needs, and the check that every request passes.

With a key (`BIDE_JWT_SECRET`, `BIDE_JWT_PUBLIC_KEY`, `BIDE_JWKS_URL`) a call of this server's own that is not in the
table is refused, so that one that was forgotten is closed and not open. What an embedding application adds to the app
is its own to guard. Without a key everything is open to whoever reaches the server; `origins.py` says who does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

from flask import Flask

from ..config import Settings
from ..dispatch import current_request
from ..errors import Forbidden
from .credentials import Credentials
from .permit import Permit, Right

#: Where a request's permit is in its environ; none where there is no key.
PERMIT: Final = "bide.permit"


class Need(NamedTuple):
    """What a call needs: a right for channels, which are `of` an argument of its path, or named in its body, or all
    those that it lists: then the view asks the permit, by `permit_of`."""

    right: Right
    of: Literal["channel", "channels", "body", "list"]


class Administration(NamedTuple):
    """The call is about no channel in particular: it needs the right to administer all of them."""


class Nothing(NamedTuple):
    """The call is open to anyone."""


class Valid(NamedTuple):
    """Any valid token does, whatever it allows."""


OPEN: Final = Nothing()
VALID: Final = Valid()
ADMIN: Final = Administration()

#: By endpoint. Read top to bottom it says who may do what.
NEEDS: Final[Mapping[str, Need | Administration | Valid | Nothing]] = {
    "channels.publish": Need("publish", "channel"),
    "channels.publish_several": Need("publish", "body"),
    "channels.subscribe": Need("subscribe", "channels"),
    "channels.subscribe_several": Need("subscribe", "body"),
    "channels.list_channels": Need("subscribe", "list"),
    "channels.show_channel": Need("subscribe", "channel"),
    "channels.history": Need("subscribe", "channel"),
    "channels.subscribers": Need("presence", "channel"),
    "channels.delete": Need("admin", "channel"),
    "access.begin_session": VALID,
    "access.end_session": OPEN,
    "access.revoke": ADMIN,
    "service.greet": OPEN,
    "service.alive": OPEN,
    "service.ready": OPEN,
    "service.describe": OPEN,
}

#: What takes a token in the query too, where any call does.
IN_QUERY: Final = frozenset(["channels.subscribe"])


class Verifier(Protocol):
    """What knows tokens: `Tokens`, which only a server with a key imports."""

    def permit(self, text: str) -> Permit:
        """What a token permits. Raises Unauthorized or Unavailable."""


def register(app: Flask, settings: Settings, tokens: Verifier, ours: Iterable[str]) -> None:
    """Let in whose tokens allow what they ask for, and nobody else; `ours` are the blueprints that the table is of."""
    names = frozenset(ours)
    credentials = Credentials(settings.cors_origins, IN_QUERY if settings.token_in_query else ())

    def admit() -> None:
        request = current_request()
        rule = request.url_rule
        if rule is None:
            return  # there is nothing
        environ = request.environ
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return  # it tells what there is, and reaches no view
        need = NEEDS.get(rule.endpoint)
        if need is None:
            blueprint, dot, _ = rule.endpoint.partition(".")
            # Without a dot it is a view of theirs, which may have the same name; or one of ours by another name.
            views = app.view_functions
            guarded = [views.get(known) for known, its in NEEDS.items() if its is not OPEN]
            if (dot and blueprint in names) or views[rule.endpoint] in guarded:
                raise Forbidden("Nobody may call this: it is not said what it needs")
            return
        if not isinstance(need, Nothing):
            permit = environ[PERMIT] = tokens.permit(credentials.find(environ, rule.endpoint))
            named: dict[str, str] = request.view_args or {}
            if isinstance(need, Need) and need.of == "channels":
                permit.check(need.right, named["channels"].split(","))
            elif isinstance(need, Need) and need.of == "channel":
                permit.check(need.right, (named["channel"],))
            elif need is ADMIN:
                permit.check_all()

    app.before_request(admit)


def check_again(environ: Mapping[str, Any], settings: Settings) -> None:
    """Raise Unauthorized where the token has ended since the request began: a body has ten seconds to come."""
    permit = permit_of(environ, settings)
    if permit is not None:
        permit.check_good()


def permit_of(environ: Mapping[str, Any], settings: Settings) -> Permit | None:
    """What the request may do; None where there is no key, and everybody may do everything."""
    if not settings.has_key:
        return None
    permit: Permit = environ[PERMIT]  # without one it fails: nobody has looked at the request
    return permit
