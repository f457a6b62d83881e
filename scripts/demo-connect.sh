#!/usr/bin/env bash
# A feed, a real Apache Kafka and a real Kafka Connect with the plugin on this machine: make demo-connect. Shows what
# arrives in the topic until Ctrl-C, which stops all of it and leaves nothing behind.
#
# DEMO_FOR  seconds to run instead of until Ctrl-C
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "demo-connect: $*"; }

bash scripts/needs.sh cargo gcc java mvn python3 curl setpriv
bash e2e/kafka/fetch.sh
# Only for this machine; make plugin builds for all.
arch=$(uname -m)
if ! compgen -G "target/plugin/plugin-path/*/*.jar" >/dev/null; then
  say "building the plugin for linux-$arch: a few minutes the first time"
  PLUGIN_TARGETS=linux-$arch bash scripts/plugin.sh
fi
say "building the feed: about a minute the first time"
cargo build --profile demo --locked -p connect-websocket-testkit

libs=$PWD/e2e/.kafka/libs
plugins=$PWD/target/plugin/plugin-path
feed=${CARGO_TARGET_DIR:-$PWD/target}/demo/websocket-testkit
dir=$(mktemp -d "${TMPDIR:-/tmp}/demo-connect.XXXXXX")
pids=()
next= # what to do next; once the demo has worked
stop() {
  trap - EXIT INT TERM
  say "stopping"
  # The last one started first: Connect before Kafka, so that what was received is written.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
  rm -rf "$dir"
  [ -z "$next" ] || printf '%s\n' "" "next:" "$next"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Port 8083 of Connect if it is free, else another; the rest are any free ones.
read -r kafka controller rest < <(python3 - <<'PY'
import socket
def port(wanted=0):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("127.0.0.1", wanted))
    except OSError:
        s.bind(("127.0.0.1", 0))
    return s
sockets = [port(), port(), port(8083)]
print(*(s.getsockname()[1] for s in sockets))
PY
)

# in_background <name> <command…>: ends with this script, whatever happens to it, and not by the terminal's Ctrl-C, which
# would stop Kafka first.
in_background() {
  local name=$1
  shift
  setsid setpriv --pdeathsig TERM "$@" >"$dir/$name.log" 2>&1 </dev/null &
  pids+=($!)
}

# await <what> <name of its log> <command…>
await() {
  local what=$1 log=$dir/$2.log i
  shift 2
  for ((i = 0; i < 600; i++)); do
    "$@" >/dev/null 2>&1 && return
    kill -0 "${pids[-1]}" 2>/dev/null || break
    sleep 0.2
  done
  say "$what did not come up; the end of its log:" >&2
  tail -n 20 "$log" >&2
  exit 1
}

java=(java "-Dlog4j2.configurationFile=$PWD/e2e/kafka/log4j2.properties" -Xmx512m -cp "$libs/*")

cat >"$dir/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$kafka,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/kafka-data
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
END
cat >"$dir/worker.properties" <<END
bootstrap.servers=127.0.0.1:$kafka
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename=$dir/connect.offsets
offset.flush.interval.ms=1000
listeners=http://127.0.0.1:$rest
plugin.path=$plugins
plugin.discovery=service_load
END

say "starting the feed, Kafka on port $kafka, Connect on port $rest"
in_background feed "$feed" --trades --rate 20 --close-every 15s
await "the feed" feed grep -q '"url"' "$dir/feed.log"
url=$(sed -n '1s/.*"url":"\([^"]*\)".*/\1/p' "$dir/feed.log")
"${java[@]}" kafka.tools.StorageTool format -t ZGVtby1jb25uZWN0LWZlZQ -c "$dir/server.properties" >/dev/null
in_background kafka "${java[@]}" kafka.Kafka "$dir/server.properties"
await Kafka kafka grep -q "Kafka Server started" "$dir/kafka.log"
in_background connect "${java[@]}" org.apache.kafka.connect.cli.ConnectStandalone "$dir/worker.properties"
await Connect connect curl -sf "http://127.0.0.1:$rest/connector-plugins"

config='{"connector.class": "io.conduktor.connect.websocket.WebSocketSourceConnector", "tasks.max": "1",
  "websocket.url": "'$url'", "kafka.topic": "demo-trades"}'
curl -sfS -o /dev/null -X PUT "http://127.0.0.1:$rest/connectors/demo/config" -H 'Content-Type: application/json' -d "$config"

next="the plugin in your own Kafka Connect   docs/start/plugin.md
known feeds, with three options         docs/feeds/index.md"
echo
say "the connector is on http://127.0.0.1:$rest/connectors/demo/status; what comes back from topic demo-trades of 127.0.0.1:$kafka:"
# It ends by Ctrl-C, as this script then does, or by a signal.
limit=()
[ -z "${DEMO_FOR:-}" ] || limit=(timeout --foreground "$DEMO_FOR")
"${limit[@]}" "${java[@]}" \
  org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "127.0.0.1:$kafka" --topic demo-trades --from-beginning \
  --formatter-property print.timestamp=true || true
curl -sf "http://127.0.0.1:$rest/connectors/demo/status" && echo
