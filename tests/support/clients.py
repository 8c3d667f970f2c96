"""Clients for tests under load: bare sockets, with as little between a test and the bytes as can be.

`Line` is one connection. `Herd` holds thousands of parked polls in one thread, `Followers` are subscribers that poll
again and again, `Publishers` publish from threads of their own; what they met is there to be judged afterwards.
"""

import contextlib
import json
import selectors
import socket
import struct
import threading
import time
from collections import Counter

# Longer than any answer takes; a test's own bounds are tighter.
READ_SECONDS = 60


class Answer:
    """One HTTP answer. `at` is the monotonic time at which its last byte was there."""

    __slots__ = ("at", "body", "closes", "headers", "status")

    def __init__(self, status, headers, body):
        self.at = time.monotonic()
        self.status = status
        self.headers = headers
        self.body = body
        self.closes = headers.get(b"connection") == b"close"

    def json(self):
        return json.loads(self.body)

    @property
    def pid(self):
        """The worker's, where the server is an inspected one."""
        return int(self.headers[b"x-pid"])


def take_answer(buffer):
    """Take one whole answer off the front of the buffer; None while it is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    status_line, *lines = bytes(buffer[:end]).split(b"\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    size = end + 4 + int(headers.get(b"content-length", 0))
    if len(buffer) < size:
        return None
    body = bytes(buffer[end + 4 : size])
    del buffer[:size]
    return Answer(int(status_line.split()[1]), headers, body)


def get(path, *headers):
    """The bytes of a GET."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def post(path, value, *headers):
    """The bytes of a POST of JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    head = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def publication(channel, messages, *headers):
    """The bytes of a publish: of one event where `messages` holds one, else of a batch."""
    if len(messages) == 1:
        return post(f"/publish/{channel}", {"message": messages[0]}, *headers)
    return post(f"/publish/{channel}", {"messages": messages}, *headers)


def subscription(channels, cursor=0, timeout=50, limit=None, *headers):
    """The bytes of a poll."""
    more = "" if limit is None else f"&limit={limit}"
    return get(f"/subscribe/{channels}?last_event_id={cursor}&timeout={timeout}{more}", *headers)


def reset(sock):
    """Close a connection with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Line:
    """One connection, used by hand."""

    def __init__(self, server):
        self.sock = server.connect(timeout=READ_SECONDS)
        self._buffer = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)
        return self

    def answer(self, within=READ_SECONDS):
        """The next answer; None where the server closed or reset the connection instead."""
        deadline = time.monotonic() + within
        while (answer := take_answer(self._buffer)) is None:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._buffer += data
        return answer

    def ask(self, data, within=READ_SECONDS):
        """Send a request, and the answer to it."""
        return self.send(data).answer(within)


class _Waiting:
    """A connection of a herd."""

    __slots__ = ("answered", "buffer")

    def __init__(self):
        self.buffer = bytearray()
        self.answered = False


class Herd:
    """Many connections, each with a request on its way; as many as a process may hold descriptors."""

    def __init__(self, server):
        self._server = server
        self._selector = selectors.DefaultSelector()
        self.open = {}
        #: Answers as they came; how many connections ended without one; how many of these amid one.
        self.answers = []
        self.cut = 0
        self.torn = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()
        self._selector.close()

    def add(self, request, count=1):
        """Connect, and send the request; nothing is read yet."""
        for _ in range(count):
            sock = self._server.connect()
            if request:
                sock.sendall(request)
            sock.setblocking(False)
            self.open[sock] = _Waiting()
            self._selector.register(sock, selectors.EVENT_READ)

    def read(self, until, within=READ_SECONDS):
        """Read what comes until the condition is true."""
        deadline = time.monotonic() + within
        while not until():
            assert time.monotonic() < deadline, f"{len(self.answers)} answers, {len(self.open)} still open"
            for key, _ in self._selector.select(0.05):
                self._read(key.fileobj)

    def _read(self, sock):
        waiting = self.open[sock]
        try:
            data = sock.recv(65536)
        except ConnectionError:
            data = b""
        waiting.buffer += data
        while (answer := take_answer(waiting.buffer)) is not None:
            self.answers.append(answer)
            waiting.answered = True
        if not data:
            self.torn += bool(waiting.buffer)
            self.cut += not waiting.answered
            self._selector.unregister(sock)
            del self.open[sock]
            sock.close()

    def leave(self, how=socket.socket.close):
        """Close every connection that is still open, in the way given."""
        for sock in self.open:
            self._selector.unregister(sock)
            how(sock)
        self.open.clear()


