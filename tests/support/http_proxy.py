"""A proxy of HTTP requests with the faults that proxies have, in threads of the test.

idle          waits so many seconds for an answer, then closes the connection
keeps         closes a connection on which nothing was asked for so many seconds
silent        forgets connections where it would close them: without a word
delay         holds the answers of polls back for so many seconds
closes        closes the connection after each answer
strips        header fields that get lost, in lower case, on both ways
eats          "up": the bodies of requests get lost, "down": those of answers
caches        answers a GET as the same one was answered before
changes       a pair of bytes: what is replaced in answers, and by what
pages         for the beginning of a path what is answered instead: status, type, body
"""

import contextlib
import http.client
import http.server
import threading


class HttpProxy:
    """To be used as a context manager; in front of the server at `address`."""

    def __init__(
        self,
        address,
        *,
        idle=None,
        keeps=None,
        silent=False,
        delay=0.0,
        closes=False,
        strips=(),
        eats="",
        caches=False,
        changes=None,
        pages=None,
    ):
        self.address = address
        self.idle, self.keeps, self.silent = idle, keeps, silent
        self.delay, self.closes, self.strips, self.eats = delay, closes, frozenset(strips), eats
        self.caches, self.changes, self.pages = caches, changes, pages or {}
        self.cache = {}
        self.over = threading.Event()
        #: Method, path and header fields of every request.
        self.seen = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = "http://{}:{}".format(*self._server.server_address)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._server.shutdown()
        # Without server_close, which would wait for the threads of connections that are kept.
        self._server.socket.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        self.timeout = self.server.proxy.keeps
        super().setup()

    def handle(self):
        super().handle()
        if self.server.proxy.silent:
            self.server.proxy.over.wait()

    def handle_one_request(self):
        with contextlib.suppress(ConnectionError, ValueError):
            super().handle_one_request()
            return
        self.close_connection = True

    def do_GET(self):
        proxy = self.server.proxy
        proxy.seen.append((self.command, self.path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for begin, (status, kind, text) in proxy.pages.items():
            if self.path.startswith(begin):
                return self._answer(status, [("Content-Type", kind)], text)
        try:
            status, headers, content = self._cached(b"" if proxy.eats == "up" else body)
        except TimeoutError:
            self.close_connection = True
            return None
        if self.path.startswith("/subscribe/"):
            proxy.over.wait(proxy.delay)
        return self._answer(status, headers, b"" if proxy.eats == "down" else content)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def _cached(self, body):
        proxy = self.server.proxy
        if not proxy.caches or self.command != "GET":
            return self._forward(body)
        if self.path not in proxy.cache:
            proxy.cache[self.path] = self._forward(body)
        return proxy.cache[self.path]

    def _forward(self, body):
        proxy = self.server.proxy
        connection = http.client.HTTPConnection(*proxy.address, timeout=proxy.idle or 100)
        with contextlib.closing(connection):
            headers = {name: value for name, value in self._kept(self.headers.items()) if name != "Content-Length"}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            if proxy.changes is not None:
                content = content.replace(*proxy.changes)
            return answer.status, self._kept(answer.getheaders()), content

    def _kept(self, headers):
        return [(name, value) for name, value in headers if name.lower() not in self.server.proxy.strips]

    def _answer(self, status, headers, content):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        if self.server.proxy.closes:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass
