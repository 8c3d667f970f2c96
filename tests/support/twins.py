"""The same app on plain Flask and on Bide's, driven by the same requests: what one does the other does."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from flask import Flask, has_app_context, has_request_context

from app.dispatch import ChannelsFlask

#: A request: method and path, or those and what else Flask's test client takes.
Request = str | tuple[str, dict[str, Any]]
#: Registers what an app has. It is told the app, and where to write down what happened.
Build = Callable[[Flask, Callable[..., None]], object]


def alike(build: Build, *requests: Request, host: str = "shop.example:8000") -> list[Any]:
    """Drive both through the requests, three times each; assert that they did the same, and return it.

    Of each request that is the answer's status, headers and content, or the error that left the app, and then what
    was written down meanwhile.
    """
    plain, ours = (contextvars.Context().run(_drive, kind, build, requests, host) for kind in (Flask, ChannelsFlask))
    assert ours == plain
    return plain


def _drive(kind: type[Flask], build: Build, requests: tuple[Request, ...], host: str) -> list[Any]:
    noted: list[Any] = []
    app = kind("twin", static_folder=None)
    app.logger.disabled = True
    build(app, lambda *words: noted.append(words))
    client = app.test_client()
    done = []
    for request in (request for request in requests for _ in range(3)):
        line, more = (request, {}) if isinstance(request, str) else request
        more = {"base_url": f"http://{host}", **more}
        method, path = line.split()
        try:
            answer = client.open(path, method=method, **more)
            told: Any = answer.status, sorted(answer.headers), answer.data
            answer.close()
        except BaseException as error:
            told = type(error), str(error)
        done.append((line, told, noted.copy()))
        noted.clear()
        # One greenlet serves many requests: what one left behind the next would find.
        assert not has_request_context()
        assert not has_app_context()
    return done
