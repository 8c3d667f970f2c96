"""`POST /auth/revoke`: whose tokens it ends, whose it does not, and what comes between two steps of a poll."""

import time
from types import SimpleNamespace

import gevent
import msgspec
import pytest

from app.access import revoking
from app.channels import body
from app.config import MAX_SECONDS
from app.errors import StoreUnavailable
from app.stores.base import Revocation
from app.stores.memory import MemoryStore
from tests.support.app import SOON_SECONDS, parked, parts, problem, serving, staged, store_url
from tests.support.tokens import SECRET, all_rights, bearer, token

MAY = {"subscribe": ["*"], "publish": ["*"]}
POLL = "/subscribe/news?timeout=0"


@pytest.fixture(params=["memory", "sqlite"])
def app(request, tmp_path):
    with serving(store_url(request.param, tmp_path), time.time, jwt_secret=SECRET) as app:
        yield app


#: Where the store does nothing of what is tested.
on_memory = pytest.mark.parametrize("app", ["memory"], indirect=True)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def server(app):
    return parts(app)


def mine(sub="ann", **claims):
    return bearer(token(MAY, sub=sub, **claims))


def revoke(client, body, by="root"):
    return client.post("/auth/revoke", json=body, headers=bearer(all_rights(by)))


def is_let_in(client, headers):
    answer = client.get(POLL, headers=headers)
    if answer.status_code == 200:
        return True
    assert answer.status_code == 401
    assert problem(answer)["detail"] == "The token was revoked"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="bide", error="invalid_token"'
    return False


def waiting(app, headers, channels="news", cursor=0, timeout=50):
    """A poll that waits, in a greenlet, from when it is parked."""
    path = f"/subscribe/{channels}?timeout={timeout}&last_event_id={cursor}"
    greenlet = gevent.spawn(lambda: app.test_client().get(path, headers=headers))
    parked(parts(app))
    return greenlet


# Whose tokens


def test_all_tokens_of_a_subject_are_refused_and_nobody_else_s(client):
    tokens = [mine(jti="1"), mine(jti="2"), mine(iat=int(time.time()) - 1000), mine()]
    others = [mine("bob"), mine("Ann"), mine("ann ")]
    assert all(is_let_in(client, each) for each in tokens + others)
    assert revoke(client, {"sub": "ann"}).status_code == 200
    assert not any(is_let_in(client, each) for each in [*tokens, mine(jti="new to this server")])
    assert all(is_let_in(client, each) for each in others)


def test_one_token_is_refused_and_no_other_of_its_subject(client):
    assert revoke(client, {"jti": "1"}).status_code == 200
    assert not is_let_in(client, mine(jti="1"))
    assert all(is_let_in(client, each) for each in (mine(jti="2"), mine(jti="1 "), mine(), mine("1")))


def test_a_jti_is_no_subject_and_a_subject_no_jti(client):
    revoke(client, {"jti": "ann"})
    revoke(client, {"sub": "1"})
    assert is_let_in(client, mine(jti="1"))


def test_whoever_logs_in_anew_is_let_in(client, monkeypatch):
    now = time.time()
    with monkeypatch.context() as earlier:
        earlier.setattr(revoking, "time", SimpleNamespace(time=lambda: now - 100))
        until = msgspec.json.decode(revoke(client, {"sub": "ann"}).data)["issued_until"]
    assert not is_let_in(client, mine(iat=until))
    assert is_let_in(client, mine(iat=until + 1))
    revoke(client, {"sub": "ann"})  # moves the moment forward
    assert not is_let_in(client, mine(iat=until + 1))


@on_memory
@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_what_was_issued_in_the_same_second_or_by_a_clock_that_is_ahead_is_covered(client, ahead):
    last = mine(iat=time.time() + ahead)
    assert is_let_in(client, last)
    revoke(client, {"sub": "ann"})
    assert not is_let_in(client, last)


