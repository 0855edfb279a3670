#!/usr/bin/env bash
# Makes pictures of the live page in light, dark and narrow, with traffic of its own. The light one
# is docs/images/web.png, which the README shows; look at all three.
#
#   scripts/screenshots.sh [FOLDER]
#
# FOLDER, by default target/screenshots, gets the others. Needs chromium, chromium-driver, python3
# and openssl.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-${CARGO_TARGET_DIR:-target}/screenshots}
mkdir -p "$folder" docs/images
cargo build --quiet
target=$(cargo metadata --format-version 1 --no-deps |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
PYTHONPATH=tests/web python3 -B scripts/screenshots.py "$target/debug/tcp_tunn" "$folder"
cp "$folder/light.png" docs/images/web.png
ls -l docs/images/web.png "$folder"
