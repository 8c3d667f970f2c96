"""A real server for a test: gunicorn in a subprocess, on a socket that is bound before it starts.

The test keeps the listening socket open, so that a server that is killed can be started again at the same address
without a race for the port; who connects in between waits in the socket's backlog.
"""

import contextlib
import ctypes
import http.client
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A cold start imports everything once; the usual half a second times several busy neighbours.
START_SECONDS = 30
# A drain, and the graceful timeout of a server that has lost its way; a stop that a test times is far shorter.
STOP_SECONDS = 60
# How long a condition may take to come true on a busy machine.
PATIENCE_SECONDS = 20

# What the caller's environment must not decide for a server under test.
_STRANGE = ("BIDE_", "GUNICORN_", "TEST_", "PYTHON")
_STRANGE_NAMES = ("HOST", "PORT", "WEB_CONCURRENCY", "XDG_RUNTIME_DIR", "FORWARDED_ALLOW_IPS")

INSPECTED = "tests.support.inspected:app"


def environment(**changes):
    """The caller's environment without anything that would steer a server; a value of None leaves a name out."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_STRANGE)}
    for name in _STRANGE_NAMES:
        env.pop(name, None)
    return env | {name: str(value) for name, value in changes.items() if value is not None}


def await_that(condition, within=PATIENCE_SECONDS, step=0.005):
    """Wait until the condition is true, and return what it gave."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(step)
    return result


def is_running(pid):
    """Whether the process runs: one that has ended and that nobody has waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def children(pid):
    """The processes that a process started, as far as they run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return sorted(found)


def command(*options, conf=True, app="wsgi:app"):
    """How a server is started: with the checkout's gunicorn.conf.py, or with nothing but the worker's class."""
    if conf:
        return [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), *options, app]
    return [sys.executable, "-m", "gunicorn", "-k", "gevent", *options, app]


def bound_by_modes():
    """Give up root's power over the modes of files, in a process that is to become a server. A user has none."""
    if os.geteuid() == 0:
        pr_capbset_drop, cap_dac_override, cap_dac_read_search = 24, 1, 2
        for capability in (cap_dac_override, cap_dac_read_search):
            if ctypes.CDLL(None, use_errno=True).prctl(pr_capbset_drop, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "the capability cannot be dropped")


