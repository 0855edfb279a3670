#!/usr/bin/env bash
# Checks everything: format, lints, tests, docs, dependencies, examples, a short soak.
#
#   scripts/test.sh
#
# On Debian it first installs, as root, the programs that the tests talk to.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PACKAGES=(
    tshark tcpdump curl wget git nginx redis-server postgresql socat openssl jq tmux iproute2
    nftables xxd python3-venv gcc libc6-dev golang-go nodejs openssh-client openssh-server
    netcat-openbsd strace nats-server chromium chromium-driver prometheus
)
# An example with this line in its head needs nothing and ends by itself, so that it is run here.
readonly RUNNABLE='^//! Runs by itself'

if [[ -z ${CARGO_TARGET_DIR:-} && ! -w . ]]; then
    export CARGO_TARGET_DIR=${TMPDIR:-/tmp}/tcp_tunn-target-$(id -u)
    echo "test.sh: this checkout cannot be written; building in $CARGO_TARGET_DIR" >&2
fi

# The packages that are not installed, one a line.
missing_packages() {
    local package
    for package in "${PACKAGES[@]}"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null |
            grep -qx installed || echo "$package"
    done
}

install_missing() {
    if ! command -v dpkg-query apt-get >/dev/null; then
        echo "not Debian: install by your own means what is missing of: ${PACKAGES[*]}"
        return
    fi
    local missing
    mapfile -t missing < <(missing_packages)
    if ((${#missing[@]} == 0)); then
        return
    fi
    if ((EUID != 0)); then
        echo "missing packages (try: sudo apt-get install ${missing[*]})" >&2
        return 1
    fi
    # The tests start the servers they need themselves; RUNLEVEL keeps the system's from starting.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Other readers of captures and of tables, from PyPI, kept out of the system's Python.
install_readers() {
    local environment=${CARGO_TARGET_DIR:-$PWD/target}/python
    if ! "$environment/bin/python" -c 'import duckdb, scapy' 2>/dev/null; then
        python3 -m venv "$environment"
        "$environment/bin/pip" install --quiet --disable-pip-version-check \
            'scapy>=2.6,<3' 'duckdb>=1.4,<3' || {
            echo "scapy and duckdb could not be installed from PyPI (try again with a network)" >&2
            return 1
        }
    fi
    export TCP_TUNN_PYTHON=$environment/bin/python
}

# Runs a command under a headline and tells the time it took.
step() {
    local headline=$1 started=$SECONDS
    shift
    echo "==> $headline"
    # Not as a condition: that would let the steps of a function fail unseen.
    "$@"
    echo "    $((SECONDS - started)) s"
}

# Test modules that open sockets: they run on each way to the kernel.
readonly ON_SOCKETS="^(bounds|capture|cli|contract|crash|embedding|ends|faults|fidelity|live|loops|\
programs|relay|rotation|scarce|signals|sinks|status|tls|transform|unix_sockets)::"

# Runs the tests, by io_uring where the kernel permits it; then those on sockets again, by epoll.
run_tests() {
    export TCP_TUNN_SKIPPED=$scratch/skipped
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --no-fail-fast --status-level slow
        echo "==> tests on sockets by epoll"
        TCP_TUNN_IO=epoll cargo nextest run --no-fail-fast --status-level slow \
            -E "binary(integration) and test(/$ON_SOCKETS/)"
    else
        # As in .config/nextest.toml.
        export RUST_TEST_THREADS=4
        cargo test --lib --bins --tests --no-fail-fast
        TCP_TUNN_IO=epoll cargo test --test integration --no-fail-fast
    fi
    count_skipped
}

# Tests fail where the machine lacks what could be installed; what is left names a kernel feature.
count_skipped() {
    if [[ -s $TCP_TUNN_SKIPPED ]]; then
        echo "    $(wc -l <"$TCP_TUNN_SKIPPED") skipped:"
        sort -u "$TCP_TUNN_SKIPPED" | sed 's/^/    /'
    else
        echo "    none skipped"
    fi
}

# They need a build with another feature, but not of the other tests.
test_fleet() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --features fleet --lib --test fleet --no-fail-fast \
            --status-level slow -E 'binary(fleet) or test(/^fleet::/)'
    else
        cargo test --features fleet --test fleet --no-fail-fast
        cargo test --features fleet --lib --no-fail-fast fleet::
    fi
}

check_docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
}

check_dependencies() {
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny check bans licenses sources
    else
        echo "    skipped: cargo-deny is not installed (try: cargo install cargo-deny)"
    fi
}

check_fuzz_targets() {
    if [[ -e fuzz/Cargo.toml ]]; then
        cargo check --quiet --manifest-path fuzz/Cargo.toml
    else
        echo "    none"
    fi
}

# Services that run this set it, and programs act on it: it is so everywhere.
export CI=true
# What is built once is built faster without.
[[ -e ${CARGO_TARGET_DIR:-target}/debug ]] || export CARGO_INCREMENTAL=0
# Where examples may leave files, removed at the end.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

run_examples() {
    local source name target
    target=$(cargo metadata --format-version 1 --no-deps |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    cargo build --quiet --examples
    for source in examples/*.rs; do
        if [[ -e $source ]] && grep -q "$RUNNABLE" "$source"; then
            name=$(basename "$source" .rs)
            echo "    $name"
            (cd "$scratch" && timeout 60 "$target/debug/examples/$name" >"$name.log" 2>&1) ||
                { cat "$scratch/$name.log" && return 1; }
        fi
    done
}

# Its figures mean nothing here.
short_bench() {
    scripts/bench.sh --short >"$scratch/bench.log" 2>&1 || { cat "$scratch/bench.log" && return 1; }
}

step "programs that the tests need" install_missing
step "scapy and duckdb, which read in their own ways" install_readers
step "format" cargo fmt --check
step "lints" cargo clippy --quiet --all-targets -- -D warnings
step "lints of the library alone" cargo clippy --quiet --no-default-features -- -D warnings
step "features and the oldest Rust" scripts/features.sh
step "tests" run_tests
step "tests of the fleet" test_fleet
step "tests in the documentation" cargo test --quiet --doc
step "documentation" check_docs
step "dependencies" check_dependencies
step "fuzz targets" check_fuzz_targets
step "examples" run_examples
step "soak, in short" scripts/soak.sh --short
step "benchmark, in short" short_bench
step "Debian package" scripts/test-deb.sh dev
echo "==> all good, after $SECONDS s"
