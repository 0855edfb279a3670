#!/usr/bin/env bash
# Prints how many lines of a layer its own unit tests run.
#
#   scripts/coverage.sh [LAYER]
#
# LAYER is a folder of src, by default relay. Needs the tools of LLVM that match the compiler
# (rustup component add llvm-tools).
set -euo pipefail
cd "$(dirname "$0")/.."

layer=${1:-relay}
tools=$(dirname "$(find "$(rustc --print sysroot)" -name llvm-cov | head -n 1)")
[[ -x $tools/llvm-cov ]] || { echo "no llvm-cov (try: rustup component add llvm-tools)" >&2; exit 1; }
out=$PWD/target/coverage
rm -rf "$out"/*.profraw
export LLVM_PROFILE_FILE=$out/%p-%m.profraw RUSTFLAGS="-C instrument-coverage"
tests=$(CARGO_TARGET_DIR=$out cargo test --quiet --lib --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
"$tests" --quiet "$layer::"
"$tools/llvm-profdata" merge -sparse "$out"/*.profraw -o "$out/$layer.profdata"
# What only tests run is not what they cover.
"$tools/llvm-cov" report "$tests" -instr-profile "$out/$layer.profdata" \
    -ignore-filename-regex '/tests(/|\.rs)' --sources "src/$layer"
