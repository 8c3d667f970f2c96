"""What a client may do how often: publishes, polls that were answered without an event, and polls at a time."""

import time
from collections import Counter

import gevent
import jwt
import pytest

from app.access.limits import LIMITS, limits_of
from app.channels import body
from app.knobs import Rate
from app.stores import Store
from tests.support.app import assert_nothing_left, parked, parts, problem, serving, wait_until

SECRET = "a secret of thirty-two bytes or more"
DAY = 86_400
#: A proxy stands in front, which has told the truth; and everybody may come.
OPEN = {"insecure": True}


def token(subject="ann", **rate):
    rights = {"publish": ["*"], "subscribe": ["*"], "rate": rate}
    claims = {"sub": subject, "exp": time.time() + 600, "bide": rights}
    return {"Authorization": "Bearer " + jwt.encode(claims, SECRET, "HS256")}


def publish(app, count=1, headers=None, path="/publish/news", **content):
    """The statuses of some publishes, one after another."""
    content = content or {"message": 1}
    return [app.test_client().post(path, json=content, headers=headers).status_code for _ in range(count)]


def poll(app, count=1, path="/subscribe/news?timeout=0", **more):
    return [app.test_client().get(path, **more).status_code for _ in range(count)]


def at(address):
    return {"X-Forwarded-For": address}


def test_without_limits_there_is_nothing():
    with serving() as app:
        assert LIMITS not in app.extensions
        assert set(poll(app, 50)) == set(publish(app, 50)) == {200}


def test_a_publish_too_many_is_refused_with_when_to_come_again():
    with serving(rate_publish=Rate(3, DAY)) as app:
        assert publish(app, 3) == [200] * 3
        answer = app.test_client().post("/publish/news", json={"message": 1})
        assert answer.status_code == 429
        document = problem(answer)
        assert document["type"] == "/problems/rate-limited"
        assert document["title"] == "That was asked too often"
        assert "3 publishes" in document["detail"]
        assert "BIDE_RATE_PUBLISH" in document["detail"]
        wait = int(answer.headers["Retry-After"])
        assert 0 < wait <= DAY
        assert answer.headers["RateLimit"] == f'"publish";r=0;t={wait}'
        assert answer.headers["RateLimit-Policy"] == f'"publish";q=3;w={DAY}'
        assert len(parts(app).history("news", 0, None, 100).events) == 3
        assert poll(app, 10) == [200] * 10


def test_a_worker_that_has_a_part_of_the_amount_says_which():
    with serving(rate_publish=Rate(5, DAY)) as app:
        app.extensions[LIMITS] = limits_of(parts(app).settings, parts(app).store, workers=2)
        assert publish(app, 2) == [200] * 2
        answer = app.test_client().post("/publish/news", json={"message": 1})
        assert answer.headers["RateLimit-Policy"] == f'"publish";q=2;w={DAY}'
        assert "At most 2 publishes" in problem(answer)["detail"]
        assert "this worker's part of 5" in problem(answer)["detail"]


def test_when_to_come_again_is_the_same_whoever_asks_how_often():
    with serving(rate_publish=Rate(1, DAY)) as app:
        publish(app)
        waits = {int(app.test_client().post("/publish/news").headers["Retry-After"]) for _ in range(20)}
        assert max(waits) - min(waits) <= 1  # no jitter: each client has its own time


def test_a_publish_is_refused_before_its_body_is_read(monkeypatch):
    with serving(rate_publish=Rate(1, DAY)) as app:
        publish(app)
        monkeypatch.setattr(body, "publication", None)
        assert publish(app) == publish(app, path="/publish", channels=["a"], message=1) == [429]


def test_a_publish_to_several_channels_counts_for_each_and_a_batch_as_one():
    with serving(rate_publish=Rate(10, DAY)) as app:
        assert publish(app, 3, messages=list(range(100))) == [200] * 3
        assert publish(app, path="/publish", channels=["a", "b", "c", "d", "e"], message=1) == [200]
        assert publish(app, 3) == [200, 200, 429]


def test_a_publish_to_more_channels_than_are_left_is_a_debt():
    with serving(rate_publish=Rate(2, DAY)) as app:
        assert publish(app, path="/publish", channels=["a", "b", "c", "d", "e"], message=1) == [200]
        answer = app.test_client().post("/publish/a")
        assert DAY < int(answer.headers["Retry-After"]) <= 2 * DAY


