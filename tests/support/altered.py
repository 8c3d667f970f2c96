"""The very app of wsgi.py as an embedder alters it: each request says what is done to its answer, `X-Do`."""

from functools import partial

from flask import Response, request
from gevent import GreenletExit

from wsgi import app

_server = app.extensions["bide"]
_closed = []


def _read(response):
    found = [
        response.status,
        response.mimetype,
        response.get_data(),
        response.content_length,
        "Server" in response.headers,
    ]
    response.headers["X-Read"] = repr(found)


def _failing(kind):
    def fail(response):
        raise kind("an after_request function failed")

    return fail


_WAYS = {
    "add": lambda response: response.headers.add("X-Value", request.headers["X-Value"]),
    "cookie": lambda response: response.set_cookie("kept", request.headers["X-Value"]),
    "read": _read,
    "remove": lambda response: response.headers.clear(),
    "status": lambda response: setattr(response, "status", "299 Of Another Sort"),
    "no-content": lambda response: setattr(response, "status_code", 204),
    "content": lambda response: response.set_data(b"content"),
    "other": lambda response: Response("other", 202),
    "close": lambda response: response.call_on_close(partial(_closed.append, request.headers["X-Value"])),
    "fail": _failing(RuntimeError),
    "exit": _failing(GreenletExit),
    "quit": _failing(SystemExit),
    "interrupt": _failing(KeyboardInterrupt),
}


@app.after_request
def _alter(response):
    for way in request.headers.get("X-Do", "").split():
        other = _WAYS[way](response)
        response = other if isinstance(other, Response) else response
    return response


@app.get("/-test-/counts")
def _counts():
    return {**_server.counts(), "closed": _closed}
