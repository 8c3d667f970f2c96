"""One server for the odd requests of a module, alone and beside clients that behave, with some events in it."""

import pytest

from tests.openapi.beside import nobody, well_behaved
from tests.openapi.odd import Asker
from tests.support.servers import Server

#: What requests that are all well are held at most.
HOLD_SECONDS = 0.1
#: What is kept: (channel, how many events).
KEPT = {"odd-a": 7, "odd-b": 3}


@pytest.fixture(scope="module", params=[pytest.param(nobody, marks=pytest.mark.long), well_behaved])
def odd_server(request, tmp_path_factory):
    env = {"BIDE_DEFAULT_TIMEOUT_SECONDS": HOLD_SECONDS, "BIDE_MAX_TIMEOUT_SECONDS": HOLD_SECONDS}
    with Server(tmp_path_factory.mktemp("odd"), workers=2, inspected=True, env=env) as server:
        with request.param(server):
            yield server
        assert "Traceback" not in server.output()
        assert "[ERROR]" not in server.output()


@pytest.fixture(scope="module")
def kept(odd_server):
    """Per channel the ids of what it keeps."""
    return {channel: odd_server.publish_all(channel, range(count)) for channel, count in KEPT.items()}


@pytest.fixture(scope="module")
def asker(odd_server):
    return Asker(odd_server)
