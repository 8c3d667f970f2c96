"""The server's own pages."""

import pytest
import requests

from .client import is_json


@pytest.mark.parametrize(
    "accept", [(), ("Accept: */*",), ("Accept: application/json",), ("Accept: application/*",)], ids=str
)
def test_a_program_is_greeted_in_json(bide, accept):
    answer = bide.exact("GET", "/", *accept)
    assert answer.status_code == 200
    assert is_json(answer)
    body = answer.json()
    assert set(body) == {"message", "version", "links"}
    assert isinstance(body["message"], str)
    assert body["message"]
    assert isinstance(body["version"], str)
    assert body["version"][0].isdigit()
    assert body["links"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_server_that_runs_is_healthy_and_ready(bide, path):
    assert bide.get(path).status_code == 200
    head = bide.request("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")


def test_it_stays_ready_while_polls_are_parked(bide, channel):
    polls = [bide.hold(channel, headers={"X-Client-ID": f"c{n}"}) for n in range(10)]
    bide.parked(channel, 10)
    assert bide.get("/readyz").status_code == 200
    event_id = bide.publish(channel, "end")
    assert {poll.answer()["id"] for poll in polls} == {event_id}


def test_one_connection_serves_many_requests(bide, channel):
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(bide.headers)
        ids = []
        for n in range(5):
            ids.append(session.post(f"{bide.url}/publish/{channel}", json={"message": n}).json()["event_id"])
            cursor = ids[-2] if n else 0
            polled = session.get(f"{bide.url}/subscribe/{channel}", params={"last_event_id": cursor})
            assert polled.json()["id"] == ids[-1]
            assert session.get(f"{bide.url}/nothing").status_code == 404
