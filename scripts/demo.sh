#!/usr/bin/env bash
# Builds and runs the demonstration: a client, a server and a tunnel between them, and a program
# whose connection is caught. Leaves demo.pcapng and demo_run.pcapng.
#
#   scripts/demo.sh [FOLDER]
#
# The captures go to FOLDER, by default the current one, or to a new one where that cannot be
# written. Needs Rust, and the network only where cargo has not fetched the dependencies yet.
set -euo pipefail

die() {
    echo "demo.sh: $*" >&2
    exit 1
}

folder=${1:-$PWD}
[[ -d $folder ]] || die "'$folder' is not a folder (create it first)"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || die "cargo is missing (install Rust, see https://rustup.rs)"
command -v cc >/dev/null || die "a C compiler is missing (try: sudo apt-get install gcc libc6-dev)"
if [[ -z ${CARGO_TARGET_DIR:-} && ! -w . ]]; then
    export CARGO_TARGET_DIR=${TMPDIR:-/tmp}/tcp_tunn-target-$(id -u)
    echo "demo.sh: this checkout cannot be written; building in $CARGO_TARGET_DIR" >&2
fi
if [[ ! -w $folder ]]; then
    folder=$(mktemp -d)
fi
# Another demonstration that runs here writes these files.
for name in demo.pcapng demo_run.pcapng; do
    if [[ -e $folder/$name ]] && ! { [[ -w $folder/$name ]] && flock -n "$folder/$name" true; }; then
        folder=$(mktemp -d)
        break
    fi
done
exec cargo run --release --locked --quiet --example demo -- "$folder"
