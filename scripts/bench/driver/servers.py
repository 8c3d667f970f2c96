"""The servers that are measured: how each is started, and its processes."""

import contextlib
import http.client
import os
import resource
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import jwt

ROOT = Path(__file__).resolve().parents[3]
PEERS = ROOT / "scripts/bench/peers"
BUILD = ROOT / "build/bench"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
#: gunicorn's own worker, with all else as in gunicorn.conf.py.
GEVENT = ("-k", "gevent")
START_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """`command` gets the port and a folder of its own; the environment says both to those who read it there.
    `settings` are variables of its own: a server that has some is measured in the rows that name it, and no others.
    `both_cores` lets it use the load's as well. With `redis` its store is on a Redis server, which shares the load's
    core: it is on another machine as well. `fields` are lines that each request has in its head."""

    name: str
    title: str
    packages: tuple[str, ...] = ()
    module: str = ""
    gunicorn: str = ""
    options: tuple[str, ...] = ()
    nchan: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    both_cores: bool = False
    redis: bool = False
    fields: tuple[str, ...] = ()

    @property
    def is_shipped(self):
        """It has no settings of its own."""
        return not self.settings and not self.redis

    def command(self, port, folder):
        if self.gunicorn:
            return [*GUNICORN, *self.options, self.gunicorn]
        if self.nchan:
            text = string.Template((PEERS / "nchan.conf").read_text())
            conf = folder / "nginx.conf"
            conf.write_text(text.safe_substitute(PORT=port, FOLDER=folder, MODULE=NCHAN_MODULE))
            return ["/usr/sbin/nginx", "-c", str(conf), "-p", str(folder), "-e", "stderr"]
        return [sys.executable, str(PEERS / self.module), str(port)]

    def available(self):
        if self.redis:
            return shutil.which("redis-server") is not None
        return not self.nchan or NCHAN_MODULE.exists()

    def versions(self):
        if self.nchan:
            told = subprocess.run(["/usr/sbin/nginx", "-v"], capture_output=True, text=True, check=True).stderr
            package = ["dpkg-query", "-W", "-f=${Version}", "libnginx-mod-nchan"]
            nchan = subprocess.run(package, capture_output=True, text=True, check=False).stdout
            return f"nchan {nchan or '(unknown)'}, {told.strip().rpartition(' ')[2]}"
        told = ", ".join(f"{package} {version(package)}" for package in self.packages)
        if self.redis:
            words = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
            told += f", Redis {words.partition('v=')[2].partition(' ')[0]}"
        return told


BIDE = ("flask", "gunicorn", "gevent")

#: Who may do what, how often, and from which pages, all asked for at once. No limit is met.
SECRET = "a secret of this benchmark, which everybody knows"
GUARDED = {
    "BIDE_JWT_SECRET": SECRET,
    "BIDE_CORS_ORIGINS": "https://app.example https://www.example",
    "BIDE_RATE_PUBLISH": "1000000/second",
    "BIDE_RATE_SUBSCRIBE": "1000000/second",
    "BIDE_MAX_POLLS_PER_CLIENT": "20000",
}
CLAIMS = {"publish": ["*"], "subscribe": ["user.{sub}.*", "fanout*", "guarded*", "*"], "presence": ["*"]}
TOKEN = jwt.encode(
    {"sub": "bench", "iat": int(time.time()), "exp": int(time.time()) + 86400, "jti": "bench", "bide": CLAIMS}, SECRET
)

