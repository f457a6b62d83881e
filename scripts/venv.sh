#!/usr/bin/env bash
# usage: scripts/venv.sh <folder> <requirements>
# Installs what the requirements list, by checksums, into a virtual environment of Python, unless it is there already.
set -euo pipefail
home=$1
wanted=$2

cmp -s "$wanted" "$home/complete" && exit 0
echo "installing what $wanted lists"
rm -rf "$home"
mkdir -p "$(dirname "$home")"
if ! python3 -m venv "$home"; then
  echo "Python cannot make a virtual environment; install it with: apt-get install -y python3-venv" >&2
  exit 1
fi
"$home/bin/pip" install -q --disable-pip-version-check --only-binary :all: --require-hashes -r "$wanted" </dev/null
cp "$wanted" "$home/complete"
