#!/usr/bin/env bash
# Installs zig and cargo-zigbuild, from PyPI, into a virtual environment: target/plugin/tools.
#
# zig is the C compiler and linker for every platform. It contains both C libraries, and glibc in every version.
set -euo pipefail
cd "$(dirname "$0")/../.."
wanted=scripts/plugin/requirements/tools.txt
home=$PWD/target/plugin/tools

cmp -s "$wanted" "$home/complete" && exit 0
echo "plugin: installing what $wanted lists"
rm -rf "$home"
mkdir -p "$(dirname "$home")"
if ! python3 -m venv "$home"; then
  echo "plugin: Python cannot make a virtual environment; install it with: apt-get install -y python3-venv" >&2
  exit 1
fi
"$home/bin/pip" install -q --disable-pip-version-check --only-binary :all: --require-hashes -r "$wanted" </dev/null
cp "$wanted" "$home/complete"
