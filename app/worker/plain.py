"""Requests of the plainest form, read in one step: `GET` of a path without escapes, or `POST` of a body that came with
its head; nothing that asks for more.

gunicorn's parser takes 30 µs for the head of a poll and its environ, and 60 for a browser's; this takes 4, and 11. It
judges nothing: whatever is not entirely plain, odd or wrong, is left to gunicorn's parser with its checks and refusals,
and so is every request where gunicorn was told to do something more for each. What it does accept becomes the same
request and the same environ; tests/worker/test_plain.py compares them.
"""

from __future__ import annotations

import io
import ipaddress
import re
from functools import lru_cache
from typing import Any, Final

from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.message import Request

#: A target in origin-form without escapes or a fragment.
_LINE: Final = re.compile(r'(GET|POST) ((/(?!/)[!"$&->@-~]*)(?:\?([!"$-~]*))?) HTTP/1\.1\r\n').match
#: Fields whose names no other can be taken for.
_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*").fullmatch
_LENGTH: Final = re.compile("0|[1-9][0-9]{0,8}").fullmatch
_FIELDS: Final = re.compile(r"([A-Za-z0-9-]+):(.*)\r\n").findall

#: Fields for gunicorn's parser.
_OTHERS: Final = frozenset(["EXPECT", "SCRIPT-NAME", "TRANSFER-ENCODING", "UPGRADE"])
#: Those that have no prefix in an environ.
_OF_BODY: Final = frozenset(["CONTENT-LENGTH", "CONTENT-TYPE"])
#: A head is read here up to so many bytes, and gunicorn's own bounds where they are lower.
MOST_BYTES: Final = 8000
#: Names of fields whose keys are remembered, and addresses of which is known whether they are proxies'. Longer names
#: than any that is in use are not remembered: whoever thinks them up has 8,000 bytes for each.
NAMES: Final = 1000
NAME_CHARACTERS: Final = 64

#: Fields that are remembered as they came, with what they are in an environ: a client says the same in all its polls,
#: and a token is as long as all the rest. Above it all are forgotten; longer ones are not remembered. 10 MB at most.
HEADS: Final = 2000
HEAD_CHARACTERS: Final = 1500

#: gunicorn's maker of `wsgi.early_hints`, an extension; where there is none there are no hints.
_early_hints: Any = getattr(wsgi, "_make_early_hints_callback", None)


class PlainRequest(Request):
    """gunicorn's request. Its fields are listed when somebody asks for them: in `fields` as they came.

    It may not lead to the environ, which leads to it by `wsgi.early_hints`: each poll would leave the collector a ring.
    """

    version = (1, 1)
    fragment = ""
    proxy_protocol_info = None
    req_number = 1
    _expected_100_continue = False

    def __init__(
        self, cfg: Config, address: Any, uri: str, path: str, query: str, fields: str, environ: dict[str, Any]
    ) -> None:
        self.cfg = cfg
        self.method = environ["REQUEST_METHOD"]
        self.peer_addr = self.remote_addr = address
        self.uri = uri
        self.path = path
        self.query = query
        self.scheme = environ["wsgi.url_scheme"]
        self.body = environ["wsgi.input"]
        self.trailers = []
        # Known now, as the environ is the app's, and what layers around it do to that is no matter of the connection.
        self.must_close = environ.get("HTTP_CONNECTION", "").lower() == "close"
        self._fields = fields

    @property
    def headers(self) -> list[tuple[str, str]]:  # type: ignore[override]  # an attribute of gunicorn's
        return [(name.upper(), text.strip(" \t")) for name, text in _FIELDS(self._fields)]

    def should_close(self) -> bool:
        return self.must_close


class _Errors(wsgi.WSGIErrorsWrapper):
    """`wsgi.errors` for all requests: gunicorn's log files are others after it was told to open them again."""

    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg

    def write(self, data: Any) -> None:
        wsgi.WSGIErrorsWrapper(self._cfg).write(data)


