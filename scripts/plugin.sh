#!/usr/bin/env bash
# Builds the Kafka Connect plugin: make plugin.
#
#   target/plugin/native/<platform>/libconnect_websocket_plugin.so   the native library, for each platform
#   target/plugin/plugin-path/kafka-connect-websocket/*.jar          plugin.path=target/plugin/plugin-path
#   target/plugin/*.zip                                              the archive to hand out
#
# PLUGIN_TARGETS  the platforms, of linux-x86_64, linux-x86_64-musl, linux-aarch64 and linux-aarch64-musl; default: all.
#                 One whose Rust target cannot be installed is left out, with a line that says so, unless it is this
#                 machine's.
set -euo pipefail
cd "$(dirname "$0")/.."
all="linux-x86_64 linux-x86_64-musl linux-aarch64 linux-aarch64-musl"
platforms=${PLUGIN_TARGETS:-$all}

# zig is the C compiler and linker for every platform: it brings both C libraries, and glibc's in every version.
ZIG=0.15.2
ZIGBUILD=0.24.1
# The oldest glibc to run on: that of RHEL 7, and the oldest that Rust supports.
GLIBC=2.17

home=$PWD/target/plugin
library=libconnect_websocket_plugin.so
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Of everything that is packed: the same bytes whenever it is built.
export SOURCE_DATE_EPOCH=1767225600 # 2026-01-01

say() { echo "plugin: $*"; }

# A virtual environment with zig and cargo-zigbuild.
tools() {
  local wanted="ziglang==$ZIG cargo-zigbuild==$ZIGBUILD"
  [ "$(cat "$home/tools/complete" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing $wanted"
  rm -rf "$home/tools"
  python3 -m venv "$home/tools"
  # shellcheck disable=SC2086
  "$home/tools/bin/pip" install -q --disable-pip-version-check --only-binary :all: $wanted </dev/null
  echo "$wanted" >"$home/tools/complete"
}

# The Rust target of a platform.
triple() {
  case $1 in
    linux-x86_64 | linux-aarch64) echo "${1#linux-}-unknown-linux-gnu" ;;
    linux-x86_64-musl | linux-aarch64-musl) local arch=${1#linux-}; echo "${arch%-musl}-unknown-linux-musl" ;;
    *) echo "plugin: PLUGIN_TARGETS names $1, which is none of: $all" >&2; return 1 ;;
  esac
}

# Whether Rust can compile for a target; installs its standard library where rustup is.
has_target() {
  local libdir
  libdir=$(rustc --print target-libdir --target "$1")
  compgen -G "$libdir/libstd-*" >/dev/null && return
  command -v rustup >/dev/null && rustup target add "$1" >/dev/null 2>&1 </dev/null &&
    compgen -G "$libdir/libstd-*" >/dev/null
}

# build <platform> <triple>
build() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} flags suffix= started=$SECONDS
  # nodelete: a JVM that drops the plugin's class loader must not unmap code that threads still run.
  flags="-C link-arg=-Wl,-z,nodelete --remap-path-prefix=$cargo_home/registry/src= --remap-path-prefix=$PWD="
  case $2 in
    *-gnu) suffix=.$GLIBC ;;
    *-musl) flags+=" -C target-feature=-crt-static" ;; # a shared library cannot bring a C library of its own
  esac
  # A directory of its own: with other flags in target/ cargo would build the workspace's dependencies anew at each turn.
  PATH=$home/tools/bin:$PATH RUSTFLAGS=$flags CARGO_TARGET_DIR=$home/cargo \
    CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=none \
    cargo zigbuild --release --locked -p connect-websocket-plugin --target "$2$suffix"
  mkdir -p "$home/native/$1"
  cp "$home/cargo/$2/release/$library" "$home/native/$1/$library"
  say "$1: $(stat -c %s "$home/native/$1/$library") bytes in $((SECONDS - started)) s"
}

[ -n "$version" ] || { say "no version in Cargo.toml" >&2; exit 1; }
host=$(rustc -vV | sed -n 's/^host: //p')
tools
rm -rf "$home/native" "$home/java" "$home/plugin-path" "$home"/*.zip
built=()
for platform in $platforms; do
  target=$(triple "$platform")
  if has_target "$target"; then
    build "$platform" "$target"
    built+=("$platform")
  elif [ "$target" = "$host" ]; then
    say "Rust has no standard library for $target, this machine" >&2
    exit 1
  else
    say "SKIPPED $platform: Rust's target $target cannot be installed here (rustup target add $target)"
  fi
done
[ ${#built[@]} -gt 0 ] || { say "no native library was built" >&2; exit 1; }

mvn -q -B -f crates/plugin/java/pom.xml -Drevision="$version" package </dev/null
jar=$home/plugin-path/kafka-connect-websocket/kafka-connect-websocket-$version.jar
mkdir -p "$(dirname "$jar")"
cp "$home/java/kafka-connect-websocket-$version.jar" "$jar"
say "$jar: $(stat -c %s "$jar") bytes for ${built[*]}"
