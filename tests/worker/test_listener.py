"""Who comes to a listening socket."""

import socket

from app.worker.listener import Listener


class Door:
    """Takes so many."""

    def __init__(self, room=100):
        self.room = room
        self.came = []

    def may_enter(self, listener):
        return len(self.came) < self.room

    def enter(self, client, address, listener):
        self.came.append(client)
        client.close()


def come(door, count):
    """Let so many connect before the loop turns once, and close the listener."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as sock:
        listener = Listener(door, sock, None, shared=True)
        for client in [socket.create_connection(listener.getsockname()) for _ in range(count)]:
            client.close()
        assert door.came == []
        listener.close()
    return len(door.came)


def test_who_came_before_the_worker_stops_is_accepted():
    """Its loop may be busy when it is told to: the plain worker goes on accepting for up to a second."""
    assert come(Door(), 20) == 20


def test_but_not_more_than_there_is_room_for():
    assert come(Door(room=5), 20) == 5
