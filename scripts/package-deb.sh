#!/usr/bin/env bash
# Makes a Debian package: the command, its manual page, completions and licenses.
#
#   scripts/package-deb.sh [dev]
#
# Builds the release; with dev it takes what was built for the tests, which saves minutes. Prints
# where it is. Needs cargo-deb, which it installs under target/tools where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
PATH=$PWD/target/tools/bin:$PATH
if ! cargo deb --version >/dev/null 2>&1; then
    # Not optimized: it is built in half the time and runs once.
    cargo install cargo-deb@3.8.0 --locked --debug --quiet --root target/tools >&2 || {
        echo "cargo-deb cannot be installed (try: cargo install cargo-deb)" >&2
        exit 3
    }
fi

[[ $profile != release ]] || cargo build --release --locked
target=$(cargo metadata --format-version 1 --no-deps |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
folder=$profile
[[ $profile != dev ]] || folder=debug
# Where the manifest looks for what the command writes of itself.
generated=target/package
mkdir -p "$generated"
for what in man complete-bash complete-zsh complete-fish; do
    "$target/$folder/tcp_tunn" --generate "$what" >"$generated/$what"
done
cargo deb --profile "$profile" --no-build --quiet