class Follower:
    """One subscriber: it sends back each answer's cursor, connects again where it was cut, and remembers.

    With `hop` it goes to another connection after so many answers, and so from worker to worker. `headers` are lines.
    """

    def __init__(self, channels, limit=None, pid=None, timeout=50, cursor=0, hop=None, headers=()):
        self.channels = channels
        self.limit = limit
        self.pid = pid
        self.hop = hop
        self.headers = headers
        self.cursor = cursor
        self.timeout = timeout
        self.path = ",".join(channels)
        #: Per channel: (id, message), in the order in which they came.
        self.events = {channel: [] for channel in channels}
        self.count = 0
        self.polls = 0
        self.gaps = 0
        #: Polls that ended because their time was up: none does while events come, unless a wake-up was lost.
        self.timeouts = 0
        #: Events that came again, and that came after a later one.
        self.doubles = 0
        self.disorder = 0
        #: Polls that were on their way when the connection ended, and answers that were cut amid their bytes.
        self.cuts = 0
        self.torn = 0
        self.statuses = Counter()
        self.pids = set()
        self.sock = None
        self.buffer = bytearray()

    def request(self):
        return subscription(self.path, self.cursor, self.timeout, self.limit, *self.headers)

    def take(self, answer):
        self.statuses[answer.status] += 1
        if b"x-pid" in answer.headers:
            self.pids.add(answer.pid)
        if answer.status != 200:
            return
        body = answer.json()
        if "gap" in body or "gaps" in body:
            self.gaps += 1
        events = body.get("events", [body] if "id" in body else [])
        self.timeouts += not events
        for event in events:
            seen = self.events[event["channel"]]
            if seen and event["id"] <= seen[-1][0]:
                if any(event["id"] == id for id, _ in seen):
                    self.doubles += 1
                else:
                    self.disorder += 1
            seen.append((event["id"], event["message"]))
        self.count += len(events)
        self.cursor = answer.headers[b"last-event-id"].decode()

    @property
    def faults(self):
        """What must not be, in a form that a failing test can show."""
        return {"gaps": self.gaps, "doubles": self.doubles, "disorder": self.disorder}


class Followers:
    """Runs followers in one thread, from entry to exit of a `with` block."""

    def __init__(self, server, followers):
        self._server = server
        self.all = list(followers)
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._later = []
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __iter__(self):
        return iter(self.all)

    def __enter__(self):
        for follower in self.all:
            self._connect(follower)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stopping = True
        self._thread.join(READ_SECONDS)
        for follower in self.all:
            if follower.sock is not None:
                follower.sock.close()
        self._selector.close()

    def await_count(self, count, within=READ_SECONDS):
        """Wait until every follower has so many events; `count` may be a function of the follower."""
        wanted = count if callable(count) else lambda _: count
        deadline = time.monotonic() + within
        while any(follower.count < wanted(follower) for follower in self.all):
            if self._failure is not None:
                raise self._failure
            late = [(each.path, each.count, wanted(each)) for each in self.all if each.count < wanted(each)]
            assert time.monotonic() < deadline, f"{len(late)} are behind: {late[:5]}"
            time.sleep(0.01)
        if self._failure is not None:
            raise self._failure

    def _connect(self, follower):
        """A new connection (to the worker that the follower wants, where it wants one) with its poll on it."""
        sock = self._server.connect() if follower.pid is None else line_to(self._server, follower.pid).sock
        with contextlib.suppress(ConnectionError):  # cut already: reading tells
            sock.sendall(follower.request())
        follower.polls += 1
        sock.setblocking(False)
        follower.sock = sock
        follower.buffer.clear()
        self._selector.register(sock, selectors.EVENT_READ, follower)

    def _run(self):
        try:
            while not self._stopping:
                for key, _ in self._selector.select(0.02):
                    self._read(key.data)
                self._turn(time.monotonic())
        except BaseException as error:
            self._failure = error

    def _turn(self, now):
        due = [follower for at, follower in self._later if at <= now]
        self._later = [(at, follower) for at, follower in self._later if at > now]
        for follower in due:
            self._connect(follower)

    def _read(self, follower):
        try:
            data = follower.sock.recv(262144)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            follower.cuts += 1
            follower.torn += bool(follower.buffer)
            self._again(follower)
            return
        follower.buffer += data
        answer = take_answer(follower.buffer)
        if answer is None:
            return
        follower.take(answer)
        hops = follower.hop is not None and follower.polls % follower.hop == 0
        if answer.status != 200 or answer.closes or hops:
            self._again(follower, 0 if answer.status == 200 else 0.05)
            return
        try:
            follower.sock.sendall(follower.request())
            follower.polls += 1
        except ConnectionError:
            follower.cuts += 1
            self._again(follower)

    def _again(self, follower, after=0.0):
        self._selector.unregister(follower.sock)
        follower.sock.close()
        follower.sock = None
        self._later.append((time.monotonic() + after, follower))


