"""TLS by BIDE_TLS_CERT and BIDE_TLS_KEY: which versions, what the app knows of it, new certificates, and bad ones."""

import signal
import socket
import ssl
import subprocess
import sys

import pytest

from tests.gunicorn.test_start import left_nothing
from tests.support.certificates import certify, make_key, pem, write
from tests.support.clients import Line, subscription
from tests.support.servers import ROOT, Server, await_that, environment, is_running, make_certificate, trusting
from tests.support.starts import REFUSED_SECONDS, refused

KEY = make_key()


@pytest.fixture(scope="module")
def server(worker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    with Server(folder, inspected=True, tls=make_certificate(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Of gunicorn's own worker and options."""
    folder = tmp_path_factory.mktemp("plain")
    with Server(folder, conf=False, tls=make_certificate(folder)) as server:
        yield server


def speaking(version):
    """The context of a client that knows no other version, however old."""
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


def connect(server, context):
    """Make a handshake; the version that was agreed on and the server's certificate."""
    with socket.create_connection(server.address, timeout=20) as sock, context.wrap_socket(sock) as secure:
        return secure.version(), secure.getpeercert(binary_form=True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_today_is_spoken(server, plain, version):
    for each in (server, plain):
        agreed, _ = connect(each, speaking(version))
        assert agreed == version.name.replace("_", ".")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_older_versions_are_refused(server, plain, version):
    for each in (server, plain):
        with pytest.raises(ssl.SSLError) as caught:
            connect(each, speaking(version))
        # The server's word, not that of this machine's openssl.
        assert caught.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
        assert "Traceback" not in each.output()


def test_pages_of_the_server_are_those_that_came_by_tls(server):
    def publish(origin):
        return server.request("POST", "/publish/news", {"message": 1}, headers={"Origin": origin})[0]

    assert publish(server.url) == 200
    assert publish(server.url.replace("https", "http")) == 403
    assert publish("https://evil.example") == 403


def test_an_event_reaches_a_parked_poll(server):
    with Line(server) as line:
        line.send(subscription("fresh"))
        await_that(lambda: server.counts()["polls"] == 1)
        number = server.publish("fresh", "hello")
        assert line.answer().json()["id"] == number


# New certificates, and bad ones


def said(server, text):
    return [line for line in server.output().splitlines() if line.startswith("bide: ") and text in line]


def test_a_reload_takes_a_new_certificate_and_a_bad_one_is_waited_for(tmp_path):
    files = write(tmp_path, certify(KEY, -3, -1), pem(KEY))
    with Server(tmp_path, tls=files) as server:
        _, expired = connect(server, trusting())
        # It was started with one that expired, and says so once.
        assert len(said(server, "expired")) == 1
        write(tmp_path, certify(KEY), pem(KEY))
        assert connect(server, trusting())[1] == expired
        server.hup()
        _, fresh = connect(server, trusting())
        assert fresh != expired
        # The certificate of another key is there, the key is not yet.
        old = server.worker_pids()
        other = make_key()
        write(tmp_path, certify(other), pem(KEY))
        server.process.send_signal(signal.SIGHUP)
        (line,) = await_that(lambda: said(server, "not the key"))
        assert "BIDE_TLS_KEY=" in line
        assert "Traceback" not in server.output()
        write(tmp_path, certify(other), pem(other))
        await_that(lambda: not any(map(is_running, old)))
        server.await_ready()
        assert connect(server, trusting())[1] not in (expired, fresh)
        assert server.terminate()[0] == 0
        assert len(said(server, "expired")) == 1


def test_a_start_with_files_that_cannot_be_used_is_refused_in_a_line(tmp_path):
    files = write(tmp_path, certify(KEY), pem(make_key()))
    env = dict(zip(("BIDE_TLS_CERT", "BIDE_TLS_KEY"), files, strict=True))
    assert refused(tmp_path, True, **env).startswith("bide: BIDE_TLS_KEY=")
    assert left_nothing(tmp_path)


def test_a_key_with_a_password_asks_for_none(tmp_path):
    """OpenSSL would ask at the terminal, and the start would stand still."""
    files = write(tmp_path, certify(KEY), pem(KEY, b"secret"))
    ended = subprocess.run(
        [sys.executable, "-m", "app.cli", "serve"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=ROOT, BIDE_TLS_CERT=files[0], BIDE_TLS_KEY=files[1], PORT=free_port()),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=REFUSED_SECONDS,
        start_new_session=True,
    )
    assert ended.returncode > 0
    assert [line for line in (ended.stdout + ended.stderr).splitlines() if line] == [
        f"bide: BIDE_TLS_KEY={str(files[1])!r} cannot be used (it is encrypted, and nobody is there to type its "
        "password): give the path of a file with its private key, in PEM and without a password"
    ]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_gunicorn_that_does_not_read_the_settings_is_not_started_without_tls(tmp_path):
    files = make_certificate(tmp_path)
    env = dict(zip(("BIDE_TLS_CERT", "BIDE_TLS_KEY"), files, strict=True))
    line = refused(tmp_path, False, **env)
    assert line.startswith("bide: BIDE_TLS_CERT cannot be used: this gunicorn speaks plain HTTP")
    assert "--certfile" in line
    assert left_nothing(tmp_path)