class PlainRequests:
    """Reads requests for one listener of a worker, at the address `server` (host and port)."""

    def __init__(self, cfg: Config, server: tuple[str, int]) -> None:
        self._cfg = cfg
        limits = (cfg.limit_request_line, cfg.limit_request_field_size)
        self._most_bytes = min([MOST_BYTES, *(limit for limit in limits if limit > 0)])
        self._most_fields = cfg.limit_request_fields
        self._keys: dict[str, str] = {}
        self._heads: dict[str, dict[str, Any]] = {}
        # One that has an underscore means a field of just that name, and such heads are gunicorn's to read.
        self._schemes = {self._key(name): text for name, text in cfg.secure_scheme_headers.items() if "_" not in name}
        self._is_proxy = lru_cache(NAMES)(self._is_trusted)
        self._known: dict[str, Any] = {
            **wsgi.base_environ(cfg),
            "wsgi.errors": _Errors(cfg),
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            "SCRIPT_NAME": "",
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "SERVER_PROTOCOL": "HTTP/1.1",
        }

    def read(
        self, data: bytes, client: Any, address: tuple[Any, ...]
    ) -> tuple[PlainRequest, wsgi.Response, dict[str, Any], int] | None:
        """The request that the data begin with, its response and environ, and where it ends; None where it is no plain
        one, or not whole."""
        text = data[: self._most_bytes].decode("latin-1")
        line = _LINE(text)
        if line is None:
            return None
        method, uri, path, query = line.groups("")
        begin = line.end()
        end = text.find("\r\n\r\n", begin - 2)  # there may be no field at all
        if end < 0:
            return None
        fields = text[begin : end + 2]
        end += 4
        known = self._heads.get(fields) or self._read_fields(fields)
        if known is None:
            return None
        environ = known.copy()
        length = environ.get("CONTENT_LENGTH")
        if method == "POST":
            if length is None or not _LENGTH(length) or end + int(length) > len(data):
                return None
            body = data[end : end + int(length)]
            end += int(length)
        elif length is None:
            body = b""
        else:
            return None
        told = [key for key in self._schemes if key in environ]
        if told and self._is_proxy(address[0]):
            if len(told) > 1:
                return None
            environ["wsgi.url_scheme"] = "https" if environ[told[0]] == self._schemes[told[0]] else "http"
        environ["wsgi.input"] = io.BytesIO(body)
        environ["REQUEST_METHOD"] = method
        environ["gunicorn.socket"] = client
        environ["QUERY_STRING"] = query
        environ["RAW_URI"] = uri
        environ["REMOTE_ADDR"] = address[0]
        environ["REMOTE_PORT"] = str(address[1])
        environ["PATH_INFO"] = path
        request = PlainRequest(self._cfg, address, uri, path, query, fields, environ)
        response = wsgi.Response(request, client, self._cfg)
        if _early_hints is not None:
            environ["wsgi.early_hints"] = _early_hints(request, client, response)
        return request, response, environ, end

    def _read_fields(self, fields: str) -> dict[str, Any] | None:
        """The environ of a request with these fields, as far as they tell it; None where one is not plain."""
        if not _PLAIN(fields):
            return None
        environ = self._known.copy()
        keys = self._keys
        count = 0
        for name, text in _FIELDS(fields):
            key = keys.get(name)
            if key is None:
                key = self._key(name)
            if not key or key in environ:
                return None
            environ[key] = text.strip(" \t")
            count += 1
        if count > self._most_fields or environ.get("HTTP_CONNECTION", "close").lower() not in ("close", "keep-alive"):
            return None
        if len(fields) <= HEAD_CHARACTERS and "CONTENT_LENGTH" not in environ:  # a publish seldom has the same again
            if len(self._heads) >= HEADS:
                self._heads.clear()
            self._heads[fields] = environ
        return environ

    def _key(self, name: str) -> str:
        """The field's name in an environ, "" where the field is none for this reader."""
        upper = name.upper()
        key = "" if upper in _OTHERS else upper.replace("-", "_")
        if key and upper not in _OF_BODY:
            key = "HTTP_" + key
        if len(self._keys) < NAMES and len(name) <= NAME_CHARACTERS:
            self._keys[name] = key
        return key

    def _is_trusted(self, host: str) -> bool:
        """Whether gunicorn's `forwarded_allow_ips` lets who has this address say how the client came to it."""
        if "*" in self._cfg.forwarded_allow_ips:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._cfg.forwarded_allow_networks())