def line_to(server, pid):
    """A line to one worker of an inspected server; there is no telling beforehand which will take a connection."""
    deadline = time.monotonic() + READ_SECONDS
    while True:
        line = Line(server)
        if line.ask(get("/healthz")).pid == pid:
            return line
        line.sock.close()
        assert time.monotonic() < deadline, f"worker {pid} takes no connection"


class Publisher(threading.Thread):
    """Publishes jobs, (channel, messages), one after another on a kept connection (or a new one for each).

    `acknowledged` holds (channel, ids, messages) of every publish that was answered with 200. The first that was not
    answered ends it, as `unanswered` (its job) with the time at which the last byte was sent; a status that is not
    200 is in `refused`.
    """

    def __init__(self, server, jobs, *, pid=None, keep=True, headers=lambda number: ()):
        super().__init__(daemon=True)
        self._server = server
        self._jobs = jobs
        self._keep = keep
        self._pid = pid
        self._headers = headers
        self.acknowledged = []
        self.refused = []
        self.unanswered = None
        self.sent_at = None
        self.pids = set()
        self.stopping = False
        self.failure = None

    def run(self):
        line = None
        try:
            for number, (channel, messages) in enumerate(self._jobs):
                if self.stopping:
                    break
                if line is None:
                    line = Line(self._server) if self._pid is None else line_to(self._server, self._pid)
                answer = self._publish(line, channel, messages, number)
                if answer is None:
                    self.unanswered = (channel, messages)
                    return
                self._note(answer, channel, messages)
                if answer.closes or not self._keep:
                    line.sock.close()
                    line = None
        except BaseException as error:
            self.failure = error
        finally:
            if line is not None:
                line.sock.close()

    def _publish(self, line, channel, messages, number):
        more = self._headers(number) if self._keep else ("Connection: close", *self._headers(number))
        try:
            line.send(publication(channel, messages, *more))
        except ConnectionError:
            return None
        self.sent_at = time.monotonic()
        return line.answer()

    def _note(self, answer, channel, messages):
        if b"x-pid" in answer.headers:
            self.pids.add(answer.pid)
        if answer.status != 200:
            self.refused.append((answer.status, answer.body))
            return
        body = answer.json()
        self.acknowledged.append((channel, body.get("event_ids", [body["event_id"]]), messages))

    def finish(self, within=READ_SECONDS):
        """Wait for its end."""
        self.join(within)
        assert not self.is_alive(), "a publisher did not come to its end"
        if self.failure is not None:
            raise self.failure


@contextlib.contextmanager
def publishing(publishers):
    """Publishers that run for the time of the block, and then end after the job that each is at."""
    for publisher in publishers:
        publisher.start()
    try:
        yield publishers
    finally:
        for publisher in publishers:
            publisher.stopping = True
        for publisher in publishers:
            publisher.finish()


def published(publishers):
    """Per channel what was acknowledged, (id, message), by id."""
    found = {}
    for publisher in publishers:
        for channel, ids, messages in publisher.acknowledged:
            found.setdefault(channel, []).extend(zip(ids, messages, strict=True))
    for events in found.values():
        events.sort(key=lambda event: event[0])
    return found
