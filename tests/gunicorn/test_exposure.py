"""A server that others than this machine reach does not start without a key, however it was told where to listen."""

import contextlib
import socket

import pytest

from tests.cli.conftest import COMMAND
from tests.support.servers import Server, command
from tests.support.starts import refused
from tests.support.tokens import ENV, all_rights, bearer

OPEN = "0.0.0.0"
LONG = pytest.mark.long


@contextlib.contextmanager
def port():
    """One that nobody else is given meanwhile, and that a server may use."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((OPEN, 0))
        yield holder.getsockname()[1]


def assert_told(line, address):
    assert line.startswith(f"bide: {address}")
    assert "BIDE_JWT_SECRET" in line
    assert "BIDE_INSECURE=1" in line


@pytest.mark.parametrize("host", [OPEN, pytest.param("::", marks=LONG), pytest.param("[::]", marks=LONG)])
@pytest.mark.parametrize("words", [command(), pytest.param([*COMMAND, "serve"], marks=LONG)], ids=["conf", "serve"])
def test_the_address_of_the_settings(tmp_path, words, host):
    with port() as number:
        line = refused(tmp_path, words=words, HOST=host, PORT=number)
    assert_told(line, f"[::]:{number}" if ":" in host else f"{host}:{number}")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "words",
    [
        command("-b", f"{OPEN}:0", conf=False),
        pytest.param(command("-b", f"{OPEN}:0"), marks=LONG),
        pytest.param(command("-b", "127.0.0.1:0", "-b", f"{OPEN}:0", "-b", "127.0.0.1:0"), marks=LONG),
        pytest.param(command("-b", f"{OPEN}:0", "-k", "gevent"), marks=LONG),
        pytest.param(command("-b", f"{OPEN}:0", "--reuse-port"), marks=LONG),
        pytest.param([*COMMAND, "serve", "--host", "127.0.0.1", "--", "-b", f"{OPEN}:0"], marks=LONG),
    ],
    ids=["plain", "conf", "several", "gevent", "reuse-port", "serve"],
)
def test_an_address_that_was_given_by_hand(tmp_path, words):
    assert_told(refused(tmp_path, words=words, HOST="127.0.0.1"), f"{OPEN}:")


@LONG
def test_the_private_address(tmp_path):
    with port() as own, port() as private:
        line = refused(tmp_path, words=command(), PORT=own, BIDE_PRIVATE_ADDRESS=f"{OPEN}:{private}")
    assert_told(line, f"{OPEN}:{private}")


@pytest.mark.parametrize("conf", [True, pytest.param(False, marks=LONG)])
def test_one_of_several_sockets_that_were_inherited(tmp_path, conf):
    with socket.create_server(("127.0.0.1", 0)) as local, socket.create_server((OPEN, 0)) as public:
        fds = [local.fileno(), public.fileno()]
        words = command(*(word for fd in fds for word in ("-b", f"fd://{fd}")), conf=conf)
        assert_told(refused(tmp_path, words=words, fds=fds), f"{OPEN}:{public.getsockname()[1]}")


@LONG
def test_a_socket_of_systemd(tmp_path):
    """It comes as descriptor 3, and the variables name the process that is to take it."""
    with socket.create_server((OPEN, 0)) as public:
        take = f'exec 3<&{public.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        line = refused(tmp_path, words=["bash", "-c", take, "bash", *command()], fds=[public.fileno()])
        assert_told(line, f"{OPEN}:{public.getsockname()[1]}")


def test_with_a_key_it_is_served_and_a_worker_that_dies_is_followed_by_another(tmp_path):
    with Server(tmp_path, at=OPEN, env=ENV) as server:
        assert server.get("/channels")[0] == 401
        assert server.get("/channels", headers=bearer(all_rights()))[0] == 200
        server.kill9_worker()
        server.await_ready()
        assert server.terminate()[0] == 0


@LONG
@pytest.mark.parametrize("conf", [True, False])
def test_where_anyone_may_come_it_is_served(tmp_path, conf):
    with Server(tmp_path, at=OPEN, conf=conf, env={"BIDE_INSECURE": 1}) as server:
        assert server.publish("news", "hello")


@LONG
def test_what_counts_is_the_socket_and_not_the_setting(tmp_path):
    with Server(tmp_path, env={"HOST": OPEN}) as server:
        assert server.publish("news", "hello")
