"""A layer around the app for tests of the worker's two roads: says which one a request went, and fails in many ways.

A gunicorn configuration calls `around` with its post_worker_init. Paths that begin with /-odd-/ are answered here, all
others by the app.
"""

import tempfile

import gevent

from app.worker.plain import PlainRequest

#: What `/-odd-/file` sends.
FILE = b"0123456789" * 20_000
#: How long a client has to leave before `/-odd-/not-bytes-later` fails.
LATER_SECONDS = 0.3


class Parts:
    """An answer that breaks off after so many parts."""

    closed = 0

    def __init__(self, count):
        self.left = count

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise RuntimeError("of this test")
        self.left -= 1
        return b"part"

    def close(self):
        Parts.closed += 1


def answer(what, environ, start_response):
    sized = [("Content-Type", "text/plain"), ("Content-Length", "100")]
    if what == "road":
        request = start_response.__self__.req
        road = b"plain" if isinstance(request, PlainRequest) else b"parsed"
        start_response("200 OK", [("Content-Length", str(len(road))), ("X-Method", environ["REQUEST_METHOD"])])
        return [road]
    if what == "raises":
        raise RuntimeError("of this test")
    if what == "raises late":
        start_response("200 OK", sized)(b"part")
        raise RuntimeError("of this test")
    if what == "raises unsent":
        start_response("200 OK", sized)
        raise RuntimeError("of this test")
    if what == "breaks off":
        start_response("200 OK", sized)
        return Parts(3)
    if what == "breaks off unsized":
        start_response("200 OK", [])
        return Parts(3)
    if what == "breaks off at once":
        start_response("200 OK", sized)
        return Parts(0)
    if what == "says nothing":
        return [b"part"]
    if what == "not bytes":
        start_response("200 OK", sized)
        return ["part"]
    if what == "not bytes later":
        start_response("200 OK", sized)
        return (gevent.sleep(LATER_SECONDS) or "part" for _ in "1")
    if what == "a bad status":
        start_response("fine", sized)
    if what == "a bad header":
        start_response("200 OK", [("X", "a\r\nb")])
    if what == "too much":
        start_response("200 OK", [("Content-Length", "3")])
        return [b"part", b"part"]
    if what == "no content":
        start_response("204 No Content", [])
        return []
    if what == "unsized":
        start_response("200 OK", [])
        return [b"a", b"", b"b"]
    if what == "hints":
        environ["wsgi.early_hints"]([("Link", "</a>")])
    if what in ("file", "sized file"):
        file = tempfile.TemporaryFile()  # noqa: SIM115  # gunicorn closes it
        file.write(b"before" + FILE)
        file.seek(6)
        start_response("200 OK", [("Content-Length", str(len(FILE)))] if what == "sized file" else [])
        return environ["wsgi.file_wrapper"](file)
    if what == "errors":
        print("told by the app", file=environ["wsgi.errors"], flush=True)
    body = b"%d" % Parts.closed
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def around(post_worker_init):
    def init(worker):
        post_worker_init(worker)
        app = worker.wsgi

        def layer(environ, start_response):
            _, odd, what = environ["PATH_INFO"].rpartition("/-odd-/")
            return answer(what.replace("-", " "), environ, start_response) if odd else app(environ, start_response)

        worker.wsgi = layer

    return init
