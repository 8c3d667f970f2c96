"""docs/security.md names for each threat the tests that answer it. There they are."""

import ast
import re

import pytest

from tests.support.servers import ROOT

TEXT = (ROOT / "docs/security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


def names_in(path):
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_whatever_looks_like_a_test_is_looked_at():
    assert len(NAMED) > 25
    assert len(re.findall(r"tests/[\w/]+\.py::", TEXT)) == len(re.findall(r"`tests/[\w/]+\.py::\w+`", TEXT))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_is_named_is_there(path, name):
    assert name in names_in(path)


def test_every_threat_has_a_test():
    part = TEXT.partition("## Threats")[2].partition("\n## ")[0]
    threats = re.findall(r"^\| (?!threat |---)(.*)$", part, re.M)
    assert len(threats) > 40
    assert not [threat for threat in threats if "`tests/" not in threat]
