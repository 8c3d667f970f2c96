"""The client that every long-polling tutorial shows, written here as such tutorials write it."""

import threading
import uuid

import pytest
import requests

from .client import is_event_id


class TutorialClient:
    """Polls with the last id that it saw, takes one object at a time, and knows two kinds of answer."""

    def __init__(self, server, channel, wanted):
        self.url = f"{server.url}/subscribe/{channel}"
        self.headers = {"X-Client-ID": str(uuid.uuid4()), **server.headers}
        self.last_event_id = 0
        self.wanted = wanted
        self.messages = []
        self.timeouts = 0

    def run(self, **parameters):
        while len(self.messages) < self.wanted:
            parameters["last_event_id"] = self.last_event_id
            response = requests.get(self.url, params=parameters, headers=self.headers, timeout=40)
            response.raise_for_status()
            data = response.json()
            if data.get("status") == "timeout":
                self.timeouts += 1
                continue
            self.last_event_id = data["id"]
            self.messages.append(data["message"])


def publish(server, channel, message):
    return requests.post(
        f"{server.url}/publish/{channel}", json={"message": message}, headers=server.headers, timeout=40
    )


@pytest.fixture
def server(bide):
    """Of it the tests use URL and headers alone."""
    return bide


def test_its_publisher_gets_the_two_members_that_it_prints(server, channel):
    response = publish(server, channel, "Hello")
    assert response.status_code == 200
    assert response.json()["status"] == "published"
    assert is_event_id(response.json()["event_id"])


def test_its_reader_gets_all_that_is_published_while_it_runs(server, bide, channel):
    client = TutorialClient(server, channel, wanted=5)
    reader = threading.Thread(target=client.run, daemon=True)
    reader.start()
    bide.parked(channel)
    for n in range(5):
        publish(server, channel, f"message {n}")
    reader.join(10)
    assert client.messages == [f"message {n}" for n in range(5)]
    assert client.timeouts == 0


def test_its_reader_catches_up_with_what_was_published_before(server, channel):
    for n in range(3):
        publish(server, channel, {"text": f"message {n}", "user": "someone"})
    client = TutorialClient(server, channel, wanted=3)
    client.run()
    assert [each["text"] for each in client.messages] == ["message 0", "message 1", "message 2"]


def test_its_reader_that_ignores_the_cursor_of_a_timeout_misses_nothing(server, bide, channel):
    client = TutorialClient(server, channel, wanted=2)
    reader = threading.Thread(target=client.run, kwargs={"timeout": 0.2}, daemon=True)
    reader.start()
    bide.parked(channel)
    publish(server, channel, "one")
    publish(server, channel, "two")
    reader.join(10)
    assert client.messages == ["one", "two"]


def test_its_timeout_says_so_in_its_status(server, channel):
    response = requests.get(
        f"{server.url}/subscribe/{channel}",
        params={"last_event_id": 0, "timeout": 0.2},
        headers={"X-Client-ID": str(uuid.uuid4()), **server.headers},
        timeout=40,
    )
    assert response.status_code == 200
    assert response.json()["status"] == "timeout"


def test_its_two_readers_both_get_everything(server, bide, channel):
    clients = [TutorialClient(server, channel, wanted=3) for _ in range(2)]
    readers = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for reader in readers:
        reader.start()
    bide.parked(channel, 2)
    for n in range(3):
        publish(server, channel, n)
    for reader in readers:
        reader.join(10)
    assert [client.messages for client in clients] == [[0, 1, 2]] * 2


@pytest.mark.parametrize("body", [{}, {"message": None}, {"message": ""}, {"text": "Hello"}], ids=repr)
def test_its_mistakes_are_told_in_one_sentence(server, channel, body):
    response = requests.post(f"{server.url}/publish/{channel}", json=body, headers=server.headers, timeout=40)
    assert response.status_code == 400
    assert response.json()["error"] == "Message content is required"


def test_its_list_of_channels_holds_the_active_ones(server, channel):
    publish(server, channel, "Hello")
    response = requests.get(f"{server.url}/channels", params={"prefix": channel}, headers=server.headers, timeout=40)
    assert response.json()["active_channels"] == [channel]
