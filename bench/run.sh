#!/usr/bin/env bash
# usage: bench/run.sh [--quick] [--program NAME=PATH]... [--help]; README.md here has the method and all options.
# Builds what is compared and measures it; the report goes to standard output and to bench/results.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# One directory for both workspaces, so that nothing is built twice.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
bash "$root/scripts/needs.sh" cargo gcc make perl java mvn setpriv
bash "$root/e2e/kafka/fetch.sh" >&2

# The whole workspace, so that the features of its dependencies are those of every other build.
(cd "$root" && cargo build --release --locked --workspace --bins --lib --example intake)
(cd "$root/bench" && cargo build --release --locked)

# The plugin for this machine, and the source connector that is the floor in Kafka Connect.
machine=$(rustc -vV | sed -n 's/^host: \([^-]*\)-.*-linux-\(.*\)$/linux-\1-\2/p')
PLUGIN_TARGETS=${PLUGIN_TARGETS:-${machine%-gnu}} bash "$root/scripts/plugin.sh" >&2
floor=$CARGO_TARGET_DIR/bench/connect-floor
rm -rf "$floor" "$floor-classes"
mkdir -p "$floor" "$floor-classes/META-INF/services"
javac -Xlint:all -Werror --release 17 -cp "$root/e2e/.kafka/libs/*" -d "$floor-classes" "$root"/bench/programs/connect-floor/*.java
echo FloorSourceConnector >"$floor-classes/META-INF/services/org.apache.kafka.connect.source.SourceConnector"
jar --create --file "$floor/connect-floor.jar" -C "$floor-classes" .

# The Python program is optional: without Python, the others are measured.
requirements=$root/bench/programs/requirements.txt
venv=$CARGO_TARGET_DIR/bench/venv
python=()
if bash "$root/scripts/venv.sh" "$venv" "$requirements" >&2; then
  python=(--python "$venv/bin/python")
else
  echo "bench: the Python program is left out: it needs python3 with venv, and the packages of $requirements" >&2
fi

revision=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
exec "$CARGO_TARGET_DIR/release/bench" "${python[@]}" --plugin-path "$root/target/plugin/plugin-path" --revision "$revision" \
  --when "$(date '+%Y-%m-%d %H:%M')" --output "$root/bench/results/$(date +%Y-%m-%d-%H%M%S).md" "$@"
