"""Bide is measured as it is shipped: what it would run with is asked for, and nothing else is accepted."""

import dataclasses
import os
import subprocess
import tempfile
from pathlib import Path

from app.config import Settings
from app.errors import SettingsError

from .servers import BUILD, GUNICORN, ROOT, environment

#: What every run must choose for itself.
OURS = ("port", "data_dir")


def changed_settings(environ):
    """The settings that are not the defaults, as `name=value`, and all with their values."""
    settings, shipped = Settings.from_environment(environ), Settings()
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    others = {name: value for name, value in values.items() if name not in OURS}
    return [f"{name}={value}" for name, value in others.items() if value != getattr(shipped, name)], others


def gunicorn_settings(environ):
    """What gunicorn makes of gunicorn.conf.py, the environment and its own defaults."""
    command = [*GUNICORN, "--print-config", "wsgi:app"]
    told = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout
    lines = (line.partition("=") for line in told.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in lines}


def shipped_settings():
    """Bide's effective settings; ends the program where they are not those of a fresh checkout."""
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        environ = environment(8000, Path(folder))
        plain = {name: environ[name] for name in ("PATH", "HOME", "PORT", "BIDE_DATA_DIR") if name in environ}
        try:
            changed, values = changed_settings(environ)
        except SettingsError as error:
            raise SystemExit(f"bench: {error}") from None
        told, shipped = gunicorn_settings(environ), gunicorn_settings(plain)
    # Functions are told with their addresses, which differ between two processes.
    changed += [
        f"gunicorn's {name}={value}"
        for name, value in told.items()
        if " at 0x" not in value and value != shipped.get(name)
    ]
    if changed:
        raise SystemExit(f"bench: Bide is measured with its shipped settings, and these differ: {', '.join(changed)}")
    kept = ("workers", "worker_class", "worker_connections", "backlog", "keepalive", "timeout", "preload_app")
    return {
        "settings": {name: str(value) for name, value in values.items()},
        "gunicorn": {name: told[name] for name in kept},
        "checkout": checkout(),
    }


def checkout():
    """The commit, and what of the server differs from it."""
    if not (ROOT / ".git").exists():
        return "no git"
    git = ["git", "-C", str(ROOT)]
    read = {"capture_output": True, "text": True, "check": False, "env": os.environ | {"GIT_OPTIONAL_LOCKS": "0"}}
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], **read).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "app", "gunicorn.conf.py"], **read).stdout.split("\n")
    names = [line[3:] for line in changed if line]
    return commit + (f", changed: {' '.join(names)}" if names else "")
