"""The suite's way to the server, and what it asks of every answer.

Each request has a connection of its own. A kept one may be closed by the server at the very moment when the
next request goes out, which would make a test fail once in a while; and new ones reach every worker.
"""

import http.client
import json
import socket
import ssl
import threading
import time
from base64 import urlsafe_b64decode
from concurrent.futures import Future
from json import dumps
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

from requests.structures import CaseInsensitiveDict

# Above the longest hold that a server grants by default.
READ_SECONDS = 60
# How long a condition may take to come true on a busy machine.
PATIENCE_SECONDS = 8
# An answer that is not held comes sooner than this, and one that is held for the default 30 s does not.
AT_ONCE_SECONDS = 3

PROBLEM_KEYS = {"type", "title", "status", "error", "detail"}
UNCHECKED = object()


def fresh(prefix="conf"):
    """A channel that no test, and no earlier run, has used."""
    return f"{prefix}-{uuid4().hex[:20]}"


def subject_of(token):
    claims = token.split(".")[1]
    return json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]


class Answer:
    """What came back, by the names that a requests.Response has; `seconds` is how long it took to come whole."""

    def __init__(self, response, begun):
        self.status_code = response.status
        self.headers = CaseInsensitiveDict(response.getheaders())
        self.content = response.read()
        self.seconds = time.monotonic() - begun

    @property
    def text(self):
        return self.content.decode()

    def json(self):
        return json.loads(self.content)


def read_answer(sock, method="GET"):
    begun = time.monotonic()
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    return Answer(response, begun)


