"""Every error that Bide raises on purpose, each with the HTTP status and the sentence it is told in.

    BideError
    ├── SettingsError           a setting cannot be used; the start stops
    ├── InvalidRequest          400  a parameter cannot be used
    │   ├── MessageRequired     400  no message, or an empty one
    │   └── InvalidBody         400  the body is not what its type says
    ├── Unauthorized            401  no valid token
    ├── Forbidden               403  not allowed, whoever asks
    │   ├── ForeignOrigin       403  a web page of another origin asks
    │   └── NotAllowed          403  the token does not allow it
    ├── NoTokens                404  there is no key, and so nothing to do with tokens
    ├── ChannelNotFound         404
    ├── NotAtThisAddress        404  the private address has nothing for clients
    ├── BodyTimeout             408  the body did not arrive in time
    ├── TooLarge                413  a message or a body over its bound
    ├── UnsupportedBody         415  a body type, charset or coding that is not understood
    ├── ForeignHost             421  asked under a name that this server does not serve
    ├── KeyReused               422  an idempotency key came again with other content
    ├── RateLimited             429  the client publishes or polls too often
    ├── TooManyPollsOfClient    429  the client holds as many polls as one may
    ├── Unavailable             503  may be tried again
    │   ├── StoreUnavailable    503  the store is away, full or locked
    │   ├── TooManyPolls        503  this worker holds as many polls as it may
    │   └── TooManyKeys         503  a channel remembers as many idempotency keys as it may
    ├── TooManyChannels         507  one channel more than the bound
    └── TooManyRevocations      507  one revocation more than the bound

They are rendered in one place, `channels/problems.py`, as RFC 9457 problem details: `kind` becomes the stable
`type`, `title` the kind's one sentence, and the exception's text the `detail` of this case.
"""

from __future__ import annotations

from typing import Any


class BideError(Exception):
    """What went wrong in this case, in one sentence that says what would be accepted.

    `param` names the request parameter at fault, `retry_after` is in seconds, `more` holds further members of the
    problem document (RFC 9457, section 3.2).
    """

    status = 500
    kind = "internal-error"
    title = "The server failed"

    def __init__(
        self,
        detail: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.param = param
        self.retry_after = retry_after
        self.more = more or {}


class SettingsError(BideError):
    """A setting cannot be used. Never sent over HTTP: it stops the start."""

    kind = "settings"
    title = "A setting cannot be used"


class InvalidRequest(BideError):
    status = 400
    kind = "invalid-parameter"
    title = "A parameter cannot be used"


class MessageRequired(InvalidRequest):
    kind = "message-required"
    title = "Message content is required"


class InvalidBody(InvalidRequest):
    kind = "invalid-body"
    title = "The request body cannot be read"


class Unauthorized(BideError):
    """`code` is the error code of RFC 6750, section 3.1; none where no token was given."""

    status = 401
    kind = "unauthorized"
    title = "A valid token is needed"

    def __init__(self, detail: str, *, code: str | None = "invalid_token", **more: Any) -> None:
        super().__init__(detail, **more)
        self.code = code


class Forbidden(BideError):
    status = 403
    kind = "forbidden"
    title = "That is not allowed"


class ForeignOrigin(Forbidden):
    kind = "foreign-origin"
    title = "Pages of this origin may not do that"


class NotAllowed(Forbidden):
    kind = "not-allowed"
    title = "The token does not allow that"


class NoTokens(BideError):
    status = 404
    kind = "no-tokens"
    title = "This server has no tokens"


class ChannelNotFound(BideError):
    status = 404
    kind = "channel-not-found"
    title = "There is no such channel"


class NotAtThisAddress(BideError):
    status = 404
    kind = "not-at-this-address"
    title = "That is not served at this address"


class BodyTimeout(BideError):
    status = 408
    kind = "body-timeout"
    title = "The request body did not arrive in time"


class TooLarge(BideError):
    status = 413
    kind = "too-large"
    title = "The content is too large"


class UnsupportedBody(BideError):
    status = 415
    kind = "unsupported-body"
    title = "This kind of body is not understood"


class ForeignHost(BideError):
    status = 421
    kind = "foreign-host"
    title = "This server does not answer under that name"


class KeyReused(BideError):
    status = 422
    kind = "idempotency-key-reused"
    title = "The idempotency key was used for other content"


class RateLimited(BideError):
    """`policy` is what it was refused by, if that has a time of its own for each client: its name, and how often that
    may be in how many seconds."""

    status = 429
    kind = "rate-limited"
    title = "That was asked too often"

    def __init__(self, detail: str, *, policy: tuple[str, int, int] | None = None, **more: Any) -> None:
        super().__init__(detail, **more)
        self.policy = policy


class TooManyPollsOfClient(BideError):
    status = 429
    kind = "too-many-polls-of-client"
    title = "The client holds as many polls as one may"


class Unavailable(BideError):
    status = 503
    kind = "unavailable"
    title = "The server cannot do that now"


class StoreUnavailable(Unavailable):
    kind = "store-unavailable"
    title = "The store cannot be reached"


class TooManyPolls(Unavailable):
    kind = "too-many-polls"
    title = "The server holds as many polls as it may"


class TooManyKeys(Unavailable):
    kind = "too-many-idempotency-keys"
    title = "The channel remembers as many idempotency keys as it may"


class TooManyChannels(BideError):
    status = 507
    kind = "too-many-channels"
    title = "The server keeps as many channels as it may"


class TooManyRevocations(BideError):
    status = 507
    kind = "too-many-revocations"
    title = "The server remembers as many revocations as it may"
