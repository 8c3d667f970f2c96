"""A token becomes a cookie, and a browser forgets it again."""

import time
from http.cookies import SimpleCookie

import pytest

from app.access.permit import Permit
from app.access.tokens import Tokens
from app.revocations import Revocations
from tests.access.asking import OWN, POLL, SECRET, bearer, cookie, in_query, refused, token
from tests.support.app import problem, serving


@pytest.fixture
def client():
    with serving(jwt_secret=SECRET, token_in_query=True) as app:
        yield app.test_client(use_cookies=False)


def begun(client, text, status=200):
    answer = client.post("/auth/session", headers=bearer(text))
    assert answer.status_code == status, answer.text
    return answer


def morsel(answer):
    """The one cookie that an answer sets."""
    (header,) = answer.headers.getlist("Set-Cookie")
    cookies = SimpleCookie(header)
    assert list(cookies) == ["__Host-bide"]
    return cookies["__Host-bide"]


def test_a_token_becomes_a_cookie_that_only_this_server_is_sent(client):
    text = token("ann", 600)
    answer = begun(client, text)
    set_ = morsel(answer)
    assert set_.value == text
    assert (set_["path"], set_["secure"], set_["httponly"], set_["samesite"]) == ("/", True, True, "Strict")
    assert (set_["domain"], set_["expires"]) == ("", "")
    assert 590 <= int(set_["max-age"]) <= 600
    assert answer.headers["Cache-Control"] == "no-store"
    document = answer.get_json()
    assert document.keys() == {"sub", "expires_at"}
    assert document["sub"] == "ann"
    assert abs(document["expires_at"] - time.time() - 600) < 60
    assert client.get(POLL, headers=cookie(set_.value)).status_code == 200


def test_a_session_is_for_any_valid_token_whatever_it_allows(client):
    begun(client, token(bide={}))
    begun(client, token(bide=None))


def test_the_cookie_ends_with_the_token(client):
    # Within the leeway the token is good for a moment, the cookie for none.
    assert int(morsel(begun(client, token(seconds=-2)))["max-age"]) == 0
    refused(client.post("/auth/session", headers=bearer(token(seconds=-60))), "expired", "invalid_token")
    # No browser keeps one for longer than 400 days, and some take a longer number for none.
    assert int(morsel(begun(client, token(exp=1e300)))["max-age"]) == 400 * 86400


def test_a_session_is_begun_with_authorization_alone(client):
    for headers in ({}, cookie(token()), {**cookie(token()), **OWN}):
        answer = client.post("/auth/session", headers=headers)
        assert answer.status_code == (401 if not headers or OWN.items() <= headers.items() else 403)
        assert "Set-Cookie" not in answer.headers
    assert client.post(f"/auth/session?access_token={token()}").status_code == 401
    assert client.post(f"/auth/session?access_token={token()}", headers=bearer(token())).status_code == 401
    assert client.post("/auth/session", headers={**bearer(token()), "Origin": "http://evil.example"}).status_code == 403
    # The new one takes the place of the old one.
    assert client.post("/auth/session", headers={**bearer(token()), **cookie("old")}).status_code == 200


def test_a_token_that_no_browser_would_keep_is_told_so(client):
    answer = begun(client, token(bide={"subscribe": ["x" * 3500]}), 400)
    assert "4,000 bytes" in problem(answer)["detail"]
    assert "Set-Cookie" not in answer.headers
    begun(client, token(bide={"subscribe": ["x" * 2500]}))


@pytest.mark.parametrize("more", ["; Domain=example.com", ";", "\t", " x", ",", '"', "\xe4", "=a"])
def test_a_token_cannot_say_anything_else_in_the_cookie(client, monkeypatch, more):
    """Whatever a verifier overlooks in one."""
    valid = Permit("ann", {}, expires_at=time.time() + 600, revoked=Revocations())
    monkeypatch.setattr(Tokens, "permit", lambda self, text: valid)
    begun(client, "a.b.c")
    answer = begun(client, f"a.b.c{more}d", 400)
    assert "Set-Cookie" not in answer.headers


def test_a_browser_forgets_its_session(client):
    answer = client.delete("/auth/session", headers={**cookie(token()), **OWN})
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    cleared = morsel(answer)
    assert (cleared.value, cleared["max-age"]) == ("", "0")
    assert (cleared["path"], cleared["secure"], cleared["httponly"], cleared["samesite"]) == ("/", True, True, "Strict")


@pytest.mark.parametrize("text", ["", "garbage", '"', "a; __Host-bide=b", "expired"])
def test_it_forgets_one_that_is_good_for_nothing_any_more(client, text):
    headers = {**cookie(token(seconds=-600) if text == "expired" else text), **OWN}
    assert client.delete("/auth/session", headers=headers).status_code == 204


def test_a_session_is_ended_by_pages_of_the_server_alone(client):
    for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        answer = client.delete("/auth/session", headers={**cookie(token()), **headers})
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers
    # Where there is none there is nothing to guard.
    assert client.delete("/auth/session").status_code == 204
    assert client.delete("/auth/session", headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_session_that_ended_leaves_the_token_to_its_time(client):
    text = token()
    client.delete("/auth/session", headers={**cookie(text), **OWN})
    assert client.get(POLL, headers=bearer(text)).status_code == 200


def test_where_there_is_no_key_there_are_no_sessions():
    with serving() as app:
        client = app.test_client()
        for method in ("POST", "DELETE"):
            answer = client.open("/auth/session", method=method, headers=bearer("x"))
            assert answer.status_code == 404
            assert problem(answer)["type"] == "/problems/no-tokens"
            assert "Set-Cookie" not in answer.headers


def test_nothing_else_is_at_the_path(client):
    answer = client.get("/auth/session", headers=bearer(token()))
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "DELETE, OPTIONS, POST"
    assert client.get(in_query(token())).status_code == 200
