#!/usr/bin/env bash
# Builds the worker as it ships: make build.
#
#   target/worker/connect-websocket, LICENSE, THIRD-PARTY.txt
#
# The binary contains no path of the machine that built it: paths of sources are those of the repository, and OpenSSL searches
# modules in a directory that only root can write to, and not where it was built.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$PWD/target/worker
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
target=$(rustc -vV | sed -n 's/^host: //p')

# GET / shows the commit. Without git or a repository, it shows the version.
if commit=$(git rev-parse HEAD 2>/dev/null); then
  export CONNECT_WEBSOCKET_COMMIT=$commit
fi

# A directory of its own: with other flags in target/, cargo would build all dependencies again each time. GNU make uses the
# variables of GNUMAKEFLAGS like those on its command line. The names of functions stay, for backtraces.
env -u RUSTFLAGS CARGO_TARGET_DIR="$home/cargo" CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=debuginfo \
  GNUMAKEFLAGS="ENGINESDIR=/usr/local/lib/engines-3 MODULESDIR=/usr/local/lib/ossl-modules" \
  CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$registry/="$'\x1f'"--remap-path-prefix=$PWD/=" \
  cargo build --release --locked -p connect-websocket
install -D "$home/cargo/release/connect-websocket" "$home/connect-websocket"
cp LICENSE "$home/LICENSE"
python3 scripts/notices.py worker "$target" >"$home/THIRD-PARTY.txt"
bash scripts/paths.sh "$home/connect-websocket"
echo "worker: target/worker/connect-websocket: $(stat -c %s "$home/connect-websocket") bytes"
