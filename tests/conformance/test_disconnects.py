"""A client that leaves takes its parked poll with it."""

import socket
import struct

import pytest

from .client import AT_ONCE_SECONDS, await_that, fresh, read_answer

# A server shows a client for 5 s after its poll, and may look for those that left only now and then.
FORGOTTEN_SECONDS = 15


def park(bide, channel, name):
    """A poll on a bare socket, to be held for longer than any test takes."""
    sock = bide.connect()
    sock.sendall(bide.head("GET", f"/subscribe/{channel}?timeout=50", f"X-Client-ID: {name}"))
    return sock


def close(sock):
    sock.close()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half_close(sock):
    sock.shutdown(socket.SHUT_WR)


def rest(sock):
    """All that still comes, to the end of the connection."""
    sock.settimeout(AT_ONCE_SECONDS)
    parts = []
    try:
        while part := sock.recv(4096):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def waiting(bide, channel):
    body = bide.get(f"/channels/{channel}/subscribers").json()
    return {each["client_id"].removeprefix(bide.known_as("")) for each in body["subscribers"]}


def test_those_who_left_are_forgotten_and_those_who_stay_are_not(bide, channel):
    other = fresh()
    leavers = {"closes": close, "resets": reset, "half-closes": half_close, "leaves-both": close}
    names = {*leavers, "stays"}
    polled = {name: f"{channel},{other}" if name == "leaves-both" else channel for name in names}
    socks = {name: park(bide, polled[name], name) for name in names}
    await_that(lambda: waiting(bide, channel) == names and waiting(bide, other) == {"leaves-both"})
    for name, leave in leavers.items():
        leave(socks[name])
    await_that(lambda: waiting(bide, channel) == {"stays"}, within=FORGOTTEN_SECONDS)
    await_that(lambda: bide.is_unknown(other))
    assert bide.info(channel)["subscribers"] == 1
    event_id = bide.publish(channel, "still here?")
    assert read_answer(socks["stays"]).json()["id"] == event_id
    for sock in socks.values():
        sock.close()


def test_a_half_closed_connection_is_closed_by_the_server_at_once(bide, channel):
    with park(bide, channel, "a") as sock:
        bide.parked(channel)
        half_close(sock)
        assert b"HTTP/1.1 5" not in rest(sock)


@pytest.mark.parametrize("leave", [close, reset], ids=["close", "reset"])
def test_an_event_that_a_lost_poll_would_have_had_is_there_for_the_next(bide, channel, leave):
    head = bide.publish(channel, "before")
    with bide.connect() as sock:
        sock.sendall(bide.head("GET", f"/subscribe/{channel}?timeout=50&last_event_id={head}"))
        bide.parked(channel)
        leave(sock)
    event_id = bide.publish(channel, "after")
    assert bide.polled(channel, last_event_id=head)["id"] == event_id


def test_many_that_leave_at_once_disturb_nobody(bide, channel):
    socks = [park(bide, channel, f"c{n}") for n in range(40)]
    poll = bide.hold(channel, headers={"X-Client-ID": "stays"})
    bide.parked(channel, 41)
    for n, sock in enumerate(socks):
        (close, reset)[n % 2](sock)
    event_id = bide.publish(channel, "news")
    assert poll.answer()["id"] == event_id
    assert bide.get("/readyz").status_code == 200
