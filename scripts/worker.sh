#!/usr/bin/env bash
# Builds the worker as it ships: make build.
#
#   target/worker/connect-websocket, LICENSE, THIRD-PARTY.txt
#
# The binary says nothing about the machine that built it: paths of sources are those of the repository, and OpenSSL looks
# for modules where only root may write, not where it was built.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$PWD/target/worker
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
target=$(rustc -vV | sed -n 's/^host: //p')

# A directory of its own: with other flags in target/ cargo would build all dependencies anew at each turn. GNU make takes
# the variables of GNUMAKEFLAGS as if they stood on its command line. The names of functions stay, for backtraces.
env -u RUSTFLAGS CARGO_TARGET_DIR="$home/cargo" CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=debuginfo \
  GNUMAKEFLAGS="ENGINESDIR=/usr/local/lib/engines-3 MODULESDIR=/usr/local/lib/ossl-modules" \
  CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$registry/="$'\x1f'"--remap-path-prefix=$PWD/=" \
  cargo build --release --locked -p connect-websocket
install -D "$home/cargo/release/connect-websocket" "$home/connect-websocket"
cp LICENSE "$home/LICENSE"
python3 scripts/notices.py worker "$target" >"$home/THIRD-PARTY.txt"
if strings -a "$home/connect-websocket" | grep -F -e "$registry" -e "$PWD" >"$home/paths.txt"; then
  echo "worker: $(wc -l <"$home/paths.txt") paths of this machine are in the binary, see target/worker/paths.txt" >&2
  exit 1
fi
rm "$home/paths.txt"
echo "worker: target/worker/connect-websocket: $(stat -c %s "$home/connect-websocket") bytes"
