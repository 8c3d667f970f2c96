"""A token is revoked on one worker while its poll is parked on the other: ended within a second, refused by both from
then on, and after `kill -9` too."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gunicorn.test_two_workers import ask, lines, unheard
from tests.support.clients import get, line_to, post, publication, subscription
from tests.support.servers import Server, await_that
from tests.support.tokens import ENV, all_rights, token

#: What is promised, on a machine that does nothing else; a worker looks ten times in it without being woken.
BOUND_SECONDS = 1.0

ROOT = f"Authorization: Bearer {all_rights('root')}"


def plain(folder):
    return Server(folder, workers=2, inspected=True)


def by(sub, **claims):
    """The header of whoever may read and publish."""
    return f"Authorization: Bearer {token({'subscribe': ['*'], 'publish': ['*']}, sub=sub, **claims)}"


def polls(who, cursor=0, timeout=50):
    return subscription("news", cursor, timeout, None, who)


def revoke(line, body):
    answer = line.ask(post("/auth/revoke", body, ROOT))
    assert answer.status == 200, answer.body
    return answer


def is_refused(line, who):
    answer = line.ask(polls(who, timeout=0))
    assert answer.status in (200, 401)
    assert (answer.status == 401) == (b"was revoked" in answer.body)
    return answer.status == 401


@pytest.mark.parametrize("serving", [plain, pytest.param(unheard, marks=pytest.mark.long)])
def test_a_token_that_is_revoked_on_one_worker_while_its_poll_is_parked_on_the_other(tmp_path, serving):
    server = serving(tmp_path)
    server.env = ENV
    with server, lines(server, 1, 1) as ((one,), (other,)):
        pids = [line.ask(get("/healthz")).pid for line in (one, other)]
        assert sorted(pids) == server.worker_pids()
        took = []
        for number in range(4):
            (here, here_pid), (there, there_pid) = ((one, pids[0]), (other, pids[1]))[:: 1 if number % 2 else -1]
            named = {"jti": str(number)} if number % 3 else {"sub": f"ann.{number}"}
            who, another = by(f"ann.{number}", jti=str(number)), by("ann", jti="another")
            with line_to(server, there_pid) as parked, line_to(server, there_pid) as waiting:
                parked.send(polls(who))
                waiting.send(polls(another))
                await_that(lambda there=there: ask(there, "/-test-/counts")["polls"] == 2)
                done = revoke(here, named)
                answer = parked.answer(within=20)
                took.append(answer.at - done.at)
                assert (done.pid, answer.pid) == (here_pid, there_pid)
                assert (answer.status, answer.json()["status"]) == (200, "timeout")
                assert answer.closes or Server.gevent
                assert all(is_refused(line, who) for line in (here, there))
                assert not any(is_refused(line, another) for line in (here, there))
                # Who was not meant waits on.
                sent = here.ask(publication("news", [number], another)).json()["event_id"]
                assert waiting.answer(within=20).json()["id"] == sent
                here.ask(f"DELETE /channels/news HTTP/1.1\r\nHost: localhost\r\n{ROOT}\r\n\r\n".encode())
        print(f"the longest {max(took) * 1000:.1f} ms")
        assert max(took) < BOUND_SECONDS
        assert "Traceback" not in server.output()


def test_what_was_revoked_stays_so_through_kill_9_and_a_restart(tmp_path):
    with Server(tmp_path, workers=2, inspected=True, env=ENV) as server:
        with lines(server, 1, 1) as ((one,), (other,)), ThreadPoolExecutor() as at_once:
            done = [at_once.submit(revoke, one, {"sub": "ann"}), at_once.submit(revoke, other, {"jti": "7"})]
            assert [call.result().pid for call in done] == [line.ask(get("/healthz")).pid for line in (one, other)]
        server.kill9()
        server.start()
        with lines(server, 1, 1) as ((one,), (other,)):
            for line in (one, other):
                assert is_refused(line, by("ann"))
                assert is_refused(line, by("bob", jti="7"))
                assert not is_refused(line, by("bob"))