class Server:
    """One server, to be used as a context manager. It is started on entry and ended on exit.

    `folder` holds its data and logs, and with `conf=False` is where it is started from: a folder without
    gunicorn.conf.py, with the checkout on PYTHONPATH. `env` are more variables. `inspected` serves the same app with a
    window for tests (`counts`). `limits` are those of its processes, as setrlimit takes them. `tls` is a pair of
    files, certificate and key, told by BIDE_TLS_*, and with `conf=False` by gunicorn's own options. With `by_modes` the
    modes of files hold for it, though root runs the tests. Of several `listeners`, which are bound `at` an address, the
    tests use the first. `headers` are those of every request that is made here. The worker is that of gunicorn.conf.py,
    or with `gevent` gunicorn's own, which tests/gunicorn/conftest.py chooses for all that do not say.
    """

    gevent = False

    def __init__(
        self,
        folder,
        *,
        conf=True,
        inspected=False,
        workers=1,
        env=None,
        tls=None,
        options=(),
        limits=None,
        by_modes=False,
        listeners=1,
        at="127.0.0.1",
        gevent=None,
        headers=None,
    ):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.conf = conf
        self.workers = workers
        self.tls = tls
        self.env = env or {}
        self.headers = headers or {}
        self._limits = limits or {}
        self._by_modes = by_modes
        self._app = INSPECTED if inspected else "wsgi:app"
        self._options = [*options, *(["-k", "gevent"] if conf and (self.gevent if gevent is None else gevent) else [])]
        if tls and conf:
            self.env = {"BIDE_TLS_CERT": tls[0], "BIDE_TLS_KEY": tls[1], **self.env}
        elif tls:
            self._options += ["--certfile", str(tls[0]), "--keyfile", str(tls[1])]
        self._listeners = [socket.create_server((at, 0), backlog=4096) for _ in range(listeners)]
        self.addresses = [listener.getsockname() for listener in self._listeners]
        self.host, self.port = self.addresses[0]
        self.url = f"{'https' if tls else 'http'}://{self.host}:{self.port}"
        self.process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    @property
    def pid(self):
        """The master's."""
        return self.process.pid

    @property
    def database(self):
        return self.data / "bide.db"

    @property
    def address(self):
        return self.host, self.port

    def worker_pids(self):
        return children(self.process.pid)

    def output(self):
        """All that the server wrote so far."""
        return self.log.read_text(errors="replace")

    def start(self):
        """Start it, for the first time or again on the same socket and data, and wait until it is ready."""
        numbers = [listener.fileno() for listener in self._listeners]
        binds = [word for number in numbers for word in ("-b", f"fd://{number}")]
        env = environment(
            PYTHONPATH=ROOT,
            # The control socket that gunicorn makes by itself has one path for each user.
            XDG_RUNTIME_DIR=self.folder,
            WEB_CONCURRENCY=self.workers if self.workers != 1 else None,
            BIDE_DATA_DIR=self.data,
        )
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command(*self._options, *binds, conf=self.conf, app=self._app),
                cwd=ROOT if self.conf else self.folder,
                env=env | {name: str(value) for name, value in self.env.items()},
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=bound_by_modes if self._by_modes else None,
            )
        for limit, bounds in self._limits.items():
            resource.prlimit(self.process.pid, limit, bounds)
        self.await_ready()
        return self

    def await_ready(self, within=START_SECONDS):
        """Wait until every worker is there and says that it is ready; of a server that is not inspected only one."""
        ready = set()
        deadline = time.monotonic() + within
        while True:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}\n{self.output()}"
            assert time.monotonic() < deadline, f"it was not ready in time\n{self.output()}"
            # The socket listens even where nobody serves it, so every try is bounded.
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, headers, _ = self.get("/readyz", timeout=2)
                pids = self.worker_pids()
                if status == 200:
                    ready.add(int(headers.get("X-Pid", 0)))
                if ready and len(pids) == self.workers and (ready >= set(pids) or self._app != INSPECTED):
                    return
            time.sleep(0.01)

    def kill9(self):
        """Kill master and workers in one moment, as the system's out-of-memory killer or a power switch would."""
        pids = [self.pid, *self.worker_pids()]
        os.killpg(self.pid, signal.SIGKILL)  # it leads a session, and so a group, of its own
        self.process.wait()
        await_that(lambda: not any(map(is_running, pids)))

    def kill9_worker(self):
        """Kill the worker alone; the master starts another. Returns without waiting for that."""
        (pid,) = self.worker_pids()
        os.kill(pid, signal.SIGKILL)
        await_that(lambda: not is_running(pid))

    def terminate(self, number=signal.SIGTERM):
        """Ask it to stop; returns its exit code and how many seconds that took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        return self.await_end(begun)

    def await_end(self, begun):
        code = self.process.wait(STOP_SECONDS)
        return code, time.monotonic() - begun

    def hup(self):
        """Ask it to reload, and wait until the old workers have gone and the new are ready."""
        old = set(self.worker_pids())
        self.process.send_signal(signal.SIGHUP)
        await_that(lambda: not any(map(is_running, old)), within=STOP_SECONDS)
        self.await_ready()
        return old

    def one_more(self):
        """Ask it for another worker, and wait until that is ready."""
        self.process.send_signal(signal.SIGTTIN)
        self.workers += 1
        self.await_ready()

    def one_less(self):
        """Ask it to let one of its workers go, and wait until it is gone."""
        self.process.send_signal(signal.SIGTTOU)
        self.workers -= 1
        self.await_ready()

    def close(self):
        """End whatever still runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill9()
        for listener in self._listeners:
            listener.close()

    def connect(self, timeout=PATIENCE_SECONDS):
        """A bare connection, with TLS where the server has it."""
        sock = socket.create_connection(self.address, timeout=timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return trusting().wrap_socket(sock) if self.tls else sock

    def request(self, method, path, body=None, headers=None, timeout=PATIENCE_SECONDS):
        """One request on a connection of its own; status, headers and body."""
        kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        more = {"context": trusting()} if self.tls else {}
        connection = kind(self.host, self.port, timeout=timeout, **more)
        try:
            headers = {"Connection": "close", **self.headers, **(headers or {})}
            if body is not None and not isinstance(body, bytes):
                body, headers["Content-Type"] = json.dumps(body), "application/json"
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path, **arguments):
        return self.request("GET", path, **arguments)

    def publish(self, channel, message, headers=None):
        """Publish one event that must be taken; its id."""
        status, _, body = self.request("POST", f"/publish/{channel}", {"message": message}, headers)
        assert status == 200, body
        return json.loads(body)["event_id"]

    def publish_all(self, channel, messages):
        """Publish a batch that must be taken; the ids."""
        status, _, body = self.request("POST", f"/publish/{channel}", {"messages": list(messages)})
        assert status == 200, body
        return json.loads(body)["event_ids"]

    def poll(self, channels, **parameters):
        """One poll that must be answered well; it does not wait unless a timeout is given."""
        query = "&".join(f"{name}={value}" for name, value in {"timeout": 0, **parameters}.items())
        status, _, body = self.get(f"/subscribe/{channels}?{query}")
        assert status == 200, body
        return json.loads(body)

    def events(self, channel):
        """All that is retained of a channel."""
        events, cursor = [], 0
        while True:
            page = self.poll(channel, last_event_id=cursor, limit=1000)
            if not page["events"]:
                return events
            assert "gap" not in page
            events += page["events"]
            cursor = page["last_event_id"]

    def counts(self):
        """What an inspected server holds for its polls at this moment."""
        return self._inspect("counts")

    def weight(self):
        """What an inspected server's process holds: greenlets, descriptors, memory. It takes a while."""
        return self._inspect("weight")

    def _inspect(self, what):
        status, _, body = self.get(f"/-test-/{what}")
        assert status == 200, body
        return json.loads(body)


def trusting():
    """A TLS context that trusts the certificate which a test made for itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(folder):
    """A certificate for this machine and its key, made by openssl."""
    certificate, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
    wanted = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ]
    subprocess.run(
        ["openssl", "req", "-x509", *wanted, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key
