#!/bin/sh
# Resolves every dependency of txrouter[dev] anew, in a venv of its own, and writes the result to constraints.txt.
# Run it with the oldest Python that is to work, Debian 12's 3.11.2: what a newer one resolves to may not install there.
set -eu

cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${PYTHON:-python3}" -m venv "$scratch"
"$scratch/bin/python" -m pip install -q --upgrade pip setuptools
"$scratch/bin/python" -m pip install -q -e '.[dev]'
{
    echo "# Every version that CI and make install, pip and setuptools included. Written by \`make constraints\`."
    "$scratch/bin/python" -m pip freeze --all --exclude-editable
} >"$scratch/constraints.txt"
cp "$scratch/constraints.txt" constraints.txt
