"""schemathesis reads the description and asks a real server all that it allows, and much that it does not.

Its command is run with all its phases: the examples, each boundary of each schema, generated data, and walks along the
links. Whatever is asked, each answer is described (status, headers, body and no member more), none is a 5xx, what is
not allowed is a 4xx, a method that a path does not have is 405; and the server is afterwards what it was before.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.openapi.beside import nobody, weights, well_behaved
from tests.openapi.description import closed
from tests.support.servers import ROOT, Server, await_that, environment
from tests.support.tokens import ENV, all_rights, bearer

pytestmark = pytest.mark.timeout(240)

#: Nothing waits longer: the description asks for holds, and this is what they are cut to.
HOLD_SECONDS = 0.1
#: A worker holds no more after it than so much above what it did: tails of what was polled, SQLite's pages.
MOST_GROWTH_BYTES = 24 * 2**20

SHORT_EXAMPLES, LONG_EXAMPLES = 8, 500

#: Guesses of what belongs together are off: they take the greeting's links, which are templates, for names, and would
#: take channels from the answers that others use. Two checks are in tests/openapi/checks.py, with what they know.
#: Whether a call is refused that comes without its token is asked where there is a key.
CONFIG = """
suppress-health-check = ["all"]
warnings = false

[checks]
negative_data_rejection.enabled = false
positive_data_acceptance.enabled = false
ensure_resource_availability.enabled = false
use_after_free.enabled = false
ignored_auth.enabled = {has_key}

[phases.fuzzing.extra-data-sources]
responses = false

[phases.stateful.inference]
algorithms = []
"""


def schemathesis(server, folder, *options):
    """What its command says, which must be that all is well."""
    description, config = folder / "openapi.json", folder / "schemathesis.toml"
    description.write_text(json.dumps(closed()))
    config.write_text(CONFIG.format(has_key="true" if server.headers else "false"))
    shown = [word for name, value in server.headers.items() for word in ("--header", f"{name}: {value}")]
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"]
    run = subprocess.run(
        [*command, str(description), "--url", server.url, "--no-color", *shown, *options],
        cwd=folder,  # where it keeps what it found
        env=environment(PYTHONPATH=ROOT, SCHEMATHESIS_HOOKS="tests.openapi.checks"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}\n" in run.stdout, run.stdout
    assert f"Tested: {len(operations())}\n" in run.stdout
    return run.stdout


def operations():
    return [method for item in closed()["paths"].values() for method in item if method != "parameters"]


def ask_everything(server, folder, beside, *options):
    before = weights(server)
    with beside(server):
        said = schemathesis(server, folder, *options)
    log = server.output()
    assert "Traceback" not in log
    assert "[ERROR]" not in log
    await_that(lambda: server.counts()["polls"] == 0)
    after = weights(server)
    assert set(after) == set(before), "a worker was lost"
    for pid, weight in after.items():
        assert weight["resident"] - before[pid]["resident"] < MOST_GROWTH_BYTES
    event_id = server.publish("well-behaved", "hello")
    assert server.poll("well-behaved", timeout=5)["id"] == event_id
    return said


@pytest.fixture
def server(tmp_path, workers, key):
    env = {"BIDE_DEFAULT_TIMEOUT_SECONDS": HOLD_SECONDS, "BIDE_MAX_TIMEOUT_SECONDS": HOLD_SECONDS, **key}
    # Of a subject that no request revokes.
    headers = bearer(all_rights("whom nobody names")) if key else {}
    with Server(tmp_path / "server", workers=workers, inspected=True, env=env, headers=headers) as server:
        yield server


BOTH = pytest.mark.parametrize(("workers", "key", "beside"), [(1, {}, nobody), (2, ENV, well_behaved)])


@BOTH
def test_the_server_does_what_the_description_says_whatever_is_asked(server, tmp_path, beside):
    ask_everything(server, tmp_path, beside, "--generation-deterministic", "--max-examples", str(SHORT_EXAMPLES))


@pytest.mark.long
@pytest.mark.timeout(3600)
@BOTH
def test_the_server_does_what_the_description_says_for_much_longer(
    server, tmp_path, beside, pytestconfig, record_property
):
    seed = pytestconfig.getoption("--seed") or random.randrange(1, 1_000_000)
    print(f"--seed {seed}")
    said = ask_everything(server, tmp_path, beside, "--seed", str(seed), "--max-examples", str(LONG_EXAMPLES))
    record_property("table", f"--seed {seed}\n{said[said.index('SUMMARY') :]}")
