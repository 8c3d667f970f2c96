# Sourced by the other scripts: `venv_ready runtime` or `venv_ready dev` makes $venv hold what the lock file names, and
# so does `venv_ready bench`, for which $venv is to be another one. A run that finds it so takes a few hundredths of a
# second.
#
# $venv/stamp-runtime and $venv/stamp-dev say for which Python, path and lock file the environment was made. They are
# written last, so that an interrupted run leaves none that fits; an environment without a fitting stamp is built anew,
# never repaired: pip takes a half-written package for an installed one.
# shellcheck shell=bash

unset CDPATH # With it, cd prints where it went, and $root would hold that twice.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv

say() { printf '%s\n' "$*" >&2; }

lock_of() { if [ "$1" = runtime ]; then echo "$root/requirements.lock"; else echo "$root/requirements-$1.lock"; fi; }

# The stamp that a fitting environment has. Prints nothing where there is no Python that could run.
# The Python asked is the one that will run, so that an upgrade of the system's Python below it is noticed. The path is
# in it since tools write it into an environment's files: a copied or moved one must not go on using the first one's.
stamp_for() {
    "${PYTHON:-$venv/bin/python}" -ISc '
import hashlib, sys
with open(sys.argv[1], "rb") as lock:
    print(sys.implementation.cache_tag, hashlib.sha256(lock.read()).hexdigest(), sys.argv[2])
' "$(lock_of "$1")" "$venv" 2>/dev/null || true
}

fits() {
    local stamp=
    [ -x "$venv/bin/python" ] && [ -f "$venv/stamp-$1" ] || return 1
    stamp=$(stamp_for "$1")
    [ -n "$stamp" ] && [ "$stamp" = "$(<"$venv/stamp-$1")" ]
}

# What Debian asks before it starts a service that it has installed.
policy=/usr/sbin/policy-rc.d

# Installs Debian packages where that is ours to do; false elsewhere.
apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $* with apt-get"
    (
        # One after another: a second one finds dpkg locked, and loses the policy when the first is done.
        if command -v flock >/dev/null; then flock 8; fi
        # The tests want programs, not services: nginx would take port 80,.
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" || exit 1
        fi
        apt-get update -qq >/dev/null &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
    ) 8</usr/sbin
}

# Prints the Python to build on: PYTHON if it is set, else the first on the path that is new enough.
find_python() {
    local candidate python
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.13 python3.12 python3.11 python3; fi
    for candidate in "$@"; do
        # The base, not the candidate: `python3` may be that of an activated .venv, which is about to be removed.
        python=$("$candidate" -Ic 'import sys; print(sys.version_info >= (3, 11) and sys._base_executable or "")' 2>/dev/null) &&
            [ -n "$python" ] && printf '%s\n' "$python" && return
    done
    say "Bide needs Python 3.11 or newer, which none of these is: $*. Install it, or name it in PYTHON."
    return 1
}

make_venv() {
    local python package
    python=$(find_python)
    # Debian keeps ensurepip, without which venv fails half-way, in a package of its own.
    if ! "$python" -Ic 'import venv, ensurepip' 2>/dev/null; then
        package=$("$python" -Ic 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        if ! apt_install "$package"; then
            say "$python has no venv module. On Debian and Ubuntu install it as root: apt-get install $package"
            return 1
        fi
    fi
    rm -rf "$venv"
    "$python" -m venv "$venv"
}

install_lock() {
    say "installing $(basename "$(lock_of "$1")") into $(basename "$venv"), once"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$(lock_of "$1")" >&2
}

build() {
    # dev holds every pin of runtime, so it may be laid on top of it: a server that runs from here keeps running. Not on
    # top of another dev, finished or not, which would leave behind what only that one had.
    if [ "$1" = dev ] && fits runtime && [ ! -e "$venv/stamp-dev" ]; then
        echo unfinished >"$venv/stamp-dev"
    else
        make_venv
    fi
    install_lock "$1"
    stamp_for runtime >"$venv/stamp-runtime"
    [ "$1" = runtime ] || stamp_for "$1" >"$venv/stamp-$1"
}

venv_ready() {
    if fits "$1"; then return; fi
    (
        # Two at once: the second waits, then finds it done. The lock is on the checkout's folder, so that there is no
        # file to leave behind, and held by this subshell alone, so that a server does not inherit it. macOS has no flock.
        if command -v flock >/dev/null; then flock 9; fi
        fits "$1" || build "$1"
    ) 9<"$root"
}
