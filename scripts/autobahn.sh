#!/usr/bin/env bash
# Runs the Autobahn|Testsuite's fuzzing server against the client of crates/engine, and checks its report.
# The suite needs Python 2.7, which distributions no longer have. Without it, this prints a message and succeeds.
#
# AUTOBAHN_PROFILE  cargo profile of the client: release (default) or dev
# AUTOBAHN_CASES    cases to run, a JSON list of patterns; default ["*"]
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${AUTOBAHN_PROFILE:-release}
cases=${AUTOBAHN_CASES:-'["*"]'}
home=$PWD/target/autobahn
# The suite has 517 cases. If a report has far fewer, the run was interrupted.
least=500
[ "$cases" = '["*"]' ] || least=1

# Prints the first Python 2.7 that has pip.
find_python() {
  local python
  for python in python2.7 python2 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
    if "$python" -c 'import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  return 1
}

if [ ! -f crates/engine/examples/autobahn.rs ]; then
  echo "autobahn: crates/engine/examples/autobahn.rs is missing" >&2
  exit 1
fi
if ! python=$(find_python); then
  echo "autobahn: SKIPPED, no Python 2.7 with pip here (pyenv install 2.7.18 makes one)"
  exit 0
fi

suite=$home/suite
wanted=scripts/autobahn-requirements.txt
if ! cmp -s "$wanted" "$suite/complete"; then
  echo "autobahn: installing autobahntestsuite for $("$python" --version 2>&1)"
  rm -rf "$suite"
  if ! "$python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes --target "$suite" -r "$wanted" \
    >"$home.log" 2>&1 </dev/null; then
    cat "$home.log" >&2
    exit 1
  fi
  cp "$wanted" "$suite/complete"
fi

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
reports=$home/reports
rm -rf "$reports"
mkdir -p "$reports"
cat >"$home/fuzzingserver.json" <<JSON
{"url": "ws://127.0.0.1:$port", "outdir": "$reports", "cases": $cases, "exclude-cases": [], "exclude-agent-cases": {}}
JSON

# As a site directory, because its dependencies contain a namespace package.
"$python" -c 'import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()' \
  "$suite" -m fuzzingserver -s "$home/fuzzingserver.json" >"$home/server.log" 2>&1 </dev/null &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  if ! kill -0 $server 2>/dev/null; then
    cat "$home/server.log" >&2
    exit 1
  fi
  sleep 0.2
done

cargo run --locked --profile "$profile" -p connect-websocket-engine --example autobahn -- "ws://127.0.0.1:$port"

python3 - "$reports/index.json" "$least" <<'PYTHON'
import collections, json, sys

path, least = sys.argv[1], int(sys.argv[2])
try:
    agents = json.load(open(path))
except (OSError, ValueError) as error:
    sys.exit("autobahn: no report: %s" % error)
good = {"OK", "NON-STRICT", "INFORMATIONAL"}
bad = not agents
for agent, cases in sorted(agents.items()):
    counts = collections.Counter(case["behavior"] for case in cases.values())
    counted = ", ".join("%d %s" % (n, what) for what, n in counts.most_common())
    print("autobahn: %s: %d cases: %s" % (agent, len(cases), counted))
    for name, case in sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        if case["behavior"] not in good or case["behaviorClose"] not in good:
            print("autobahn: case %s: %s, close: %s" % (name, case["behavior"], case["behaviorClose"]))
            bad = True
    if len(cases) < least:
        print("autobahn: only %d cases ran, at least %d were expected" % (len(cases), least))
        bad = True
sys.exit(bad)
PYTHON
