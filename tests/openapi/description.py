"""The description as tests use it: its text as it is written, and a closed form in which no answer may have more."""

import copy
import functools
from pathlib import Path

import jsonschema_rs
import msgspec

from tests.support.servers import ROOT

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
TEXT = Path(ROOT) / "app/openapi.yaml"


def written():
    return msgspec.yaml.decode(TEXT.read_bytes())


def closed():
    """The description where each answer has the members that it names and no others.

    Clients ignore what they do not know, so that the description itself leaves it open; but what the server sends
    today is all described.
    """
    description = copy.deepcopy(written())
    for response in responses(description):
        for media in response.get("content", {}).values():
            _close(description, media["schema"])
    return description


def operations(description):
    """Path, method and operation of all there are."""
    for path, item in description["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


def responses(description):
    """All that are described, those in the components too, each as it stands, references followed."""
    for _, _, operation in operations(description):
        for response in operation["responses"].values():
            yield resolved(description, response)
    yield from description["components"]["responses"].values()


def resolved(description, node):
    """What a reference stands for, or the node itself."""
    while "$ref" in node:
        value = description
        for part in node["$ref"].removeprefix("#/").split("/"):
            value = value[part]
        node = value
    return node


def _close(description, schema):
    target = resolved(description, schema)
    if "properties" in target:
        schema["unevaluatedProperties"] = False
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    if "items" in schema:
        inner.append(schema["items"])
    if target is not schema and target is not description["components"]["schemas"]["Problem"]:
        inner.append(target)
    for each in inner:
        _close(description, each)


def validator(description, schema):
    """Judges values by one schema of a description."""
    root = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": description["components"]}
    return jsonschema_rs.Draft202012Validator({**root, "allOf": [schema]})


@functools.cache
def _judge(path):
    description = closed()
    schema = description["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    return validator(description, schema)


def judged(path, answer):
    """The body of a good answer to a GET, which is as described, with no member more."""
    assert answer.status == 200, answer.body
    body = answer.json()
    _judge(path).validate(body)
    return body
