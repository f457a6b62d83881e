#!/usr/bin/env bash
# usage: scripts/fuzz.sh [SECONDS [TARGET…]]; fuzzes each target for this time. fuzz/README.md has the targets.
# Without SECONDS, as in make test: 15 seconds from nothing and with one seed, so that each run makes the same inputs.
# libFuzzer needs only coverage from the compiler, which every toolchain has. cargo-fuzz adds a sanitizer, which needs nightly.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
seconds=${1:-15}
targets=("${@:2}")
[ $# -gt 0 ] && chance=() || chance=(-seed=1)
[ ${#targets[@]} -gt 0 ] || targets=(frame handshake inflate expression json decode split session)
host=$(rustc -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-$root/target}/fuzz

coverage=level=4,inline-8bit-counters,pc-table,trace-compares
flags="-Cpasses=sancov-module --cfg fuzzing -Cdebug-assertions"
for part in ${coverage//,/ }; do flags+=" -Cllvm-args=-sanitizer-coverage-$part"; done
# With --target, the flags are not used for build scripts.
(cd "$root/fuzz" && RUSTFLAGS=$flags CARGO_TARGET_DIR=$built \
  cargo build --release --locked --features json --target "$host" "${targets[@]/#/--bin=}")

failed=()
for target in "${targets[@]}"; do
  work=$built/work/$target
  [ $# -gt 0 ] || rm -rf "$work"
  mkdir -p "$work/corpus"
  echo "fuzz: $target, $seconds s"
  (cd "$work" && "$built/$host/release/$target" corpus "${chance[@]}" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 >log 2>&1) ||
    { tail -n 30 "$work/log"; failed+=("$target"); continue; }
  grep '^Done ' "$work/log"
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: failed: ${failed[*]}" >&2; exit 1; }
