#!/bin/sh
# Makes .venv in this checkout and installs txrouter into it, editable, with one extra (dev …) or `alone`, and the
# versions of constraints.txt. What it needs from the system it installs with apt where it runs as root; otherwise it prints
# the line to type. PYTHON=python3.12 chooses another interpreter.
set -eu

extra=${1:?usage: scripts/bootstrap.sh EXTRA}
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
package=$(basename "$python")
venv=.venv

die() {
    echo "txrouter: $*" >&2
    exit 1
}

# The Debian packages that this machine lacks. python-qpid-proton is published as source only, hence the compiler.
missing() {
    command -v gcc >/dev/null || echo gcc
    if ! command -v "$python" >/dev/null; then
        echo "$package" "$package-dev" "$package-venv"
        return
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$package-venv"
    "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
        echo "$package-dev"
}

install_missing() {
    packages=$(missing | xargs)
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null || die "please install what Debian calls: $packages"
    if [ "$(id -u)" -ne 0 ]; then
        echo "txrouter needs a few system packages first. Please type:" >&2
        echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends $packages" >&2
        exit 1
    fi
    echo "Installing $packages"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # one argument per package
    apt-get install -y -qq --no-install-recommends $packages >/dev/null
    packages=$(missing | xargs)
    [ -z "$packages" ] || die "$python still lacks what Debian calls: $packages"
}

check_version() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$("$python" --version) is too old, it takes 3.11. PYTHON=python3.12 before make chooses another."
}

if command -v "$python" >/dev/null; then check_version; fi
install_missing
check_version

"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
what=".[$extra]"
[ "$extra" != alone ] || what=.
echo "Installing txrouter ($extra) into $venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt pip
"$venv/bin/python" -m pip install -q -c constraints.txt --build-constraint constraints.txt -e "$what"
touch "$venv/.installed-$extra"