def test_each_address_counts_for_itself_and_no_name_that_a_client_gives_itself():
    with serving(rate_publish=Rate(2, DAY), **OPEN) as app:
        assert publish(app, 3, at("198.51.100.1") | {"X-Client-ID": "a"}) == [200, 200, 429]
        assert publish(app, 1, at("198.51.100.1") | {"X-Client-ID": "b"}) == [429]
        assert publish(app, 1, at("1.2.3.4, 198.51.100.1")) == [429]
        assert publish(app, 3, at("198.51.100.2")) == [200, 200, 429]
        assert publish(app, 3) == [200, 200, 429]
        assert publish(app, 3, at("2001:db8::1")) == [200, 200, 429]
        assert publish(app, 1, at("2001:db8::2")) == [429]


def test_who_is_no_trusted_proxy_is_himself_whatever_he_says():
    with serving(rate_publish=Rate(2, DAY), forwarded_allow_ips=(), **OPEN) as app:
        assert [publish(app, 1, at(f"198.51.100.{number}")) for number in range(3)] == [[200], [200], [429]]


@pytest.mark.parametrize("method", ["get", "head"])
def test_polls_without_an_event_are_counted_and_those_with_one_are_not(method):
    with serving(rate_subscribe=Rate(4, DAY), max_timeout_seconds=0.05, default_timeout_seconds=0) as app:
        publish(app)
        ask = getattr(app.test_client(), method)
        for _ in range(20):
            assert ask("/subscribe/news?timeout=0").status_code == 200
        polls = [ask("/subscribe/none?timeout=0") for _ in range(5)]
        assert [each.status_code for each in polls] == [200] * 4 + [429]
        assert polls[-1].headers["RateLimit-Policy"] == f'"subscribe";q=4;w={DAY}'
        # Whoever is refused is refused though there be an event: nobody has looked.
        assert ask("/subscribe/news?timeout=0").status_code == 429


def test_a_poll_by_post_counts_as_any_other():
    with serving(rate_subscribe=Rate(2, DAY), max_timeout_seconds=0.02, default_timeout_seconds=0) as app:
        asked = {"channels": {"a": 0, "b": 0}, "timeout": 0}
        assert [app.test_client().post("/subscribe", json=asked).status_code for _ in range(3)] == [200, 200, 429]


def test_a_poll_that_waited_is_counted_when_its_time_is_up_and_not_when_it_has_an_event():
    with serving(rate_subscribe=Rate(2, DAY), max_timeout_seconds=5, default_timeout_seconds=5) as app:
        for _ in range(5):
            waits = gevent.spawn(app.test_client().get, "/subscribe/news?timeout=5&last_event_id=latest")
            parked(parts(app))
            publish(app)
            assert waits.get(timeout=2).json["message"] == 1
        assert poll(app, 1, "/subscribe/none?timeout=0.01") == [200]
        # Half of what it may is used up: from here on it waits for its time.
        waits = gevent.spawn(app.test_client().get, "/subscribe/none?timeout=0.01")
        parked(parts(app))
        publish(app, path="/publish/none")
        assert waits.get(timeout=2).json["message"] == 1
        assert_nothing_left(parts(app))


def test_half_used_up_a_poll_that_does_not_wait_is_held_until_its_pace_or_an_event_allow_the_answer():
    with serving(rate_subscribe=Rate(2, DAY), max_timeout_seconds=0.3, default_timeout_seconds=0) as app:
        begun = time.monotonic()
        assert poll(app) == [200]
        assert time.monotonic() - begun < 0.2
        begun = time.monotonic()
        waits = gevent.spawn(app.test_client().get, "/subscribe/news?timeout=0")
        parked(parts(app))
        publish(app)
        assert waits.get(timeout=2).json["message"] == 1
        assert time.monotonic() - begun < 0.3
        begun = time.monotonic()
        assert poll(app, 1, "/subscribe/none?timeout=0") == [200]
        assert time.monotonic() - begun >= 0.3  # no longer than any poll
        assert poll(app) == [429]


def test_a_token_may_tighten_the_limit_and_never_loosen_it():
    limits = {"rate_publish": Rate(4, DAY), "jwt_secret": SECRET}
    with serving(**limits) as app:
        assert publish(app, 3, token("tight", publish="2/day")) == [200, 200, 429]
        assert publish(app, 5, token("loose", publish="1000/second")) == [200] * 4 + [429]
        assert publish(app, 5, token("long", publish="4/hour")) == [200] * 4 + [429]
        answer = app.test_client().post("/publish/a", headers=token("tight", publish="2/day"))
        assert "the token's claim bide.rate.publish" in problem(answer)["detail"]
        # Another token of the subject has what the server's limit leaves.
        assert publish(app, 3, token("tight")) == [200, 200, 429]


