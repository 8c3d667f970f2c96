"""Imports point down: the house of app/ has floors, and a module knows only those below its own.

The floors are written here, from the roof to the cellar. A new module is given its place, and one that grew out of
its place is seen before the circle is closed.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "app"

#: No file is longer, most are far shorter.
MOST_LINES = 300

FLOORS = [
    {""},
    {"cli.__main__"},
    {"cli", "pytest_plugin", "testing"},
    {"cli.group"},
    {
        "cli.backup",
        "cli.channels",
        "cli.check",
        "cli.history",
        "cli.publish",
        "cli.serve",
        "cli.subscribe",
        "cli.token",
    },
    {"cli.canary", "cli.executing", "cli.holds", "cli.lines", "cli.progress"},
    {"cli.asking", "cli.probe", "cli.stopping"},
    {"cli.findings", "cli.output"},
    {"backup", "factory", "gunicorn_conf"},
    {"access", "channels", "service", "worker"},
    {"worker.worker"},
    {"worker.connection", "worker.listener"},
    {"worker.parked"},
    {"worker.fanout", "worker.plain", "worker.request", "worker.runqueue", "worker.sender"},
    {"worker.state"},
    {
        "access.cors",
        "access.revoking",
        "access.sessions",
        "channels.problems",
        "channels.views",
        "service.description",
        "service.health",
    },
    {"access.admission"},
    {"access.credentials"},
    {
        "access.exposure",
        "access.origins",
        "access.private",
        "channels.answers",
        "channels.body",
        "channels.params",
    },
    {"access.verifier"},
    {"access.jwks", "access.limits", "access.tokens"},
    {"access.addresses", "access.allowances", "access.keys", "access.permit"},
    {"dispatch", "grant", "server"},
    {"lifecycle", "publisher", "roster", "subscriber"},
    {"capacity", "deadlines", "guard", "hangup", "merge", "notifier", "poll", "presence", "revocations", "stores"},
    {"refusals", "scrub", "tls", "waiter"},
    {"stores.memory", "stores.redis", "stores.sqlite"},
    {"stores.sqlite_append", "stores.sqlite_checkpoint", "stores.sqlite_durable", "stores.sqlite_listener"},
    {"stores.redis_listener", "stores.redis_sweep", "stores.sqlite_questions", "stores.sqlite_sweep"},
    {"stores.redis_revocations"},
    {"stores.redis_channels", "stores.redis_counters", "stores.redis_questions"},
    {"stores.sqlite_commits"},
    {"stores.redis_watches", "stores.sqlite_policy", "stores.sqlite_trim"},
    {
        "stores.questions",
        "stores.redis_keys",
        "stores.redis_link",
        "stores.redis_reads",
        "stores.redis_url",
        "stores.sqlite_revocations",
    },
    {"stores.base", "stores.redis_way", "stores.sqlite_file", "stores.wakeups"},
    {"config", "events", "messages"},
    {"algorithms", "errors", "knobs", "names"},
    {"client"},
    {"client.client"},
    {"client.listening"},
    {"client.subscription"},
    {"client.places", "client.wire"},
    {"client.answers"},
    {"client.backoff", "client.events"},
    {"client.errors", "version"},
]
FLOOR = {module: number for number, floor in enumerate(FLOORS) for module in floor}

#: The packages that know HTTP; everything else works without Flask.
OF_HTTP = ("factory", "access", "channels", "dispatch", "service")

#: Modules of stubs, there for the type checker alone: importing one for real would fail.
STUBS = {"_typeshed"}

#: What the package looks up late, when it is first asked for, so that who publishes does without Flask, and who uses
#: the client without gevent.
LATE = {"config", "errors", "factory", "publisher", "stores"}


def module_of(path: Path) -> str:
    """Name of a file's module below the package; the package itself is the empty name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}
every_module = pytest.mark.parametrize("module", FILES, ids=[name or "__init__" for name in FILES])


def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


def imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    return (found for found in ast.walk(node) if isinstance(found, ast.Import | ast.ImportFrom))


def own_imports(module: str) -> Iterator[str]:
    """The modules of ours that a module imports."""
    package = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
    package = [part for part in package if part]
    for found in imports(tree(module)):
        if not isinstance(found, ast.ImportFrom) or not found.level:
            continue
        base = package[: len(package) - (found.level - 1)] + (found.module.split(".") if found.module else [])
        for alias in found.names:
            deeper = ".".join([*base, alias.name])
            yield deeper if deeper in FILES else ".".join(base)


def foreign_imports(module: str) -> set[str]:
    """The top packages of others that a module imports."""
    names: set[str] = set()
    for found in imports(tree(module)):
        if isinstance(found, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in found.names)
        elif not found.level and found.module:
            names.add(found.module.partition(".")[0])
    return names


def test_every_module_has_its_floor():
    assert sorted(FILES) == sorted(FLOOR)


@every_module
def test_imports_point_down(module):
    upward = [other for other in own_imports(module) if FLOOR[other] <= FLOOR[module]]
    assert not upward, f"{module or '__init__'} imports {upward}, which are not on a lower floor"


@every_module
def test_nothing_is_imported_inside_a_function(module):
    functions = (
        node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    )
    assert not [f"line {found.lineno}" for function in functions for found in imports(function)]


@every_module
def test_only_stubs_are_imported_for_the_type_checker_alone(module):
    """Behind TYPE_CHECKING a circle would hide."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for found in imports(node):
                assert isinstance(found, ast.ImportFrom), f"line {found.lineno}"
                assert (found.module or "").partition(".")[0] in STUBS | (LATE if not module else set()), (
                    f"line {found.lineno}"
                )


@every_module
def test_the_package_never_says_its_own_name(module):
    """It is app in a checkout and bide once installed."""
    assert not foreign_imports(module) & {"app", "bide"}


@every_module
def test_flask_is_known_to_the_http_packages_only(module):
    if module.partition(".")[0] not in OF_HTTP:
        assert not foreign_imports(module) & {"flask", "werkzeug"}


@pytest.mark.parametrize("module", [name for name in FILES if name.partition(".")[0] == "client"])
def test_the_client_knows_nothing_of_the_server(module):
    assert {other for other in own_imports(module) if other.partition(".")[0] != "client"} <= {"version"}
    assert not foreign_imports(module) & {"gevent", "msgspec"}


@every_module
def test_no_file_is_too_long(module):
    assert len(FILES[module].read_text().splitlines()) <= MOST_LINES


@every_module
def test_every_module_opens_with_its_story(module):
    assert ast.get_docstring(tree(module))
