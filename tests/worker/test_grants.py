"""What later parts fill into a grant, each driven here by a dummy: expiry, revocation, counters, another framing."""

import time
from types import SimpleNamespace

import gevent
import pytest

from app import grant as grants
from app.grant import Grant
from app.worker import parked
from app.worker.state import State
from tests.support.app import assert_nothing_left
from tests.worker.conftest import HEAD, KNOWN, read, taken, until


def test_a_poll_ends_when_its_right_to_wait_does(bide, park):
    begun = time.monotonic()
    _, client = park(expires_at=begun + 0.1)
    answer = read(client)
    assert b'"status":"timeout"' in answer
    assert b"Connection: close\r\n" in answer
    assert 0.1 <= time.monotonic() - begun < 1
    assert_nothing_left(bide)


def test_a_poll_that_is_revoked_ends_and_has_nothing_of_what_came_meanwhile(bide, park):
    connection, client = park()
    _, other = park()
    bide.publisher.publish("news", 1)
    connection._grant.poll.waiter.end("revoked")
    answer = read(client)
    assert b"Connection: close\r\n" in answer
    assert b'"status":"timeout"' in answer  # and no event, though one came in the same moment
    assert b'"message":1' in read(other)


def test_whose_token_is_known_to_be_revoked_has_no_event_and_takes_it_from_nobody(bide, park):
    """Thousands of polls are looked at one after another: an event may come before the turn of this one."""
    connection, client = park()
    _, other = park()
    connection._grant.poll.waiter.permit = SimpleNamespace(is_revoked=True)
    bide.publisher.publish("news", 1)  # the first is answered first, and both stand at the same place
    assert b'"status":"timeout"' in read(client)
    assert b'"message":1' in read(other)


def test_an_allowance_is_told_of_answers_without_an_event_and_of_the_end(bide, park):
    empty, ended = [], []
    _, client = park(empty=lambda: empty.append("with"), ended=lambda: ended.append("with"))
    _, late = park(empty=lambda: empty.append("without"), ended=lambda: ended.append("without"), timeout=0.05)
    read(late)
    bide.publisher.publish("news", 1)
    read(client)
    until(lambda: len(ended) == 2)
    assert empty == ["without"]
    assert ended == ["without", "with"]


def test_an_allowance_is_told_of_a_client_that_left(bide, park):
    """Or who polls and leaves, again and again, would do so without a limit."""
    empty, ended = [], []
    _, client = park(empty=lambda: empty.append(1), ended=lambda: ended.append(1))
    client.close()
    until(lambda: ended)
    assert (empty, ended) == ([1], [1])


def test_an_allowance_is_told_of_a_connection_that_the_worker_closes(bide, park):
    ended = []
    connection, _ = park(ended=lambda: ended.append(1))
    connection.close()
    connection.close()
    assert ended == [1]
    assert_nothing_left(bide)


def test_an_allowance_is_told_of_an_answer_that_was_thrown_away(office, bide, connect):
    ended = []

    def view(connection):
        poll = bide.subscriber.open({"news": 0}, connection.waiter(), timeout=50)
        connection.hold(Grant(poll, ended=lambda: ended.append(1)))
        connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")

    office.view = view
    _, client = connect()
    client.sendall(HEAD)
    assert read(client).startswith(b"HTTP/1.1 500")
    until(lambda: ended)
    assert ended == [1]
    assert_nothing_left(bide)


class Lines:
    """A stream: an answer is a line, and the grant lives on."""

    lives_on = True

    def frame(self, grant, page, closes):
        return b"".join(event.json + b"\n" for event in page.events) or b"\n"


def test_a_framing_that_lives_on_has_one_event_after_another_and_ends_with_the_worker(office, bide, park):
    connection, client = park(framing=Lines())
    for message in range(3):
        bide.publisher.publish("news", message)
        assert b'"message":%d,' % message in read(client)
        assert connection.state is State.PARKED
    bide.publisher.publish("other", 1)
    assert taken(client) is None
    office.closes_polls = True
    connection._grant.poll.waiter.end("draining")
    assert read(client) == b"\n"
    assert read(client) == b""
    assert_nothing_left(bide)


