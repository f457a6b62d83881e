#!/usr/bin/env bash
# Checks licences, bans and sources of all dependencies with cargo-deny (deny.toml), and known vulnerabilities where the
# advisory database can be fetched. An installed cargo-deny is used. Otherwise one is built in target/tools, which takes a
# minute or two.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tools=$PWD/target/tools
export PATH=$PATH:$tools/bin

if ! command -v cargo-deny >/dev/null; then
  echo "deny: building cargo-deny $version"
  cargo install --quiet --locked --debug --root "$tools" --target-dir "$tools/build" "cargo-deny@$version"
  rm -rf "$tools/build"
fi

cargo deny --locked check --hide-inclusion-graph licenses bans sources

# The database is a git repository on github.com, which not every build machine can reach.
if output=$(cargo deny --locked check --hide-inclusion-graph advisories 2>&1); then
  echo "$output"
elif grep -q 'failed to fetch advisory database' <<<"$output"; then
  echo "deny: SKIPPED the check for known vulnerabilities: the advisory database cannot be fetched"
else
  echo "$output" >&2
  exit 1
fi