SERVERS = [
    Server("bide", "Bide", BIDE, gunicorn="wsgi:app"),
    Server("gevent", "Bide, -k gevent", BIDE, gunicorn="wsgi:app", options=GEVENT),
    Server("naive", "naive Flask", BIDE, gunicorn="scripts.bench.peers.naive_flask:app", options=GEVENT),
    Server("fastapi", "FastAPI", ("fastapi", "uvicorn", "uvloop", "httptools"), "fastapi_uvicorn.py"),
    Server("tornado", "Tornado", ("tornado",), "tornado_server.py"),
    Server("aiohttp", "aiohttp", ("aiohttp",), "aiohttp_server.py"),
    Server("nchan", "Nchan", nchan=True),
    Server("bide-2", "Bide, 2 workers", BIDE, gunicorn="wsgi:app", settings={"WEB_CONCURRENCY": "2"}, both_cores=True),
    Server("bide-redis", "Bide on Redis", (*BIDE, "redis"), gunicorn="wsgi:app", redis=True),
    Server(
        "bide-guarded",
        "Bide, tokens, limits, CORS",
        (*BIDE, "pyjwt", "limits", "flask-cors"),
        gunicorn="wsgi:app",
        settings=GUARDED,
        fields=(f"Authorization: Bearer {TOKEN}", "Origin: https://app.example"),
    ),
    Server("bide-18000", "Bide, 18,000 polls", BIDE, gunicorn="wsgi:app", settings={"BIDE_MAX_POLLS": "18000"}),
]


def cores():
    """One core for the server and another for the load; no two threads of one core."""
    found = sorted(os.sched_getaffinity(0))
    others = [cpu for cpu in found if cpu not in siblings(found[0])]
    if not others:
        raise SystemExit("bench: two cores are needed, one for the server and one for the load")
    return found[0], others[0]


def on_cores(*allowed):
    """For a new process: it stays on these cores, and may have as many descriptors as there may be."""

    def prepare():
        os.sched_setaffinity(0, allowed)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return prepare


def siblings(cpu, topology=Path("/sys/devices/system/cpu")):
    """The processors that are threads of one core, itself included; it alone where the system does not tell."""
    try:
        text = (topology / f"cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return {cpu}
    found = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def environment(port, folder):
    """The caller's, so that settings of theirs are met and refused, with the port and the data folder."""
    return os.environ | {"PORT": str(port), "BIDE_DATA_DIR": str(folder / "data")}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Running:
    """One server on a free port, to be used as a context manager."""

    def __init__(self, server):
        self.server = server
        # On the checkout's disk, where the store of a server lies that is started there, and not in memory.
        self._folder = tempfile.TemporaryDirectory(prefix=f"{server.name}-", dir=BUILD)
        self.folder = Path(self._folder.name)
        self.port = free_port()
        self._redis = None

    def __enter__(self):
        core, other = cores()
        self._log = (self.folder / "log").open("w+")
        settings = self.server.settings | ({"BIDE_STORE": self._start_redis(other)} if self.server.redis else {})
        self.process = subprocess.Popen(
            self.server.command(self.port, self.folder),
            cwd=ROOT,
            env=environment(self.port, self.folder) | settings,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=on_cores(core, *([other] if self.server.both_cores else [])),
        )
        try:
            self._await_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # It has nothing to lose, and some servers wait half a minute for connections that are idle.
        with contextlib.suppress(ProcessLookupError):  # it did not start
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self._redis is not None:
            self._redis.kill()
            self._redis.wait()
        self._log.close()
        self._folder.cleanup()

    def _start_redis(self, core):
        """A Redis server that writes to a file what it acknowledged, within a second; the URL of its store."""
        port = free_port()
        options = {"port": port, "bind": "127.0.0.1", "dir": self.folder, "appendonly": "yes", "save": ""}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._redis = subprocess.Popen(
            ["redis-server", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=on_cores(core),
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return f"redis://127.0.0.1:{port}/0"
            if self._redis.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("bench: redis-server does not start")
            time.sleep(0.02)

    def _await_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                headers = {"Content-Type": "application/json"} | dict(
                    field.split(": ", 1) for field in self.server.fields
                )
                connection.request("POST", "/publish/is-it-there", b'{"message": "1"}', headers)
                if 200 <= connection.getresponse().status < 300:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                raise SystemExit(f"bench: {self.server.title} does not start\n{self._log.read()[-2000:]}")
            time.sleep(0.05)

    def pids(self):
        """The process and all that it started, and they in turn."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found