class Bide:
    """A server, and the token by which the suite may do everything there, where it has a key."""

    def __init__(self, url, token=None):
        self.url = url.rstrip("/")
        #: Of every request.
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._subject = None if token is None else subject_of(token)
        parts = urlsplit(self.url)
        self.host = parts.netloc
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.base = parts.path
        self._tls = parts.scheme == "https"
        self._address = (parts.hostname, parts.port or (443 if self._tls else 80))

    def request(self, method, path, params=None, headers=None, json=None, data=None):
        """One call as an HTTP library makes it: a parameter that is None is left out, what is no URL is quoted, `json`
        is sent as such, and data that comes in parts is chunked. By http.client, which costs a fifth of requests."""
        if params:
            path += "?" + urlencode({name: value for name, value in params.items() if value is not None})
        headers = self.headers | (headers or {})
        if json is not None:
            data, headers["Content-Type"] = dumps(json), "application/json"
        begun = time.monotonic()
        connection = http.client.HTTPConnection(self.host)
        connection.sock = self.connect()
        try:
            target = quote(self.base + path, safe="!#$%&'()*+,/:;=?@[]~")
            connection.request(method, target, data.encode() if isinstance(data, str) else data, headers)
            return Answer(connection.getresponse(), begun)
        finally:
            connection.close()

    def get(self, path, **arguments):
        return self.request("GET", path, **arguments)

    def post(self, path, **arguments):
        return self.request("POST", path, **arguments)

    def delete(self, channel):
        answer = self.request("DELETE", f"/channels/{channel}")
        assert answer.status_code == 204, answer.text

    def publish(self, channel, message, **fields):
        """Publish one event that must be taken; its id."""
        answer = self.post(f"/publish/{channel}", json={"message": message, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()["event_id"]

    def publish_all(self, channel, messages, **fields):
        """Publish a batch that must be taken; the ids."""
        answer = self.post(f"/publish/{channel}", json={"messages": list(messages), **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()["event_ids"]

    def publish_json(self, channel, text, **headers):
        """Publish a body as it stands, said to be JSON."""
        data = text if isinstance(text, bytes) else text.encode()
        headers = {"Content-Type": "application/json", **headers}
        return self.post(f"/publish/{channel}", data=data, headers=headers)

    def poll(self, *channels, headers=None, **parameters):
        """One poll; it does not wait unless a timeout is given. With None the parameter is left out."""
        parameters = {"timeout": 0, **parameters}
        return self.get(f"/subscribe/{','.join(channels)}", params=parameters, headers=headers)

    def polled(self, *channels, headers=None, **parameters):
        """The body of a poll that must be answered well, with the headers of every such answer checked."""
        return answered(self.poll(*channels, headers=headers, **parameters))

    def hold(self, *channels, headers=None, **parameters):
        """A poll in a thread of its own, to be asked for its answer later."""
        return Later(self.poll, *channels, headers=headers, **{"timeout": 20, **parameters})

    def parked(self, channel, subscribers=1):
        """Wait until that many clients are known to wait on the channel."""
        await_that(lambda: self.subscribers(channel) >= subscribers)

    def subscribers(self, channel):
        answer = self.get(f"/channels/{channel}")
        return 0 if answer.status_code == 404 else answer.json()["subscribers"]

    def info(self, channel):
        answer = self.get(f"/channels/{channel}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def history(self, channel, **parameters):
        answer = self.get(f"/channels/{channel}/events", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def messages(self, channel):
        return [event["message"] for event in self.history(channel, limit=1000)["events"]]

    def is_unknown(self, channel):
        return self.get(f"/channels/{channel}").status_code == 404

    def known_as(self, name):
        """How the server calls a client that gives itself a name: after the token's subject, where there is one."""
        return name if self._subject is None else f"{self._subject}/{name}"

    def connect(self):
        sock = socket.create_connection(self._address, timeout=READ_SECONDS)
        if self._tls:
            return ssl.create_default_context().wrap_socket(sock, server_hostname=self._address[0])
        return sock

    def head(self, method, path, *headers, host=None):
        """The bytes of a request's head, the path and the headers untouched by any library."""
        more = [f"{name}: {value}" for name, value in self.headers.items()]
        lines = [f"{method} {self.base}{path} HTTP/1.1", f"Host: {host or self.host}", *more, *headers, "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def exact(self, method, path, *headers, host=None, body=b""):
        """Send precisely this, and read one answer."""
        if body:
            headers = (*headers, f"Content-Length: {len(body)}")
        with self.connect() as sock:
            sock.sendall(self.head(method, path, *headers, "Connection: close", host=host) + body)
            return read_answer(sock, method)


class Later:
    """A call under way in a thread."""

    def __init__(self, call, *args, **kwargs):
        self._future = Future()
        self._thread = threading.Thread(target=self._run, args=(call, args, kwargs), daemon=True)
        self._thread.start()

    def _run(self, call, args, kwargs):
        try:
            self._future.set_result(call(*args, **kwargs))
        except BaseException as error:
            self._future.set_exception(error)

    @property
    def done(self):
        return self._future.done()

    def result(self, within=PATIENCE_SECONDS):
        return self._future.result(within)

    def answer(self, within=PATIENCE_SECONDS):
        """The body of a good answer to a poll."""
        return answered(self.result(within))


def all_at_once(calls):
    """The results of calls that were started together."""
    return [later.result(READ_SECONDS) for later in [Later(call) for call in calls]]


def await_that(condition, within=PATIENCE_SECONDS):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def is_event_id(value):
    return type(value) is int and 0 < value < 2**53


def is_json(answer):
    return answer.headers["Content-Type"].split(";")[0] == "application/json"


def came_at_once(answer):
    return answer.seconds < AT_ONCE_SECONDS


def answered(answer):
    """The body of a poll's good answer; its headers must agree with it."""
    assert answer.status_code == 200, answer.text
    assert is_json(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    cursor = body["last_event_id"] if "last_event_id" in body else body["id"]
    assert answer.headers["Last-Event-ID"] == str(cursor)
    return body


def event(channel, event_id, message, timestamp, **more):
    return {"id": event_id, "channel": channel, "message": message, "timestamp": timestamp, **more}


def assert_published(answer, channel, count=1):
    """A good answer to a publish of one event, or (count above one) of a batch; its ids."""
    assert answer.status_code == 200, answer.text
    assert is_json(answer)
    body = answer.json()
    ids = body["event_ids"] if count > 1 else [body["event_id"]]
    expected = {"status": "published", "channel": channel, "event_id": ids[-1]}
    if count > 1:
        expected["event_ids"] = ids
    assert body == expected
    assert len(ids) == count
    assert all(is_event_id(each) for each in ids)
    return ids


def assert_problem(answer, status, param=UNCHECKED, error=None):
    """An error as every path must give it; `param=None` asks that it names none."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    body = answer.json()
    assert set(body) - {"param"} == PROBLEM_KEYS
    assert body["status"] == status
    assert body["title"] == body["error"]
    for key in ("type", "title", "detail"):
        assert isinstance(body[key], str)
        assert body[key]
    name = body["type"].removeprefix("/problems/")
    assert body["type"] == f"/problems/{name}"
    assert name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if error is not None:
        assert body["error"] == error
    if param is not UNCHECKED:
        assert body.get("param") == param
    assert "Traceback" not in answer.text
    assert 'File "' not in answer.text
    return body


def follow(bide, channel, count, last_event_id=0, **parameters):
    """Read as a client does, sending each answer's cursor back, until that many events came."""
    events, deadline = [], time.monotonic() + READ_SECONDS
    while len(events) < count:
        assert time.monotonic() < deadline, f"only {len(events)} of {count} events came"
        body = bide.polled(channel, last_event_id=last_event_id, **{"timeout": 5, **parameters})
        assert "gap" not in body
        found = body.get("events", [body] if "id" in body else [])
        events += found
        last_event_id = body["last_event_id"] if "last_event_id" in body else body["id"]
    return events
