#!/usr/bin/env bash
# Makes one static file of the command, which runs on any Linux of its architecture, also in an
# empty container: it brings its own libc and resolves names by /etc/hosts and DNS.
#
#   scripts/package-static.sh [ARCHITECTURE] [PROFILE]
#
#   ARCHITECTURE  x86_64 or aarch64 (that of this machine)
#   PROFILE       release or dev (release)
#
# Prints where the file is: target/static/tcp_tunn-ARCHITECTURE. For another architecture it needs
# Rust's target (rustup target add aarch64-unknown-linux-gnu) and a linker (Debian:
# gcc-aarch64-linux-gnu and libc6-dev-arm64-cross).
set -euo pipefail
cd "$(dirname "$0")/.."

architecture=${1:-$(uname -m)}
profile=${2:-release}
die() {
    echo "package-static.sh: $*" >&2
    exit 1
}
case $architecture in
    x86_64 | aarch64) ;;
    *) die "no static file is made for '$architecture' (expected x86_64 or aarch64)" ;;
esac
target=$architecture-unknown-linux-gnu
if [[ $architecture != "$(uname -m)" ]]; then
    linker=$architecture-linux-gnu-gcc
    command -v "$linker" >/dev/null ||
        die "there is no $linker (try: sudo apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"
    upper=$(tr 'a-z-' 'A-Z_' <<<"$target")
    export "CARGO_TARGET_${upper}_LINKER=$linker" "CC_${target//-/_}=$linker"
fi

# A folder of its own, since the flags would have everything else built again.
folder=target/static
# musl would be the usual choice, but tokio-uring does not compile there.
RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR=$folder \
    cargo build --locked --quiet --bin tcp_tunn --target "$target" --profile "$profile" >&2
[[ $profile != dev ]] || profile=debug
file=$folder/tcp_tunn-$architecture
cp "$folder/$target/$profile/tcp_tunn" "$file"
echo "$file"