def test_a_token_that_allows_what_the_server_does_is_counted_once_by_each(monkeypatch):
    """Where counters are shared the two must not be one."""

    class Numbers(Counter):
        def incr(self, key, expiry, amount):
            self[key] += amount
            return self[key]

    numbers = Numbers()
    monkeypatch.setattr(Store, "counters", lambda store: numbers)
    with serving(rate_publish=Rate(40, DAY), jwt_secret=SECRET) as app:
        assert publish(app, 41, token("same", publish="40/day")) == [200] * 40 + [429]
        assert len(numbers) == 2
        assert max(numbers.values()) == 40
        assert not [name for name in numbers if "same" in name]


def test_who_publishes_much_at_once_has_no_more_by_two_limits_than_by_the_lower_one(monkeypatch):
    """While the counter of the one answers, others of the client use up what the other has."""

    class Numbers(Counter):
        def incr(self, key, expiry, amount):
            gevent.sleep(0.001)
            self[key] += amount
            return self[key]

    numbers = Numbers()
    monkeypatch.setattr(Store, "counters", lambda store: numbers)
    with serving(rate_publish=Rate(21, DAY), jwt_secret=SECRET) as app:
        its = token("ann", publish="88/day")
        statuses = Counter()
        for _ in range(3):
            publishes = [gevent.spawn(publish, app, headers=its) for _ in range(50)]
            statuses.update(status for each in publishes for status in each.get(timeout=5))
        assert statuses == {200: 21, 429: 129}


def test_a_tokens_limit_holds_where_the_server_has_none():
    with serving(jwt_secret=SECRET, max_timeout_seconds=0.02, default_timeout_seconds=0) as app:
        ann, ben = token("ann", publish="1/day", subscribe="2/day"), token("ben")
        assert publish(app, 2, ann) == [200, 429]
        assert poll(app, 3, "/subscribe/none?timeout=0", headers=ann) == [200, 200, 429]
        assert publish(app, 20, ben) == [200] * 20
        assert poll(app, 20, "/subscribe/none?timeout=0", headers=ben) == [200] * 20


def test_a_subject_is_one_client_wherever_it_comes_from_and_two_at_one_address_are_two():
    with serving(rate_publish=Rate(2, DAY), jwt_secret=SECRET) as app:
        for number in range(3):
            status = 200 if number < 2 else 429
            assert publish(app, 1, token("ann") | at(f"198.51.100.{number}")) == [status]
        assert publish(app, 3, token("ben") | at("198.51.100.1")) == [200, 200, 429]


def test_a_client_holds_so_many_polls_and_others_theirs():
    with serving(max_polls_per_client=2, **OPEN) as app:
        server = parts(app)

        def hold(address, channel="news"):
            return gevent.spawn(app.test_client().get, f"/subscribe/{channel}", headers=at(address))

        first, second = hold("198.51.100.1"), hold("198.51.100.1", "other")
        parked(server, 2)
        answer = app.test_client().get("/subscribe/news", headers=at("198.51.100.1"))
        document = problem(answer)
        assert (answer.status_code, document["type"]) == (429, "/problems/too-many-polls-of-client")
        assert document["title"] == "The client holds as many polls as one may"
        assert int(answer.headers["Retry-After"]) >= 1
        assert "RateLimit" not in answer.headers
        another = hold("198.51.100.2")
        parked(server, 3)
        publish(app)
        assert first.get(timeout=1).status_code == another.get(timeout=1).status_code == 200
        again = hold("198.51.100.1", "other")
        parked(server, 2)
        publish(app, path="/publish/other")
        assert second.get(timeout=1).status_code == again.get(timeout=1).status_code == 200
        assert_nothing_left(server)
        assert not server.subscriber._polls_of


def test_a_poll_that_cannot_be_opened_takes_no_place_of_its_client():
    with serving(max_polls_per_client=1) as app:
        server = parts(app)
        server.store.away = True
        assert poll(app, 5) == [503] * 5
        server.store.away = False
        assert poll(app, 5) == [200] * 5
        server.subscriber.max_polls = 0
        assert poll(app, 2) == [503] * 2
        server.subscriber.max_polls = 10
        assert poll(app) == [200]
        wait_until(lambda: not server.subscriber._polls_of, "nothing is counted")


def test_what_counts_a_clients_polls_is_one_for_all_of_them_and_bounded(monkeypatch):
    monkeypatch.setattr("app.access.limits.MOST_COUNTING", 3)
    with serving(rate_subscribe=Rate(100, DAY)) as app:
        found = app.extensions[LIMITS]
        counts = [found.poll({"REMOTE_ADDR": "192.0.2.1"}, None).empty for _ in range(2)]
        assert counts[0] is counts[1]
        for number in range(10):
            found.poll({"REMOTE_ADDR": f"192.0.2.{number}"}, None)
            assert len(found._counting) <= 3
