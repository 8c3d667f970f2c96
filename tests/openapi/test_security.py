"""What the description says of tokens is what a server with a key does, for every operation that there is."""

import time

import jwt
import pytest

from tests.openapi.description import closed, operations, resolved, validator
from tests.support.app import problem, serving

SECRET = "a secret that is thirty-two bytes long"
CLOSED = closed()
OPERATIONS = list(operations(CLOSED))
#: Bodies that are well, by path.
BODIES = {
    "/publish/{channel}": {"message": 1},
    "/publish": {"channels": ["news", "old"], "message": 1},
    "/subscribe": {"channels": {"news": 0}, "timeout": 0},
    "/auth/revoke": {"sub": "nobody"},
}
#: What any token is enough for.
OF_ANYONE = {"/channels", "/auth/session"}
every_operation = pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=[f"{method} {path}" for path, method, _ in OPERATIONS]
)


@pytest.fixture(scope="module")
def app():
    with serving(jwt_secret=SECRET) as app:
        yield app


def bearer(**rights):
    claims = {"sub": "ann", "exp": int(time.time()) + 60, "bide": rights}
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}


def asked(app, path, method, headers):
    target = path.replace("{channel}", "news").replace("{channels}", "news") + "?timeout=0"
    return app.test_client().open(target, method=method.upper(), json=BODIES.get(path), headers=headers)


def as_described(answer, operation):
    """An answer has the form that is described for its status."""
    response = resolved(CLOSED, operation["responses"][str(answer.status_code)])
    for media in response.get("content", {}).values():
        validator(CLOSED, media["schema"]).validate(answer.json)
    for name, header in response["headers"].items():
        header = resolved(CLOSED, header)
        assert name in answer.headers or not header.get("required")
        if name in answer.headers:
            validator(CLOSED, header["schema"]).validate(answer.headers[name])


def needs_token(operation):
    return operation.get("security", CLOSED["security"]) != []


@every_operation
def test_who_has_no_token_is_served_where_it_says_that_none_is_needed(app, path, method, operation):
    answer = asked(app, path, method, {})
    assert answer.status_code in ([401] if needs_token(operation) else [200, 204])
    as_described(answer, operation)


@every_operation
def test_a_token_that_allows_nothing_is_refused_where_one_is_needed(app, path, method, operation):
    answer = asked(app, path, method, bearer())
    if needs_token(operation) and path not in OF_ANYONE:
        assert problem(answer)["type"] == "/problems/not-allowed"
    else:
        assert answer.status_code in (200, 204)
    as_described(answer, operation)


@every_operation
def test_a_token_that_allows_all_is_served(app, path, method, operation):
    everything = bearer(publish=["*"], subscribe=["*"], presence=["*"], admin=["*"])
    asked(app, "/publish/{channel}", "post", everything)
    answer = asked(app, path, method, everything)
    assert answer.status_code in (200, 204)
    as_described(answer, operation)
