"""Debian's Chromium, one for all, and servers of pages. What a browser does with an answer only a browser knows."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import sync_playwright

from tests.support.servers import ROOT

PAGE = (ROOT / "docs/examples/page/index.html").read_text()

#: Names that lead to this machine; no others lead anywhere, and nothing leaves it.
NAMES = ("rebound.example", "app.example")
RULES = [*(f"MAP {name} 127.0.0.1" for name in NAMES), "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1", "EXCLUDE localhost"]
FLAGS = [
    f"--host-resolver-rules={','.join(RULES)}",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
]


@pytest.fixture(scope="session")
def chromium():
    # The shell is a third smaller, and does all that these tests ask for.
    found = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert found, "install Debian's chromium-headless-shell, or chromium"
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root.
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens a page in a profile of its own; what it waits for may take ten seconds."""
    with contextlib.ExitStack() as stack:

        def make(url, **more):
            context = stack.enter_context(chromium.new_context(**more))
            context.set_default_timeout(10_000)
            page = context.new_page()
            page.goto(url)
            return page

        yield make


class Pages(http.server.BaseHTTPRequestHandler):
    """`/chat?bide=&token=` is the tutorial's page with these in its two constants, any other path an empty page."""

    def do_GET(self):
        parts = urlsplit(self.path)
        text = "<!doctype html><title>empty</title>"
        if parts.path == "/chat":
            given = {name: values[0] for name, values in parse_qs(parts.query).items()}
            text = PAGE.replace("http://127.0.0.1:8000", given["bide"])
            text = text.replace('token = ""', f'token = "{given.get("token", "")}"')
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving_pages():
    """The port of a server of pages."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def pages():
    """Two ports with pages: the first is listed."""
    with serving_pages() as ours, serving_pages() as theirs:
        yield ours, theirs
