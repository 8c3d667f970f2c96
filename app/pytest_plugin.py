"""Fixtures for the tests of programs that use Bide: `bide_server`, `bide` and `bide_settings`.

Whoever has Bide installed has them in pytest, so this imports nothing of Bide before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import pytest


@pytest.fixture
def bide_settings() -> Mapping[str, object]:
    """Settings of `bide_server`, as environment variables (docs/operations.md): to be overridden.

    In a conftest.py, a module or a class of yours:

        @pytest.fixture
        def bide_settings():
            return {"BIDE_RETENTION_EVENTS": 10}
    """
    return {}


@pytest.fixture
def bide_server(
    bide_settings: Mapping[str, object], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """A real Bide server (bide.testing.Server) on a free port, with an empty store: one for each test.

        def test_my_program_outlives_a_crash_of_the_server(bide_server):
            program = MyProgram(bide_server.url)
            bide_server.restart()  # kill -9, and up again on the same store and port
            program.publish_something()

    `stop()` ends it as a deployment does, `kill()` as a crash, and until `start()` whoever connects is refused. Where
    the test fails, the server's log is shown. A test that is content with a server that others have used already
    overrides this with a fixture of a wider scope:

        @pytest.fixture(scope="session")
        def bide_server(tmp_path_factory):
            with bide.testing.Server(tmp_path_factory.mktemp("bide")) as server:
                yield server
    """
    testing = import_module(".testing", __package__)
    server = testing.Server(tmp_path_factory.mktemp("bide"), bide_settings)
    try:
        with server:
            yield server
    except testing.ServerNotStarted as error:
        pytest.fail(str(error), pytrace=False)
    request.node.add_report_section("teardown", "of bide_server", server.log.read_text(errors="replace"))


@pytest.fixture
def bide(bide_server: Any) -> Iterator[Any]:
    """A client (bide.client.Client) of `bide_server`, closed at the end.

    def test_my_program_greets(bide, bide_server):
        MyProgram(bide_server.url).greet("ann")
        event = next(bide.subscribe("greetings"))
        assert event.message == "hello ann"
    """
    client = import_module(".client", __package__).Client(bide_server.url)
    with client:
        yield client
