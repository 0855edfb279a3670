# shellcheck shell=bash disable=SC2034
# What bench.sh and soak.sh share. Sourced, from the package's root.

out=${CARGO_TARGET_DIR:-target}/bench

# profile NAME: whose programs are built and run, release or dev. A tunnel that was chosen stays.
profile() {
    local programs="${CARGO_TARGET_DIR:-target}/release"
    build_options=--release
    if [ "$1" = dev ]; then
        programs="${CARGO_TARGET_DIR:-target}/debug" build_options=
    fi
    tunnel="${tunnel:-$programs/tcp_tunn}"
    load="$programs/examples/load"
    latency="$programs/examples/latency"
    plain="$programs/examples/plain_relay"
}

# die MESSAGE: ends with one line.
die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need COMMAND PACKAGE: installs the package where the command is missing; false when it cannot be.
need() {
    command -v "$1" > /dev/null && return
    local sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    { $sudo apt-get update -q && $sudo apt-get install -qy "$2"; } > "$out/install.log" 2>&1 ||
        { echo "$1 is missing and could not be installed: its rows are left out" >&2; return 1; }
}

# build: the tunnel, then the load generator, whose own features must not leak into the tunnel.
build() {
    # shellcheck disable=SC2086
    cargo build $build_options --quiet && cargo build $build_options --quiet --examples
}

# field NAME: the number of that name in the line of JSON on standard input.
field() {
    sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"
}

# many N: N, or as many connections as a relay can hold with two descriptors for each.
many() {
    ulimit -Sn "$(ulimit -Hn)"
    local most=$(( ($(ulimit -n) - 200) / 2 ))
    if [ "$1" -le "$most" ]; then echo "$1"; else echo "$most"; fi
}

# machine: one line that says what the figures were taken on.
machine() {
    local model
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
    echo "${model:-$(uname -m)}, $(nproc) cores, $(uname -sr), $(date -u +%F)," \
        "load before $(cut -d' ' -f1 /proc/loadavg)"
}

# payload FILE: bytes of TCP payload in a capture, and segments that its reader misses; nothing when
# it cannot be read.
payload() {
    tshark -r "$1" -c 1 > /dev/null 2> "$out/tshark.log" || return
    tshark -r "$1" -T fields -e tcp.len -e tcp.analysis.lost_segment 2> "$out/tshark.log" |
        awk '{ bytes += $1; lost += NF > 1 } END { printf "%d %d\n", bytes, lost }'
}
