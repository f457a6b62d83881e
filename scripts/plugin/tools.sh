#!/usr/bin/env bash
# Installs zig and cargo-zigbuild, from PyPI, into a virtual environment: target/plugin/tools.
#
# zig is the C compiler and linker for every platform: it brings both C libraries, and glibc's in every version.
set -euo pipefail
cd "$(dirname "$0")/../.."
wanted="ziglang==0.15.2 cargo-zigbuild==0.24.1"
home=$PWD/target/plugin/tools

[ "$(cat "$home/complete" 2>/dev/null)" != "$wanted" ] || exit 0
echo "plugin: installing $wanted"
rm -rf "$home"
mkdir -p "$(dirname "$home")"
if ! python3 -m venv "$home"; then
  echo "plugin: Python cannot make a virtual environment; install it with: apt-get install -y python3-venv" >&2
  exit 1
fi
# shellcheck disable=SC2086
"$home/bin/pip" install -q --disable-pip-version-check --only-binary :all: $wanted </dev/null
echo "$wanted" >"$home/complete"
