"""The description is an OpenAPI document, it says of the app what is so, and the server does what it says."""

import inspect
import json
import re
import time
from urllib.parse import urlencode

import jsonschema_rs
import jwt
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from app import errors
from app.channels import problems
from app.version import VERSION
from tests.openapi.description import closed, operations, resolved, responses, validator, written
from tests.support.app import serving

SECRET = "a secret that is thirty-two bytes long"
DESCRIPTION = written()
CLOSED = closed()
OPERATIONS = list(operations(CLOSED))
every_operation = pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=[f"{method} {path}" for path, method, _ in OPERATIONS]
)

#: Not sent over HTTP, and the base of all others, which is.
UNSENT = {errors.SettingsError}
#: Told in plain text by gunicorn, before there is an app.
BEFORE_THE_APP = {414}


@pytest.fixture
def app():
    with serving(default_timeout_seconds=0.1, max_timeout_seconds=0.1) as app:
        yield app


@pytest.fixture
def keyed():
    """A server with a key, and a client that may do everything there."""
    with serving(jwt_secret=SECRET) as app:
        client = app.test_client()
        token = jwt.encode({"sub": "root", "exp": int(time.time()) + 60, "bide": {"admin": ["*"]}}, SECRET)
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        yield client


def schemas(node):
    """Every schema in a part of the description."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "schema":
                yield value
            if key == "schemas":
                yield from value.values()
            yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from references(value)


def kinds(response):
    """The problem types that a response may have, and its status."""
    schema = response["content"]["application/problem+json"]["schema"]["properties"]
    return {(schema["status"]["const"], kind.removeprefix("/problems/")) for kind in schema["type"]["enum"]}


def described_kinds():
    return {
        kind
        for response in responses(DESCRIPTION)
        if "application/problem+json" in response.get("content", {})
        for kind in kinds(response)
    }


def test_it_is_a_valid_openapi_document():
    OPENAPI_31_VALIDATOR.validate(DESCRIPTION)
    found = list(schemas(DESCRIPTION))
    assert len(found) > 80
    for schema in found:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_its_references_lead_somewhere_and_nothing_is_described_for_nobody():
    used = set(references(DESCRIPTION))
    for reference in used:
        resolved(DESCRIPTION, {"$ref": reference})
    components = {f"#/components/{kind}/{name}" for kind, named in DESCRIPTION["components"].items() for name in named}
    # These are named without a reference.
    needed = [DESCRIPTION["security"], *(operation.get("security", []) for _, _, operation in OPERATIONS)]
    used |= {f"#/components/securitySchemes/{name}" for all_of in needed for one in all_of for name in one}
    # No operation is one that its path does not have: what comes then is described for who reads the text.
    assert components - used == {"#/components/responses/MethodNotAllowed"}


def test_every_operation_has_a_name_of_its_own():
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_it_names_each_route_with_its_methods_and_no_others(app):
    rules = {
        (re.sub("<(.*?)>", r"{\1}", str(rule)), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods
    }
    described = {(path, method) for path, method, _ in OPERATIONS}
    # These two every path has that can have them.
    described |= {(path, "head") for path, method in described if method == "get"}
    described |= {(path, "options") for path, _ in described}
    assert described == rules


@every_operation
def test_its_paths_name_their_parameters(path, method, operation):
    parameters = [*DESCRIPTION["paths"][path].get("parameters", ()), *operation.get("parameters", ())]
    named = {
        parameter["name"]
        for parameter in (resolved(DESCRIPTION, each) for each in parameters)
        if parameter["in"] == "path"
    }
    assert named == set(re.findall("{(.*?)}", path))


def test_it_names_each_kind_of_problem_that_there_is():
    ours = {
        (kind.status, kind.kind)
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.BideError) and kind not in UNSENT
    }
    werkzeug_s = {(status, kind) for status, (kind, _) in problems.KINDS.items() if status not in BEFORE_THE_APP}
    assert described_kinds() == ours | werkzeug_s


def test_a_kind_has_the_sentence_that_it_is_shown_with():
    titles = {kind.kind: kind.title for _, kind in inspect.getmembers(errors, inspect.isclass) if hasattr(kind, "kind")}
    shown = [
        example["value"]
        for response in DESCRIPTION["components"]["responses"].values()
        for example in response["content"]["application/problem+json"].get("examples", {}).values()
    ]
    assert shown
    for problem in shown:
        assert problem["title"] == titles[problem["type"].removeprefix("/problems/")]


@every_operation
def test_the_examples_of_answers_are_what_their_schemas_say(path, method, operation):
    for status, response in operation["responses"].items():
        for media in resolved(CLOSED, response).get("content", {}).values():
            judge = validator(CLOSED, media["schema"])
            for example in media.get("examples", {}).values():
                judge.validate(example["value"])
            if status == "200":
                assert not judge.is_valid({"status": "no such thing"})


def values(parameter):
    """The examples of a parameter."""
    if "example" in parameter:
        return [parameter["example"]]
    return [example["value"] for example in parameter["examples"].values()]


def requests():
    """Each example of each body with the first examples of all parameters, and each example of each parameter."""
    for path, method, operation in OPERATIONS:
        parameters = [
            resolved(CLOSED, each)
            for each in (*CLOSED["paths"][path].get("parameters", ()), *operation.get("parameters", ()))
        ]
        bodies = [
            (media, example["value"])
            for media, content in operation.get("requestBody", {}).get("content", {}).items()
            for example in content["examples"].values()
        ]
        given = {(each["in"], each["name"]): values(each) for each in parameters}
        choices = [{name: some[0] for name, some in given.items()}]
        choices += [
            {**choices[0], name: value} for name, some in given.items() for value in some[1:] if name[0] != "path"
        ]
        choices += [{name: value} for name, some in given.items() for value in some[1:] if name[0] == "path"]
        for choice in choices:
            for body in bodies or [(None, None)]:
                yield path, method, choice, body


@pytest.mark.parametrize(("path", "method", "choice", "body"), list(requests()), ids=str)
def test_the_server_answers_the_examples_of_requests_as_described(app, keyed, path, method, choice, body):
    media, value = body
    operation = CLOSED["paths"][path][method]
    client = keyed if operation["tags"] == ["tokens"] else app.test_client()
    client.post("/publish/news", json={"message": "there is something"})
    target = path
    for (where, name), given in choice.items():
        if where == "path":
            target = target.replace(f"{{{name}}}", ",".join(given) if isinstance(given, list) else given)
    query = {name: given for (where, name), given in choice.items() if where == "query"}
    headers = {name: given for (where, name), given in choice.items() if where == "header"}
    data = None
    if media == "application/json":
        data = json.dumps(value)
    elif media is not None:
        data = urlencode(value) if isinstance(value, dict) else value
    target = f"{target}?{urlencode(query)}" if query else target
    answer = client.open(target, method=method.upper(), headers=headers, data=data, content_type=media)
    status = "204" if method == "delete" else "200"
    assert answer.status_code == int(status), answer.data
    response = operation["responses"][status]
    if "content" in response:
        validator(CLOSED, response["content"]["application/json"]["schema"]).validate(answer.json)
    else:
        assert answer.data == b""
        assert answer.content_type is None
    for name, header in response["headers"].items():
        header = resolved(CLOSED, header)
        assert name in answer.headers or not header.get("required")
        if name in answer.headers:
            validator(CLOSED, header["schema"]).validate(answer.headers[name])
    if "Prefer" in headers and "timeout" not in (*query, *(value or ())):
        assert answer.headers["Preference-Applied"] == headers["Prefer"]


def test_it_is_served_with_the_server_s_version(app):
    client = app.test_client()
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    expected = written()
    expected["info"]["version"] = VERSION
    assert answer.json == expected
    assert client.get("/openapi.json").data == answer.data


def test_a_schema_of_an_answer_that_is_closed_knows_no_more_than_it_says():
    """The other tests would not notice an answer that has more than is described if this did not hold."""
    event = {"id": 1, "channel": "a", "message": 1, "timestamp": 1.0}
    schema = {"$ref": "#/components/schemas/PolledPage"}
    page = {"channel": "a", "events": [event], "last_event_id": 1}
    for description, known in ((DESCRIPTION, True), (CLOSED, False)):
        judge = validator(description, schema)
        assert judge.is_valid(page)
        assert judge.is_valid({**page, "more": 1}) is known
        assert judge.is_valid({**page, "events": [{**event, "more": 1}]}) is known
