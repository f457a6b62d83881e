#!/usr/bin/env bash
# Checks that the native libraries in target/plugin load and run. usage: scripts/plugin/load_check.sh [<platform>...],
# default: all that make plugin has built. Run e2e/kafka/fetch.sh before.
#
# glibc: in JVMs (LoadCheck.java), this machine's and those of jdks.sh. musl: PyPI has no JVM for it, so load_check.c is
# used instead, with Debian's musl. Another architecture: the same under qemu, with Debian's C library. What is not
# possible here is left out with a message.
set -euo pipefail
cd "$(dirname "$0")/../.."
home=$PWD/target/plugin
check=$home/load-check
library=libconnect_websocket_plugin.so
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
jar=$home/plugin-path/kafka-connect-websocket/kafka-connect-websocket-$version.jar
machine=$(uname -m)
platforms=("$@")
[ ${#platforms[@]} -gt 0 ] || mapfile -t platforms < <(ls "$home/native")

say() { echo "load check: $*"; }

# debian <architecture of Debian> <package>: unpacks a package, of any architecture, into a directory of its own, and
# leaves the system's package lists alone.
debian() {
  local apt=$check/apt-$1 into=$check/debian/$1/$2
  [ ! -f "$into/complete" ] || return 0
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  local options=(-qq -o "APT::Architecture=$1" -o "APT::Architectures=$1" -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root)
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$into"
  [ -f "$apt/updated" ] || { apt-get "${options[@]}" update </dev/null >"$apt/log" 2>&1 && touch "$apt/updated"; } || return 1
  (cd "$apt" && rm -f "$2"_*.deb && apt-get "${options[@]}" download "$2" </dev/null >"$apt/log" 2>&1) || return 1
  dpkg-deb -x "$apt/$2"_*.deb "$into" && rm "$apt/$2"_*.deb && touch "$into/complete"
}

debian_arch() { case $1 in x86_64) echo amd64 ;; aarch64) echo arm64 ;; esac; }

# The emulator for an architecture.
qemu() {
  local name=qemu-$1-static here
  command -v "$name" && return
  here=$(debian_arch "$machine")
  debian "$here" qemu-user-static || return 1
  echo "$check/debian/$here/qemu-user-static/usr/bin/$name"
}

# in_jvm <java> [<command before it>...]
in_jvm() {
  local java=$1
  shift
  "$@" "$java" -Xmx64m -cp "$check/classes:$jar:$(echo e2e/.kafka/libs/{connect-api,kafka-clients,slf4j-api}-*.jar | tr ' ' ':')" LoadCheck
}

# Compiles load_check.c for a platform and prints the program's path.
compile() {
  local arch=${1#linux-} libc=gnu.2.17 include
  [[ $1 != *-musl ]] || libc=musl
  include=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")/include
  "$home/tools/bin/python-zig" cc -target "${arch%-musl}-linux-$libc" -dynamic -O1 -Wall -Wextra -Wno-unused-parameter \
    -I "$include" -I "$include/linux" -o "$check/$1" scripts/plugin/load_check.c -ldl &&
    echo "$check/$1"
}

# Succeeds if the platform's library runs. Ends with 2 if that cannot be checked here.
run() {
  local arch=${1#linux-} emulator=() program sysroot java
  arch=${arch%-musl}
  if [ "$arch" != "$machine" ]; then
    emulator=("$(qemu "$arch")") || return 2
  fi
  if [[ $1 = *-musl ]]; then
    debian "$(debian_arch "$arch")" musl || return 2
    sysroot=$check/debian/$(debian_arch "$arch")/musl
    program=$(compile "$1") || return 1
    # The program names a loader in /lib, which only a musl system has.
    "${emulator[@]}" "$sysroot/lib/ld-musl-$arch.so.1" "$program" "$home/native/$1/$library" "$version"
  elif [ "$arch" != "$machine" ]; then
    debian "$(debian_arch "$arch")" libc6 && bash scripts/plugin/jdks.sh "$arch" || return 2
    in_jvm "$home/jdk-21-$arch/bin/java" "${emulator[@]}" -L "$check/debian/$(debian_arch "$arch")/libc6"
  else
    for java in java "$home"/jdk-{21,25}/bin/java; do
      ! command -v "$java" >/dev/null || in_jvm "$java" || return 1
    done
  fi
}

mkdir -p "$check/classes"
javac -Xlint:all -Werror --release 17 -proc:none -d "$check/classes" \
  -cp "$jar:$(echo e2e/.kafka/libs/{connect-api,kafka-clients}-*.jar | tr ' ' ':')" scripts/plugin/LoadCheck.java
failed=0
for platform in "${platforms[@]}"; do
  result=0
  output=$(run "$platform" 2>&1) || result=$?
  case $result in
    0) grep '^version ' <<<"$output" | while read -r line; do say "$platform: $line"; done ;;
    2) say "SKIPPED $platform: an emulator or a C library for it cannot be had here" ;;
    *) say "$platform FAILED:"; echo "$output"; failed=1 ;;
  esac
done
say "done in $SECONDS s"
exit $failed
