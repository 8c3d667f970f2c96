"""`bide check --idle`: how long polls can wait is measured, and a timeout recommended."""

import json
import signal
import subprocess
import sys
import threading

import pytest

from app.cli import holds
from app.cli.holds import Hold, judge
from tests.support import proxies
from tests.support.proxies import Proxy
from tests.support.servers import PATIENCE_SECONDS, ROOT, Server, await_that, environment

from .test_check import found, levels, through


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def shorter():
    """Seconds instead of a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holds, "HOLDS", (0.6, 2.2))
        patch.setattr(holds, "DEFAULT_SECONDS", 2.0)
        patch.setattr(holds, "GRACE_SECONDS", 0.5)
        yield


@pytest.fixture(scope="module")
def cutting(server, shorter):
    """What is found through a proxy that cuts polls that wait and connections on which nothing is asked for."""
    return through(server, "--idle", idle=1.2, keeps=0.8)


@pytest.fixture(scope="module")
def forgetting(server, shorter):
    """The same of one that forgets both without a word."""
    return through(server, "--idle", idle=1.2, keeps=0.8, silent=True)


def outcomes(findings):
    return [poll["outcome"] for poll in findings["holds"]["polls"]]


def test_nothing_is_in_the_way_of_a_server_of_its_own(server):
    code, findings = found(server.url, "--idle")
    assert (code, levels(findings)) == (0, {})
    assert outcomes(findings) == ["held", "held"]
    assert findings["timeout"]["timeout"] == 2.0
    assert findings["idle"]["open_after_seconds"] == 2.2


def test_nginx_that_waits_too_short_is_found(tmp_path, monkeypatch):
    ours = "proxy_read_timeout 75s;"
    monkeypatch.setattr(proxies, "PLACES", [*proxies.PLACES, (ours, 1, "proxy_read_timeout 1200ms;")])
    with (
        Server(tmp_path / "server", env={"BIDE_INSECURE": 1}) as server,
        Proxy(tmp_path / "proxy", "{}:{}".format(*server.address)) as proxy,
    ):
        code, findings = found(proxy.url, "--idle")
    assert (code, levels(findings)) == (1, {"holds": "fail", "timeout": "fail"})
    assert outcomes(findings) == ["held", "cut"]
    assert "504 Gateway Time-out" in findings["holds"]["text"]
    assert 1.1 < findings["holds"]["cut_after_seconds"] < 2.2
    assert 0.8 < findings["timeout"]["timeout"] < 2


def test_connections_that_are_cut_while_a_poll_waits_are_found(cutting):
    code, findings = cutting
    assert (code, levels(findings)) == (1, {"holds": "fail", "timeout": "fail"})
    assert outcomes(findings) == ["held", "cut"]
    assert "closed the connection without an answer" in findings["holds"]["text"]
    assert 1.1 < findings["holds"]["cut_after_seconds"] < 2.2


def test_connections_that_are_forgotten_without_a_word_are_found(forgetting):
    code, findings = forgetting
    assert (code, levels(findings)) == (1, {"holds": "fail", "timeout": "fail", "idle": "warn"})
    assert outcomes(findings) == ["held", "silent"]
    assert "sends nothing for 2.7 s" in findings["holds"]["text"]
    # What came through, since nobody knows what else would.
    assert 0.5 <= findings["timeout"]["timeout"] <= 0.7


def test_the_server_s_own_maximum_is_not_taken_for_a_cut(tmp_path):
    settings = {"BIDE_MAX_TIMEOUT_SECONDS": 1, "BIDE_DEFAULT_TIMEOUT_SECONDS": 1}
    with Server(tmp_path, env=settings) as server:
        code, findings = found(server.url, "--idle")
    assert (code, levels(findings)) == (0, {})
    assert "the server itself holds none longer than about 1 s" in findings["holds"]["text"]


def test_an_idle_connection_that_is_closed_is_told_with_its_time_and_no_fault(cutting):
    _, findings = cutting
    assert findings["idle"]["level"] == "ok"
    assert 0.7 < findings["idle"]["closed_after_seconds"] < 2.2


def test_an_idle_connection_that_is_forgotten_without_a_word_is_a_warning(forgetting):
    _, findings = forgetting
    assert findings["idle"]["level"] == "warn"
    assert "sends nothing for 0.5 s" in findings["idle"]["text"]


def test_polls_that_events_of_others_end_cannot_be_measured(server):
    over = threading.Event()

    def publish():
        while not over.wait(0.1):
            server.publish("busy", "of another one")

    other = threading.Thread(target=publish)
    other.start()
    try:
        code, findings = found(server.url, "--idle", "--channel", "busy")
    finally:
        over.set()
        other.join()
    assert (code, levels(findings)) == (1, {"holds": "fail"})
    assert "events of others" in findings["holds"]["text"]


def test_what_cannot_be_polled_is_not_measured(server):
    code, findings = found(server.url + "/wrong", "--idle")
    assert code == 1
    assert "holds" not in findings


def test_an_interrupt_leaves_no_channel_behind_and_no_traceback(server):
    program = "from app.cli import main; main()"
    asked = subprocess.Popen(
        [sys.executable, "-c", program, "check", "--idle", server.url],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Its events are there as long as it measures.
        line = asked.stderr.readline()
        assert line == "polls of 10, 20, 30, 45, 65 s wait beside each other, up to 70 s\n"
        (channel,) = {entry["channel"] for entry in entries(server) if entry["events"] and is_own(entry)}
        asked.send_signal(signal.SIGINT)
        _, trouble = asked.communicate(timeout=PATIENCE_SECONDS)
    finally:
        asked.kill()
        asked.wait()
    assert asked.returncode not in (0, None)
    assert "Traceback" not in trouble
    await_that(lambda: not any(entry["events"] for entry in entries(server) if entry["channel"] == channel))


def entries(server):
    return json.loads(server.get("/channels?limit=1000")[2])["channels"]


def is_own(entry):
    return entry["channel"].startswith("bide-check.")


def judged(*outcomes):
    """What is said of polls that came back so: level and what it recommends."""
    told = {finding.name: finding for finding in judge([Hold(*outcome) for outcome in outcomes])}
    timeout = told["timeout"].figures.get("timeout") if "timeout" in told else None
    return told["holds"].level, timeout, told["holds"].text


HELD = [(10, 9.9, "held"), (20, 19.7, "held"), (30, 29.0, "held"), (45, 44.1, "held")]


@pytest.mark.parametrize(
    ("outcomes", "level", "timeout"),
    [
        # Bide's own maximum, with nothing between or a proxy that waits for 60 s.
        ([*HELD, (65, 54.0, "held")], "ok", 30),
        ([*HELD, (65, 64.0, "held")], "ok", 30),
        # A higher maximum, and a proxy that waits for 60 s, or forgets after a time between 45 and 65.
        ([*HELD, (65, 60.0, "cut")], "warn", 30),
        ([*HELD, (65, 70.0, "silent")], "warn", 30),
        # One that waits for 32 s: a margin is left.
        ([*HELD[:3], (45, 32.0, "cut"), (65, 32.0, "cut")], "warn", 25),
        ([*HELD[:2], (30, 25.0, "cut"), (45, 25.0, "cut"), (65, 25.1, "cut")], "fail", 20),
        # A poll may come through by a hair that another one of the same length did not.
        ([*HELD[:1], (20, 20.003, "held"), (30, 20.001, "cut"), (45, 20.0, "cut"), (65, 20.0, "cut")], "fail", 16),
        ([*HELD[:2], (30, 35.0, "silent"), (45, 50.0, "silent"), (65, 70.0, "silent")], "fail", 19),
        ([(seconds, 5.01, "cut") for seconds in (10, 20, 30, 45, 65)], "fail", 4),
        ([(seconds, seconds + 5, "silent") for seconds in (10, 20, 30, 45, 65)], "fail", None),
        # Cut at random: no timeout helps.
        ([*HELD[:3], (45, 12.0, "cut"), (65, 54.0, "held")], "warn", None),
        # Refused for another reason.
        ([*HELD, (65, 0.01, "refused")], "fail", None),
    ],
)
def test_a_timeout_is_recommended_that_comes_through_with_a_margin(monkeypatch, outcomes, level, timeout):
    monkeypatch.setattr(holds, "DEFAULT_SECONDS", 30.0)
    assert judged(*outcomes)[:2] == (level, timeout)
