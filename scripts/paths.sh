#!/usr/bin/env bash
# Checks that a binary or library contains no path of the machine that built it. usage: paths.sh <binary or library>...
set -euo pipefail
cd "$(dirname "$0")/.."
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src

for file in "$@"; do
  text=$(strings -a "$file")
  if grep -F -e "$registry" -e "$PWD/crates/" -e "$PWD/target/" <<<"$text" >&2; then
    echo "$file: these paths of this machine are in it" >&2
    exit 1
  fi
done
