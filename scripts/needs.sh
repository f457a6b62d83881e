#!/usr/bin/env bash
# usage: scripts/needs.sh [--install] <need>...
# Checks that each program exists. Prints what is missing, and the apt command that installs it.
# With --install, as root on Debian or Ubuntu, it installs the missing ones with apt.
set -euo pipefail

RUST=1.88 # rust-version in Cargo.toml
JAVA=17   # Kafka 4

# The Debian package of a need. Debian 12's own Rust is too old, so there is none for cargo.
package() {
  case $1 in
    chromium) echo chromium fonts-dejavu-core libatomic1 ;; # Playwright's own Node.js needs the last one
    gcc) echo gcc libc6-dev ;;
    java) echo openjdk-17-jdk-headless ;;
    mvn) echo maven ;;
    python3) echo python3 python3-venv ;;
    setpriv) echo util-linux ;;
    *) echo "$1" ;;
  esac
}

# Whether a need is met. Prints the reason if the program is too old.
met() {
  command -v "$1" >/dev/null || return 1
  case $1 in
    cargo) at_least "$1" "$RUST" "$(cargo --version | awk '{print $2}')" ;;
    python3) can_make_environments ;;
    java) at_least "$1" "$JAVA" "$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')" ;;
  esac
}

# The plugin's build keeps its tools in a virtual environment, for which Debian has a package of its own.
can_make_environments() {
  python3 -c 'import ensurepip, venv' 2>/dev/null && return
  echo "python3 has no venv" >&2
  return 1
}

at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$3" | sort -V | head -n 1)" = "$2" ] && return
  echo "$1 is version ${3:-unknown}, at least $2 is needed" >&2
  return 1
}

missing() {
  for need in "$@"; do
    met "$need" || echo "$need"
  done
}

install=no
if [ "${1:-}" = --install ]; then
  install=yes
  shift
fi

needs=$(missing "$@")
[ -n "$needs" ] || exit 0

packages=()
for need in $needs; do
  if [ "$need" = cargo ]; then
    echo "cargo of Rust $RUST or newer is missing: install it from https://rustup.rs" >&2
  else
    read -ra names <<<"$(package "$need")"
    packages+=("${names[@]}")
  fi
done

if [ $install = yes ] && [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "missing: $(echo $needs); installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq </dev/null
  apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null
  packages=()
  needs=$(missing "$@")
  [ -n "$needs" ] || exit 0
fi

echo "missing: $(echo $needs)" >&2
if [ ${#packages[@]} -gt 0 ]; then
  echo "install with: apt-get update && apt-get install -y ${packages[*]}" >&2
fi
exit 1