def test_who_revokes_his_own_tokens_is_answered_and_then_refused(client):
    assert revoke(client, {"sub": "root"}).status_code == 200
    assert revoke(client, {"sub": "ann"}).status_code == 401


# What is asked, and what is answered


def test_the_answer_says_what_is_revoked_and_until_when(client):
    now = time.time()
    answer = revoke(client, {"sub": "ann", "exp": now + 600.5, "reason": "unknown fields are ignored"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json.keys() == {"status", "sub", "issued_until", "until"}
    assert (answer.json["status"], answer.json["sub"]) == ("revoked", "ann")
    assert now + 5 <= answer.json["issued_until"] <= time.time() + 6
    assert now + 600 <= answer.json["until"] <= now + 602
    assert revoke(client, {"jti": "é", "exp": int(now) + 9}).json == {
        "status": "revoked",
        "jti": "é",
        "until": int(now) + 9,
    }


def test_it_is_kept_for_good_where_nobody_says_when_the_tokens_expire(client, server):
    until = revoke(client, {"sub": "ann"}).json["until"]
    assert time.time() + MAX_SECONDS - 10 < until
    # And one that is said to end sooner does not shorten it.
    assert revoke(client, {"sub": "ann", "exp": time.time() + 5}).json["until"] == until
    assert [each.until for each in server.store.revocations()] == [until]


@on_memory
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, '{"sub": "ann"} or {"jti": "9f1c"}'),
        ({"sub": "ann", "jti": "1"}, '{"sub": "ann"} or {"jti": "9f1c"}'),
        ({"sub": None}, '{"sub": "ann"} or {"jti": "9f1c"}'),
        ({"sub": ""}, "sub is a text of 1 to 255"),
        ({"sub": 5}, "sub is a text"),
        ({"sub": ["ann"]}, "sub is a text"),
        ({"sub": "a" * 256}, "sub is a text"),
        ({"sub": "a\nb"}, "printable"),
        ({"jti": ""}, "jti is a text of 1 to 255"),
        ({"jti": 5}, "jti is a text"),
        ({"jti": "1" * 256}, "jti is a text"),
        ({"sub": "ann", "exp": "1790000000"}, "exp is in Unix seconds"),
        ({"sub": "ann", "exp": True}, "exp is in Unix seconds"),
        ({"sub": "ann", "exp": 1}, "not in the past"),
        ({"sub": "ann", "exp": -1e300}, "not in the past"),
        ({"sub": "ann", "exp": 1790000000000}, "within ten years"),
        ({"sub": "ann", "exp": 10**30}, "exp is in Unix seconds"),
        ([], "JSON object"),
    ],
)
def test_what_cannot_be_revoked_is_told_what_can(client, server, body, says):
    answer = revoke(client, body)
    assert answer.status_code == 400
    assert says in problem(answer)["detail"]
    assert server.store.revocations() == []


@on_memory
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {}),
        (403, mine()),
        (403, bearer(token({"admin": ["a*"]}))),
        (403, bearer(token({"admin": ["ann", "@bide.*"]}))),
        (200, bearer(token({"admin": ["a", "*"]}))),
    ],
)
def test_it_needs_the_right_to_administer_everything(client, server, status, headers):
    answer = client.post("/auth/revoke", json={"sub": "bob"}, headers=headers)
    assert answer.status_code == status
    assert len(server.store.revocations()) == (status == 200)


def test_without_a_key_there_is_nothing_to_revoke():
    with serving() as app:
        answer = app.test_client().post("/auth/revoke", json={"sub": "ann"})
        assert answer.status_code == 404
        assert problem(answer)["type"] == "/problems/no-tokens"
        assert "BIDE_JWT_SECRET" in problem(answer)["detail"]
        assert parts(app).store.revocations() == []


