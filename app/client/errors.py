"""What a client raises.

    ClientError                 everything below, and the use of a client that was closed
        Unavailable             the server said 5xx, 408, 425 or 429: it may be well again later
            Unreachable         there was no answer: refused, cut, too late
            BadAnswer           there was one that no Bide server gives: half of one, or a proxy's
        Refused                 the server said 3xx or 4xx: the same again would be refused again
            NotAllowed          401 or 403: another token may be allowed it

A subscription tries again for ever what is Unavailable, and a call for as long as the client has patience.
"""

from __future__ import annotations


class ClientError(Exception):
    """Its text is one sentence for people."""


class Unavailable(ClientError):
    """`status` is what the server said, None where it said nothing. `retry_after` is how many seconds it asked to be
    left alone for, None where it did not."""

    def __init__(self, text: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after


class Unreachable(Unavailable):
    pass


class BadAnswer(Unavailable):
    pass


class Refused(ClientError):
    """`status` is what the server said, `param` the name of the parameter that was at fault, where one was. `by_bide`:
    it was said in Bide's own form, and not by something between."""

    def __init__(self, text: str, status: int, param: str | None = None, *, by_bide: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.param = param
        self.by_bide = by_bide


class NotAllowed(Refused):
    pass
