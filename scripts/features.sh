#!/usr/bin/env bash
# Checks that the library builds without features and with each one alone, and that nothing it
# depends on needs a newer Rust than it says itself.
#
#   scripts/features.sh
#
# Needs jq. With cargo-hack installed all combinations are checked instead of each feature alone;
# where the oldest supported toolchain is installed, it has to build the library.
set -euo pipefail
cd "$(dirname "$0")/.."

metadata=$(cargo metadata --format-version 1 --filter-platform x86_64-unknown-linux-gnu)
package=$(jq '.resolve.root as $root | .packages[] | select(.id == $root)' <<<"$metadata")
rust_version=$(jq -r .rust_version <<<"$package")

check() {
    echo "    $*"
    cargo clippy --quiet --all-targets --no-default-features "$@" -- -D warnings
}

check_features() {
    if cargo hack --version >/dev/null 2>&1; then
        cargo hack clippy --quiet --all-targets --feature-powerset -- -D warnings
        return
    fi
    check
    local feature
    for feature in $(jq -r '.features | keys[]' <<<"$package"); do
        check --features "$feature"
    done
}

# The dependencies that need a newer Rust, one a line.
too_new() {
    jq -r --arg ours "$rust_version" '
        def number: split(".") | map(tonumber) | [.[0], .[1], .[2] // 0];
        .packages[] | select(.rust_version != null)
        | select((.rust_version | number) > ($ours | number))
        | "\(.name) \(.version) needs Rust \(.rust_version), we say \($ours)"' <<<"$metadata"
}

check_rust_version() {
    local found
    found=$(too_new)
    if [[ -n $found ]]; then
        echo "$found" >&2
        return 1
    fi
    if command -v rustup >/dev/null && rustup toolchain list | grep -q "^${rust_version}[.-]"; then
        cargo "+$rust_version" check --quiet --lib --bins
    else
        echo "    not built with it: that toolchain is not installed" \
            "(try: rustup toolchain install $rust_version)"
    fi
}

echo "==> features"
check_features
echo "==> Rust $rust_version"
check_rust_version
