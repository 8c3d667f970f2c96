"""docs/operations.md has each setting, and no other."""

import re
from dataclasses import fields

from app.config import Settings
from tests.support.servers import ROOT


def test_the_table_of_settings_names_each_that_there_is():
    text = (ROOT / "docs/operations.md").read_text()
    table = text[text.index("| variable | default | meaning |") :].partition("\n\n")[0]
    named = re.findall(r"`([A-Z_]+)`", "\n".join(line.split(" | ")[0] for line in table.splitlines()))
    assert sorted(named) == sorted(knob.metadata["variable"] for knob in fields(Settings))
