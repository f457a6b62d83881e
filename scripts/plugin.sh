#!/usr/bin/env bash
# Builds the Kafka Connect plugin: make plugin.
#
#   target/plugin/native/<platform>/libconnect_websocket_plugin.so   the native library, for each platform
#   target/plugin/plugin-path/kafka-connect-websocket/*.jar          plugin.path=target/plugin/plugin-path
#   target/plugin/*.zip                                              the archive for users
#
# PLUGIN_TARGETS  the platforms, of linux-x86_64, linux-x86_64-musl, linux-aarch64 and linux-aarch64-musl; default: all.
#                 If a Rust target cannot be installed, its platform is left out with a message. This machine's is required.
set -euo pipefail
cd "$(dirname "$0")/.."
all="linux-x86_64 linux-x86_64-musl linux-aarch64 linux-aarch64-musl"
# The oldest glibc to run on: that of RHEL 7, and the oldest that Rust supports.
glibc=2.17
home=$PWD/target/plugin
library=libconnect_websocket_plugin.so
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# The time of all packed files, so that every build has the same bytes.
export SOURCE_DATE_EPOCH=1767225600 # 2026-01-01

say() { echo "plugin: $*"; }

# The Rust target of a platform.
triple() {
  local arch=${1#linux-}
  case $1 in
    linux-x86_64 | linux-aarch64) echo "$arch-unknown-linux-gnu" ;;
    linux-x86_64-musl | linux-aarch64-musl) echo "${arch%-musl}-unknown-linux-musl" ;;
    *) echo "plugin: PLUGIN_TARGETS names $1, which is none of: $all" >&2; return 1 ;;
  esac
}

# Whether Rust can compile for a target. Installs its standard library if there is rustup.
has_target() {
  local libdir
  libdir=$(rustc --print target-libdir --target "$1")
  compgen -G "$libdir/libstd-*" >/dev/null && return
  command -v rustup >/dev/null && rustup target add "$1" >/dev/null 2>&1 </dev/null &&
    compgen -G "$libdir/libstd-*" >/dev/null
}

# Builds the library for all given platforms in one run of cargo, which compiles one while it links another.
build() {
  local platform target targets=() flags musl
  # nodelete: a JVM that drops the plugin's class loader must not unmap code that threads still run.
  flags="-C link-arg=-Wl,-z,nodelete --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src= --remap-path-prefix=$PWD="
  for platform in "$@"; do
    target=$(triple "$platform")
    musl=
    case $target in
      *-gnu) targets+=(--target "$target.$glibc") ;;
      # A shared library cannot contain a C library.
      *-musl) targets+=(--target "$target") musl=" -C target-feature=-crt-static" ;;
    esac
    target=${target//-/_}
    export "CARGO_TARGET_${target^^}_RUSTFLAGS=$flags$musl"
  done
  # A directory of its own: with other flags in target/, cargo would build the workspace's dependencies again each time.
  env -u RUSTFLAGS PATH="$home/tools/bin:$PATH" CARGO_TARGET_DIR="$home/cargo" \
    CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=none \
    cargo zigbuild --release --locked -p connect-websocket-plugin "${targets[@]}"
  for platform in "$@"; do
    mkdir -p "$home/native/$platform"
    cp "$home/cargo/$(triple "$platform")/release/$library" "$home/native/$platform/$library"
    bash scripts/paths.sh "$home/native/$platform/$library"
    say "$platform: $(stat -c %s "$home/native/$platform/$library") bytes"
  done
}

# Writes the licences for the JAR. They are the same for all platforms.
notices() {
  local platform targets=()
  for platform in $all; do targets+=("$(triple "$platform")"); done
  mkdir -p "$home/notices"
  cp LICENSE "$home/notices/LICENSE"
  python3 scripts/notices.py plugin "$(dirname "$(find "$home/tools/lib" -path '*/ziglang/zig')")" "${targets[@]}" \
    >"$home/notices/THIRD-PARTY.txt"
}

main() {
  local host platform target platforms=() jar zip
  [ -n "$version" ] || { say "no version in Cargo.toml" >&2; exit 1; }
  bash scripts/venv.sh "$home/tools" scripts/plugin/requirements/tools.txt
  rm -rf "$home/native" "$home/notices" "$home/java" "$home/plugin-path" "$home"/*.zip
  host=$(rustc -vV | sed -n 's/^host: //p')
  for platform in ${PLUGIN_TARGETS:-$all}; do
    target=$(triple "$platform")
    if has_target "$target"; then
      platforms+=("$platform")
    elif [ "$target" = "$host" ]; then
      say "Rust has no standard library for $target, which is this machine" >&2
      exit 1
    else
      say "SKIPPED $platform: Rust's target $target cannot be installed here (rustup target add $target)"
    fi
  done
  [ ${#platforms[@]} -gt 0 ] || { say "there is no platform to build for" >&2; exit 1; }
  build "${platforms[@]}"
  notices

  mvn -q -B -Dstyle.color=never -f crates/plugin/java/pom.xml -Drevision="$version" package </dev/null
  jar=plugin-path/kafka-connect-websocket/kafka-connect-websocket-$version.jar
  mkdir -p "$home/$(dirname "$jar")"
  cp "$home/java/kafka-connect-websocket-$version.jar" "$home/$jar"
  python3 scripts/plugin/check.py "$home/$jar" "$version" "$glibc" "${platforms[@]}"
  zip=$(python3 scripts/plugin/archive.py "$home/$jar" "$home/notices/THIRD-PARTY.txt" "$version" "$home")
  say "target/plugin/$jar: $(stat -c %s "$home/$jar") bytes, for ${platforms[*]}"
  say "target/plugin/$(basename "$zip"): $(stat -c %s "$zip") bytes"
  say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s"
}

main
