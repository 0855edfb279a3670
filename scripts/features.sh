#!/usr/bin/env bash
# Checks that the library builds without features, with each one alone and with the sets that a
# user is likely to choose, and that no dependency needs a newer Rust than the package says.
#
#   scripts/features.sh
#
# Needs jq. With the oldest supported toolchain installed, that builds the library as well.
set -euo pipefail
cd "$(dirname "$0")/.."

metadata=$(cargo metadata --format-version 1 --filter-platform x86_64-unknown-linux-gnu)
package=$(jq '.resolve.root as $root | .packages[] | select(.id == $root)' <<<"$metadata")
rust_version=$(jq -r .rust_version <<<"$package")

# Both sinks make the integration tests build, and so does `cli`, which is there for the fleet.
# `default` and `cli` are all other features: the lints of scripts/test.sh cover them.
readonly SETS=("" "capture,console" "compress,run" "cli,fleet")

check() {
    echo "    ${1:-none}"
    cargo clippy --quiet "${@:2}" --no-default-features --features "$1" -- -D warnings
}

check_features() {
    local features
    # The library as users build it, without what the tests' dependencies switch on.
    for features in $(jq -r '.features | keys[] | select(. != "default" and . != "cli")' \
        <<<"$package"); do
        check "$features" --lib
    done
    for features in "${SETS[@]}"; do
        check "$features" --all-targets
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
