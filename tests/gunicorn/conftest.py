"""Which worker serves: that of gunicorn.conf.py, app.worker.Worker, and gunicorn's own gevent worker.

Every test runs on the first. On the second too runs what tells most of it, and with --long everything.
"""

import pytest

from tests.support.servers import Server

#: Faults and full workers, where the two have least in common; and conformance (tests/conformance) has targets of both.
ON_BOTH = {"test_clock", "test_full", "test_kill", "test_presence"}
#: These choose their workers themselves.
AS_THEY_SAY = {
    "test_exposure",
    "test_hostile_bodies",
    "test_hostile_heads",
    "test_jwks",
    "test_limits",
    "test_parked",
    "test_rates",
    "test_scrubbed",
    "test_slow_heads",
    "test_spoilt_tokens",
    "test_who_may",
}


@pytest.fixture(scope="session", autouse=True, params=["bide", "gevent"])
def worker(request):
    Server.gevent = request.param == "gevent"
    yield
    Server.gevent = False


@pytest.hookimpl(tryfirst=True)  # before the long forms are left out
def pytest_collection_modifyitems(config, items):
    twice = [item for item in items if on_gevent(item) and item.path.stem in AS_THEY_SAY]
    config.hook.pytest_deselected(items=twice)
    items[:] = [item for item in items if item not in twice]
    for item in items:
        if on_gevent(item) and item.path.stem not in ON_BOTH:
            item.add_marker(pytest.mark.long)


def on_gevent(item):
    return hasattr(item, "callspec") and item.callspec.params.get("worker") == "gevent"
