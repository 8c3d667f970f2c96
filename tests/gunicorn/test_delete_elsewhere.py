"""A delete that one worker acknowledged ends the polls that the other had, and none that is sent to it from then on.

No wake-up is sent here: a worker that does not look by itself learns of a delete up to 100 ms later.
"""

import pytest

from tests.gunicorn.test_two_workers import ask, lines, publish, unheard
from tests.support.clients import post, subscription
from tests.support.servers import await_that

POLLS = 5
ROUNDS = 25


def by_get():
    """Nothing of a late poll is sent beforehand."""
    return b"", subscription("news")


def by_post():
    """The head of a late poll is sent beforehand, and comes with polls that are parked."""
    request = post("/subscribe", {"channels": {"news": 0}, "timeout": 50})
    head, _, body = request.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


@pytest.mark.parametrize("late", [by_get, by_post])
def test_a_poll_that_is_sent_once_a_delete_was_acknowledged_elsewhere_is_not_ended_by_it(tmp_path, late):
    beforehand, then = late()
    with unheard(tmp_path) as server, lines(server, 2 * POLLS + 1, 1) as ((worker, *polling), (other,)):
        early, latecomers = polling[:POLLS], polling[POLLS:]
        for number in range(ROUNDS):
            for line in latecomers:
                line.send(beforehand)
            for line in early:
                line.send(subscription("news"))
            await_that(lambda: ask(worker, "/-test-/counts")["polls"] == POLLS)
            # The worker looks, and from here on no request comes but those that are late.
            worker.ask(subscription("other", 0, 0))
            assert other.ask(b"DELETE /channels/news HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 204
            for line in latecomers:
                line.send(then)
            # Once these know of it, all that know of it too late would.
            assert all("message" not in line.answer().json() for line in early)
            publish(other, "news", number)
            for line in latecomers:
                body = line.answer().json()
                assert [event["message"] for event in body.get("events", [body])] == [number]
            assert other.ask(b"DELETE /channels/news HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 204
