"""The very app of wsgi.py, which remembers for tests what browsers asked: `gunicorn tests.support.overheard:app`."""

from flask import request

from wsgi import app

_heard = []


@app.after_request
def _hear(response):
    if not request.path.startswith("/-test-/"):
        names = ("Origin", "Sec-Fetch-Site", "Access-Control-Request-Method")
        asked = [request.headers.get(name) for name in names]
        _heard.append([request.method, request.path, response.status_code, *asked])
    return response


@app.get("/-test-/heard")
def _tell():
    return _heard