def test_where_there_are_too_many_it_is_told_how_to_have_fewer():
    with serving(clock=time.time, jwt_secret=SECRET, max_revocations=1) as app:
        client = app.test_client()
        assert revoke(client, {"sub": "ann"}).status_code == 200
        answer = revoke(client, {"sub": "bob"})
        assert answer.status_code == 507
        assert problem(answer)["type"] == "/problems/too-many-revocations"
        assert "exp" in problem(answer)["detail"]
        assert is_let_in(client, mine("bob"))
        assert not is_let_in(client, mine())


# The store is away


def test_what_the_store_did_not_keep_is_not_done(client, server, monkeypatch):
    def away(*_):
        raise StoreUnavailable("The store cannot be used at the moment: try again", retry_after=1)

    with monkeypatch.context() as outage:
        outage.setattr(server.store.store, "revoke", away)
        answer = revoke(client, {"sub": "ann"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
    assert is_let_in(client, mine())
    assert server.store.revocations() == []


def test_while_the_store_is_away_tokens_are_judged_by_what_is_known(app, client, server):
    revoke(client, {"sub": "ann"})
    staged(server).away = True
    assert not is_let_in(client, mine())
    assert client.get(POLL, headers=mine("bob")).status_code == 503  # by the read, and not by the token


def test_until_it_could_be_read_what_was_revoked_nobody_is_let_in(monkeypatch):
    listed = MemoryStore.revocations
    away = [True]

    def revocations(store):
        if away:
            raise StoreUnavailable("The store cannot be used at the moment: try again", retry_after=1)
        return [*listed(store), Revocation("sub", "ann", int(time.time()) + 5, int(time.time()) + 100)]

    monkeypatch.setattr(MemoryStore, "revocations", revocations)
    with serving(clock=time.time, jwt_secret=SECRET) as app:
        client = app.test_client()
        for _ in range(2):
            for each in (mine(), mine("bob")):
                answer = client.get(POLL, headers=each)
                assert answer.status_code == 503
                assert "revoked" in problem(answer)["detail"]
                assert answer.headers["Retry-After"]
        assert client.get("/readyz").status_code == 503
        away.clear()
        with gevent.Timeout(SOON_SECONDS * 5):
            while client.get("/readyz").status_code == 503:
                gevent.sleep(0.01)
        assert is_let_in(client, mine("bob"))
        assert not is_let_in(client, mine())


# Polls


def test_its_polls_are_ended_with_nothing_and_those_of_others_wait_on(app, client, server):
    mines = waiting(app, mine("bob"))
    poll = gevent.spawn(lambda: app.test_client().get("/subscribe/news,other?timeout=50", headers=mine()))
    parked(server, 2)
    revoke(client, {"sub": "ann"})
    server.publisher.publish("news", 1)
    answer = poll.get(timeout=SOON_SECONDS)
    assert (answer.status_code, answer.json["status"]) == (200, "timeout")
    assert mines.get(timeout=SOON_SECONDS).json["message"] == 1


def test_a_poll_of_a_token_without_its_jti_waits_on(app, client, server):
    poll = waiting(app, mine(jti="2"))
    ended = gevent.spawn(lambda: app.test_client().get("/subscribe/news?timeout=50", headers=mine(jti="1")))
    parked(server, 2)
    revoke(client, {"jti": "1"})
    assert ended.get(timeout=SOON_SECONDS).json["status"] == "timeout"  # all polls were looked at
    server.publisher.publish("news", 1)
    assert poll.get(timeout=SOON_SECONDS).json["message"] == 1


# Races, each made to happen


def empty(poll):
    answer = poll.get(timeout=SOON_SECONDS)
    assert (answer.status_code, answer.json["status"]) == (200, "timeout")
    return True


@pytest.mark.parametrize("published", [True, False])
def test_a_token_that_is_revoked_between_its_check_and_the_parking_of_its_poll(
    app, client, server, monkeypatch, published
):
    if published:
        server.publisher.publish("news", 1)

    def catch_up():
        """The first that a poll does once its token was checked. Those that are parked are looked at meanwhile."""
        revoke(client, {"sub": "ann"})
        gevent.sleep(0.02)

    monkeypatch.setattr(server.store, "catch_up", catch_up, raising=False)
    poll = gevent.spawn(lambda: app.test_client().get("/subscribe/news?timeout=50", headers=mine()))
    assert empty(poll)
    assert not is_let_in(client, mine())


@pytest.mark.parametrize("when", ["before_read", "after_read"])
@pytest.mark.parametrize("published", [True, False])
def test_a_token_that_is_revoked_while_its_poll_is_read_from_the_store(app, client, server, when, published):
    if published:
        server.publisher.publish("news", 1)
    getattr(staged(server), when).append(lambda: revoke(client, {"sub": "ann"}))
    assert empty(gevent.spawn(lambda: app.test_client().get("/subscribe/news?timeout=50", headers=mine())))


@pytest.mark.parametrize("when", ["before_read", "after_read"])
def test_a_token_that_is_revoked_while_its_roused_poll_reads_the_store(app, client, server, when):
    poll = waiting(app, mine())
    getattr(staged(server), when).append(lambda: revoke(client, {"sub": "ann"}))
    server.publisher.publish("news", 1)
    server.notifier.lost()  # so that it has to
    assert empty(poll)
    assert not getattr(staged(server), when)


@pytest.mark.parametrize("ends", ["deleted", "draining", "hung up"])
def test_a_poll_that_ends_otherwise_in_the_same_moment_has_nothing_either(app, client, server, ends):
    poll = waiting(app, mine())
    (waiter,) = server.notifier._waiters
    revoke(client, {"sub": "ann"})
    waiter.end(ends)
    server.publisher.publish("news", 1)
    assert empty(poll)


def test_two_that_are_revoked_at_once_are_both(app, client, server):
    polls = [waiting(app, mine())]
    polls.append(gevent.spawn(lambda: app.test_client().get("/subscribe/news?timeout=50", headers=mine("bob"))))
    parked(server, 2)
    calls = [gevent.spawn(revoke, app.test_client(), {"sub": sub}) for sub in ("ann", "bob")]
    assert [call.get(timeout=SOON_SECONDS).status_code for call in calls] == [200, 200]
    assert all(empty(poll) for poll in polls)
    assert not is_let_in(client, mine())
    assert not is_let_in(client, mine("bob"))
    assert len(server.store.revocations()) == 2


def test_the_same_that_is_revoked_twice_at_once_is_kept_for_the_longer(app, client, server):
    now = int(time.time())
    calls = [
        gevent.spawn(revoke, app.test_client(), {"sub": "ann", "exp": now + seconds}) for seconds in (100, 200, 50)
    ]
    gevent.joinall(calls)
    assert [each.until for each in server.store.revocations()] == [now + 200]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/publish/news", {"message": 1}),
        ("/publish", {"channels": ["news", "other"], "message": 1}),
        ("/subscribe", {"channels": {"news": 0}, "timeout": 0}),
        ("/auth/revoke", {"sub": "ben"}),
    ],
)
@pytest.mark.parametrize("ends", ["revoked", "expired"])
def test_a_token_that_ends_while_a_body_comes_does_nothing_any_more(client, server, monkeypatch, path, content, ends):
    its = bearer(all_rights("ann"))
    read = body.read

    def slowly(environ, max_bytes):
        monkeypatch.setattr(body, "read", read)
        if ends == "revoked":
            revoke(client, {"sub": "ann"})
        else:
            now = time.time()
            monkeypatch.setattr(time, "time", lambda: now + 4000)
        return read(environ, max_bytes)

    monkeypatch.setattr(body, "read", slowly)
    answer = client.post(path, json=content, headers=its)
    assert answer.status_code == 401
    assert problem(answer)["detail"] == f"The token {'was' if ends == 'revoked' else 'has'} {ends}"
    assert server.store.channels("", "", 10) == []
    assert [each.value for each in server.store.revocations()] == (["ann"] if ends == "revoked" else [])
