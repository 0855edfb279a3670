#!/usr/bin/env bash
# Makes all that a release has, in target/packages: for each architecture a Debian package and a
# static file, and SHA256SUMS over them.
#
#   scripts/package.sh [ARCHITECTURE...]
#
# By default x86_64 and aarch64; see package-static.sh for what another architecture needs. What is
# made for aarch64 is run once by qemu-aarch64 where that is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

out=target/packages
rm -rf "$out"
mkdir -p "$out"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

# Runs a static file where that is possible here.
try_out() {
    local architecture=$1 file=$2
    if [[ $architecture == "$(uname -m)" ]]; then
        "$file" --version
    elif command -v "qemu-$architecture" >/dev/null; then
        "qemu-$architecture" "$file" --version
    else
        echo "    not run: there is no qemu-$architecture" >&2
    fi
}

for architecture in "${@:-x86_64 aarch64}"; do
    for architecture in $architecture; do
        static=$(scripts/package-static.sh "$architecture")
        try_out "$architecture" "$static" >&2
        cp "$static" "$out/tcp_tunn-$version-linux-$architecture"
        deb=$(scripts/package-deb.sh release "$architecture" | tail -1)
        cp "$deb" "$out/"
    done
done
(cd "$out" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