def test_what_is_left_behind_a_page_follows_it(bide, park):
    connection, client = park(framing=Lines())
    bide.publisher.append("news", [b"1", b"2", b"3"], None, None)
    lines = b""
    while lines.count(b"\n") < 3:
        lines += read(client)
    assert [b'"message":%d,' % number in line for number, line in enumerate(lines.splitlines(), 1)] == [True] * 3
    assert connection.state is State.PARKED
    assert taken(client) is None


def test_bytes_without_end_behind_a_stream_are_read_no_further_after_an_answer(office, bide, park, monkeypatch):
    monkeypatch.setattr(parked, "BEHIND_BYTES", 100)
    connection, client = park(framing=Lines())
    client.sendall(b"X" * 101)
    until(lambda: len(connection.unread) > 100)
    client.sendall(b"Y" * 10_000)
    for message in range(3):
        bide.publisher.publish("news", message)
        assert b'"message":%d,' % message in read(client)
        gevent.sleep(0.01)
    assert len(connection.unread) == 101
    assert len(office.hang_ups) == 1
    client.close()
    until(lambda: office.left)
    assert len(office.hang_ups) == 0
    assert_nothing_left(bide)


@pytest.mark.parametrize("different", [{}, {"empty": lambda: None}])
def test_polls_that_stand_at_the_same_place_are_answered_with_the_same_bytes(bide, park, monkeypatch, different):
    first = bide.publisher.publish("news", 0)
    _, one = park(first)
    _, another = park(first, **different)
    frames = []
    frame = grants.POLL.frame
    monkeypatch.setattr(type(grants.POLL), "frame", lambda *args: frames.append(1) or frame(*args[1:]))
    bide.publisher.publish("news", 1)
    assert read(one) == read(another)
    assert frames == [1]
    assert_nothing_left(bide)


def test_pages_of_one_origin_share_their_bytes_and_those_of_two_never_do(bide, park, monkeypatch):
    frames = []
    frame = grants.POLL.frame
    monkeypatch.setattr(type(grants.POLL), "frame", lambda *args: frames.append(1) or frame(*args[1:]))
    heads = [KNOWN + b"Access-Control-Allow-Origin: https://%b.example\r\n" % name for name in (b"a", b"b")]
    clients = [park(head=head)[1] for head in (*heads, KNOWN) * 2]
    bide.publisher.publish("news", 1)
    answers = [read(client) for client in clients]
    assert [answer.partition(b"Connection")[0] for answer in answers] == [*heads, KNOWN] * 2
    assert len(frames) == 3
    assert_nothing_left(bide)


@pytest.mark.parametrize("what", ["form", "head", "end"])
def test_but_not_where_anything_of_the_answer_differs(bide, park, what):
    _, plain = park()
    head = KNOWN + b"Access-Control-Allow-Origin: https://a.example\r\n"
    different = {
        "form": {"limit": 10},
        "head": {"head": head},
        "end": {"closes": True},
    }
    _, other = park(**different[what])
    bide.publisher.publish("news", 2)
    theirs, his = read(plain), read(other)
    assert b'"message":2' in theirs
    assert b'"message":2' in his
    assert (b"Access-Control" in theirs, b"Connection: close" in theirs, b'"events"' in theirs) == (False,) * 3
    assert b"Access-Control" in his if what == "head" else b"Access-Control" not in his
    assert b"Connection: close" in his if what == "end" else b"Connection: keep-alive" in his
    assert b'"events"' in his if what == "form" else b'"events"' not in his
    assert_nothing_left(bide)


def test_a_client_that_asks_again_at_once_is_read_when_all_are_answered(bide, park, office):
    connection, client = park()
    other, slow = park()
    bide.publisher.publish("news", 1)
    assert b'"message":1' in read(client)
    client.sendall(HEAD)
    assert b'"message":1' in read(slow)
    until(lambda: len(office.served) == 3)
    until(lambda: connection.state is State.PARKED)
    assert other.state is State.READING


def test_a_poll_that_cannot_be_let_go_of_keeps_its_connection_from_nothing(office, bide, park, caplog):
    """It stayed where it was, for ever, and its client's next request turned the loop without end."""

    def fail():
        raise RuntimeError("of this test")

    _, client = park(ended=fail)
    bide.publisher.publish("news", "hello")
    assert read(client).startswith(KNOWN)
    office.view = lambda connection: connection.sendall(b"second")
    client.sendall(HEAD)
    assert read(client) == b"second"
    assert "a poll could not be let go of" in caplog.text
    assert_nothing_left(bide)
