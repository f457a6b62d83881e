#!/usr/bin/env bash
# Installs what the tests need and runs all of them; `make test`. Ends with cargo's result lines.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_NET_RETRY=${CARGO_NET_RETRY:-10}
log=target/test.log

stage() { echo; echo "==> $*"; }

stage "needs"
bash scripts/needs.sh --install cargo gcc g++ make perl java mvn python3 setpriv prometheus chromium || exit 1

stage "Apache Kafka for the tests"
bash e2e/kafka/fetch.sh || exit 1

# The end-to-end tests start the built binaries. --all-targets builds with the features that cargo test uses, so nothing
# is built twice.
stage "build"
cargo build --workspace --all-targets --locked || exit 1

# For this machine only, with both C libraries.
stage "Kafka Connect plugin"
arch=$(uname -m)
PLUGIN_TARGETS="linux-$arch linux-$arch-musl" bash scripts/plugin.sh || exit 1
bash scripts/plugin/jdks.sh || exit 1

stage "tests"
failed=()
mkdir -p target
cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log" || failed+=("cargo test")

stage "fuzz targets, for a short while each"
bash scripts/fuzz.sh || failed+=("fuzz")

stage "load check: the native libraries in JVMs and on musl"
bash scripts/plugin/load_check.sh || failed+=("load check")

stage "Autobahn test suite"
AUTOBAHN_PROFILE=dev bash scripts/autobahn.sh || failed+=("Autobahn")

stage "check: formatting, lints, documentation, licences"
make --no-print-directory check || failed+=("make check")

# Links and commands of the documentation are checked by `cargo test`.
stage "documentation site: strict, and nothing from another host"
bash scripts/site.sh || failed+=("site")

stage "documentation site: read in Chromium"
bash scripts/site/browser.sh || failed+=("site in Chromium")

# To build the worker as it ships takes too long here. This only checks that all its licences are found.
stage "third-party notices of the worker"
python3 scripts/notices.py worker "$(rustc -vV | sed -n 's/^host: //p')" >target/notices.txt || failed+=("notices")

stage "results"
grep -E '^ +(Running|Doc-tests) |^test result:|^test .* FAILED$|^error: ' "$log"
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "all tests passed in $((SECONDS / 60)) min $((SECONDS % 60)) s"
