#!/usr/bin/env bash
# Makes a Debian package: the command, its manual page, completions and licences.
#
#   scripts/package-deb.sh
#
# Prints where it is. Needs cargo-deb (cargo install cargo-deb).
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo deb --version >/dev/null 2>&1; then
    echo "cargo-deb is not installed (try: cargo install cargo-deb)" >&2
    exit 1
fi

cargo build --release --locked
target=$(cargo metadata --format-version 1 --no-deps |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# Where the manifest looks for what the command writes of itself.
generated=target/package
mkdir -p "$generated"
for what in man complete-bash complete-zsh complete-fish; do
    "$target/release/tcp_tunn" --generate "$what" >"$generated/$what"
done
cargo deb --no-build --quiet
