"""The pytest plugin, as a user has it: from an installed wheel, in a test file of his own."""

import os
import signal
import subprocess

import pytest

from tests.support.servers import await_that, environment, is_running

pytest_plugins = ["pytester"]

#: Nothing of these may be there because of the plugin.
HEAVY = "gevent", "flask", "gunicorn", "requests", "bide.client", "bide.testing"

TEN_LINES = """
def test_what_is_published_is_there_after_a_crash(bide, bide_server):
    first = bide.publish("orders", {"number": 1})
    events = bide.subscribe("orders")
    assert next(events).id == first
    bide_server.restart()
    second = bide.publish("orders", {"number": 2})
    assert [event.id for event in bide.history("orders").events] == [first, second]
    assert next(events).message == {"number": 2}
"""


@pytest.fixture
def run(pytester, installed, monkeypatch):
    """Runs pytest with the wheel over a file of tests, in an environment that would lead a server astray."""
    for name in set(os.environ) - environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("BIDE_STORE", "redis://of-the-user:1")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--config of-the-user.py")
    monkeypatch.setenv("WEB_CONCURRENCY", "many")

    def run(*options, **files):
        pytester.makepyfile(**files)
        return pytester.run(installed, "-m", "pytest", "-p", "no:schemathesis", "-p", "no:cacheprovider", *options)

    return run


def test_a_test_of_ten_lines_publishes_subscribes_and_crashes_the_server(run):
    run(test_orders=TEN_LINES).assert_outcomes(passed=1)


def test_each_test_has_a_server_of_its_own_with_its_settings_and_so_has_each_process(run):
    result = run(
        "-n2",
        test_orders="""
            import pytest

            @pytest.mark.parametrize("time", range(3))
            def test_nothing_is_there(bide, bide_server, time):
                assert bide.publish("orders", 1, key="the-same-in-every-test") > 0
                assert [info.events for info in bide.channels()] == [1]

            class TestShort:
                @pytest.fixture
                def bide_settings(self):
                    return {"BIDE_RETENTION_EVENTS": 2}

                def test_two_are_kept(self, bide):
                    for number in range(5):
                        bide.publish("orders", number)
                    assert [event.message for event in bide.history("orders").events] == [3, 4]
        """,
    )
    result.assert_outcomes(passed=4)


def test_a_server_that_is_away_refuses_everybody_and_comes_back_where_it_was(run):
    result = run(
        test_away="""
            import time
            import pytest
            from bide.client import Client, Unreachable

            @pytest.mark.parametrize("end", ["stop", "kill"])
            def test_it_comes_back(bide, bide_server, end):
                url, id = bide_server.url, bide.publish("orders", 1)
                getattr(bide_server, end)()
                with Client(url, patience=0) as hasty, pytest.raises(Unreachable, match="refused"):
                    hasty.publish("orders", 2)
                bide_server.start()
                bide_server.start()
                assert bide_server.url == url
                assert [event.id for event in bide.history("orders").events] == [id]

            def test_it_may_be_away_at_the_end(bide, bide_server):
                bide_server.stop()
                bide_server.stop()
        """,
    )
    result.assert_outcomes(passed=3)


def test_tests_share_a_server_of_a_wider_scope_where_they_say_so(run):
    result = run(
        test_shared="""
            import pytest
            from bide.client import ClientError
            from bide.testing import Server

            @pytest.fixture(scope="session")
            def bide_server(tmp_path_factory):
                with Server(tmp_path_factory.mktemp("bide")) as server:
                    yield server

            clients = []

            @pytest.mark.parametrize("count", [1, 2])
            def test_they_see_what_others_left_with_a_client_of_their_own(bide, count):
                bide.publish("orders", count)
                assert len(bide.history("orders").events) == count
                for earlier in clients:
                    with pytest.raises(ClientError, match="closed"):
                        earlier.publish("orders", 3)
                clients.append(bide)
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_test_that_fails_shows_what_the_server_wrote_and_one_whose_server_does_not_start_its_last_words(run):
    result = run(
        test_failing="def test_something(bide_server):\n    assert False",
        test_misspelt="""
            import pytest

            @pytest.fixture
            def bide_settings():
                return {"BIDE_RETENTION_EVENT": 2}

            def test_something(bide_server):
                raise AssertionError("it is not called")
        """,
    )
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["Bide did not start, but ended with 1. Its log:"])
    result.stdout.fnmatch_lines(["*BIDE_RETENTION_EVENT is not a setting*did you mean BIDE_RETENTION_EVENTS?*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*def bide_server*")
    result.stdout.fnmatch_lines(["*of bide_server*", "*Listening at: http://127.0.0.1:*"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_a_pytest_that_is_killed(pytester, installed, number):
    pytester.makepyfile(
        """
        import subprocess, time

        def test_something(bide_server, pytestconfig):
            bide_server.restart()
            ps = ["ps", "-o", "pid=", "-g", str(bide_server._process.pid)]
            print("pids", *subprocess.check_output(ps, text=True).split(), flush=True)
            time.sleep(100)
        """
    )
    command = [installed, "-m", "pytest", "-s", "-p", "no:schemathesis"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as pytest_:
        line = next(line for line in pytest_.stdout if "pids" in line)
        pids = [int(word) for word in line.partition("pids")[2].split()]
        assert len(pids) == 3, "master, worker, and who watches"
        assert all(map(is_running, pids))
        pytest_.send_signal(number)
    await_that(lambda: not any(map(is_running, pids)))


def test_it_costs_nothing_where_nobody_asks_for_it(run, installed):
    program = f"import sys, bide.pytest_plugin; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.check_output([installed, "-c", program], text=True) == "[]\n"
    result = run(
        test_nothing=f"""
            import sys, socket

            def test_nothing_is_imported_or_patched(request):
                assert request.config.pluginmanager.hasplugin("bide")
                assert [name for name in {HEAVY} if name in sys.modules] == []
                assert socket.socket.__module__ == "socket"
        """,
    )
    result.assert_outcomes(passed=1)


def test_the_fixtures_are_explained_with_an_example(run):
    result = run("--fixtures", "-v", test_nothing="")
    for name in ("bide", "bide_server", "bide_settings"):
        result.stdout.fnmatch_lines([f"{name} -- *pytest_plugin.py*", "*def *"])
