"""A worker that has as many connections as it can hold still answers: with 503, or by closing after the answer."""

import contextlib
import resource

import pytest

from tests.support.clients import Herd, Line, get, subscription
from tests.support.servers import Server, await_that

PLAIN_CONNECTIONS = 40
KEPT = PLAIN_CONNECTIONS * 9 // 10


@pytest.fixture
def small(tmp_path):
    """A worker of forty connections."""
    options = ["--worker-connections", str(PLAIN_CONNECTIONS), "--keep-alive", "75"]
    with Server(tmp_path, inspected=True, options=options) as server:
        yield server


def test_polls_over_the_bound_are_refused_on_connections_that_close(small):
    """Kept alive, those who were refused filled the pool, and the worker fell silent."""
    with Herd(small) as parked, Herd(small) as refused:
        parked.add(subscription("news"), KEPT)
        await_that(lambda: small.counts()["polls"] == KEPT)
        for _ in range(PLAIN_CONNECTIONS):
            refused.add(subscription("news"), 1)
            refused.read(lambda: not refused.open)
        assert len(refused.answers) == PLAIN_CONNECTIONS
        assert all((answer.status, answer.closes) == (503, True) for answer in refused.answers)
        assert all(int(answer.headers[b"retry-after"]) >= 1 for answer in refused.answers)
        assert small.get("/healthz")[0] == 200
        assert len(parked.open) == KEPT


def not_closing(server):
    """A line that the server keeps; None where it still has one more that a client has closed."""
    line = Line(server)
    if not line.ask(get("/healthz")).closes:
        return line
    line.sock.close()
    return None


def test_connections_over_the_bound_are_closed_after_their_answer(small):
    with Herd(small) as kept:
        kept.add(get("/healthz"), KEPT - 1)
        kept.read(lambda: len(kept.answers) == KEPT - 1)
        assert not any(answer.closes for answer in kept.answers)
        last = await_that(lambda: not_closing(small))
        with last, Line(small) as over:
            assert over.ask(get("/healthz")).closes
        assert len(kept.open) == KEPT - 1


def test_polls_that_all_come_to_one_of_two_listeners_leave_room_on_it(tmp_path):
    """Each has a pool of its own. Bounded by both together, polls filled the one, and it fell silent."""
    options = ["--worker-connections", str(PLAIN_CONNECTIONS)]
    with Server(tmp_path, inspected=True, options=options, listeners=2) as server, Herd(server) as herd:
        herd.add(subscription("news"), PLAIN_CONNECTIONS)
        herd.read(lambda: len(herd.answers) == PLAIN_CONNECTIONS - KEPT)
        assert {answer.status for answer in herd.answers} == {503}
        assert server.counts()["polls"] == KEPT


def test_polls_are_bounded_by_the_descriptors_that_the_process_may_have(tmp_path):
    """With fewer than BIDE_MAX_POLLS wants the worker met EMFILE and fell silent, /healthz included."""
    with Server(tmp_path, inspected=True, limits={resource.RLIMIT_NOFILE: (150, 150)}) as server:
        assert "ulimit -n" in server.output()
        with Herd(server) as herd:
            herd.add(subscription("news"), 120)
            herd.read(lambda: herd.answers)
            await_that(lambda: server.counts()["polls"] == 90)
            assert {answer.status for answer in herd.answers} == {503}
            assert server.get("/healthz")[0] == 200
            herd.add(b"", 60)  # more than there are descriptors: they wait to be accepted
            assert server.get("/healthz")[0] == 200
        assert "Too many open files" not in server.output()


@pytest.mark.parametrize(
    ("conf", "listeners", "most", "wanted"), [(1, 1, 315, 2150), (0, 1, 315, 2150), (0, 2, 158, 4250)]
)
def test_more_polls_than_the_descriptors_allow_are_refused_where_somebody_asked_for_them(
    tmp_path, conf, listeners, most, wanted
):
    """The default is for any machine; a bound that an operator relies on must not be another one in silence."""
    limits = {resource.RLIMIT_NOFILE: (400, 400)}
    server = Server(tmp_path, conf=conf, limits=limits, env={"BIDE_MAX_POLLS": 2000}, listeners=listeners)
    with contextlib.closing(server), pytest.raises(AssertionError, match="it ended with"):
        server.start()
    lines = [line for line in server.output().splitlines() if line.startswith("bide: ")]
    assert lines == [
        f"bide: BIDE_MAX_POLLS=2000 cannot be used: give at most {most}, "
        f"or let a process have {wanted} descriptors (ulimit -n)"
    ]
    assert "Traceback" not in server.output()
    assert not server.database.exists()


def test_as_many_polls_as_are_said_to_do_are_held(tmp_path):
    limits = {resource.RLIMIT_NOFILE: (400, 400)}
    with Server(tmp_path, inspected=True, limits=limits, env={"BIDE_MAX_POLLS": 315}) as server, Herd(server) as herd:
        assert "ulimit -n" not in server.output()
        herd.add(subscription("news"), 315)
        await_that(lambda: server.counts()["polls"] == 315)
        herd.add(subscription("news"), 1)
        herd.read(lambda: herd.answers)
        assert [answer.status for answer in herd.answers] == [503]
        assert server.get("/healthz")[0] == 200


def test_a_low_limit_of_descriptors_is_raised_as_far_as_it_may(tmp_path):
    with Server(tmp_path, inspected=True, limits={resource.RLIMIT_NOFILE: (150, 1000)}) as server:
        (pid,) = server.worker_pids()
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (1000, 1000)
