#!/bin/bash
# Loads the tunnel for minutes and fails when it leaks, grows, or loses a byte.
#
#   scripts/soak.sh [--short] [--only REGEX] [--tunnel COMMAND] [--no-build]
#
#   --short    the same work in a smaller size, for CI: about a minute; it sees leaks of more
#              than 800 bytes a connection; the long form 40, and 400 of aborted ones
#   --only RE  only parts whose name matches: hold short short-captured abort streams
#
# Prints each figure with its bound, writes them to target/bench/soak.md, exits 1 when one is
# broken. Connections that are held are as many as the open files' hard limit allows.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/lib.sh

only=. short="" tunnel="" build=build failed=0
while [ $# -gt 0 ]; do
    case $1 in
        --short) short=yes ;;
        --only) only=$2; shift ;;
        --tunnel) tunnel=$2; shift ;;
        --no-build) build=: ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done

if [ $short ]; then
    # What the tests have built already.
    profile dev
    held=1000 rounds=5 count=5000 aborted=1500 warm_up=2000 captured_warm_up=2000
    streams=16 stream_bytes=500000 stream_seconds=5
else
    profile release
    held=10000 rounds=20 count=100000 aborted=10000 warm_up=10000 captured_warm_up=100000
    streams=64 stream_bytes=4000000 stream_seconds=60
fi

mkdir -p "$out"
need tshark tshark || die "the captures cannot be checked without tshark"
$build || die "the build failed"
held=$(many $held)
ulimit -Sn "$(ulimit -Hn)"
capture=$out/soak.pcapng
trap 'rm -f "$capture"' EXIT
trap 'exit 130' INT TERM
rm -f "$out/soak.log"
plain_tunnel="$tunnel --quiet --from {from} --to {to}"

# soak WORK...: runs it through $command; the line of JSON is in $result.
soak() {
    result=$("$load" --relay "$command" --log "$out/soak.log" --timeout 900 "$@") || {
        echo "soak: \`load $*\` failed, see $out/soak.log" >&2
        failed=1
    }
}

# bound WHAT FIGURE OPERATOR LIMIT [UNIT]: a line of the table; the soak fails when it is broken.
bound() {
    local verdict
    verdict=$(awk -v figure="$2" -v limit="$4" "BEGIN {
        print figure != \"\" && figure + 0 $3 limit + 0 ? \"kept\" : \"BROKEN\" }")
    [ "$verdict" = kept ] || failed=1
    echo "| $1 | ${2:-none} ${5:-} | $3 $4 | $verdict |" | tee -a "$out/soak.md"
}

of() { field "$1" <<< "$result"; }

# no_growth WHAT: nothing stays behind of connections that are gone. Memory may move by what an
# allocator keeps, not by what connections leave: 4 MB is 40 bytes of each of 100,000.
no_growth() {
    bound "$1: descriptors, from $(of fds_before)" "$(of fds_after)" "<=" "$(of fds_before)"
    bound "$1: threads, from $(of threads_before)" "$(of threads_after)" "<=" "$(of threads_before)"
    bound "$1: resident, from $(of rss_before_kb) kB" "$(of rss_after_kb)" "<=" \
        $(($(of rss_before_kb) + 4096)) kB
}

soak_hold() {
    command=$plain_tunnel
    soak hold --connections "$held" --rounds $rounds
    local what="$held connections at once"
    bound "$what: answered and verified" "$(of connections)" "==" "$held"
    bound "$what: resident while idle" "$(of idle_rss_kb)" "<=" 150000 kB
    bound "$what: errors" "$(of errors)" "==" 0
    bound "$what: descriptors after, from $(of fds_before)" "$(of fds_after)" "<=" "$(of fds_before)"
}

soak_short() {
    command=$plain_tunnel
    soak connect --connections 32 --count $count --seconds 900 --warm-up $warm_up
    bound "$count short connections: served" "$(of connections)" "==" $count
    no_growth "$count short connections"
}

# With a capture each worker copies what passes into two blocks of 2 MiB, in turn. Their pages become
# resident as they are first used, at some 160 bytes a connection here, so that as many connections
# as fill them come first; after that no more may stay than without a capture. It levels off: after
# 100,000 connections another 100,000 added 1.7 MB once, another 400,000 2.7 MB, which is what the
# allocator keeps of the moments in which the capture's queue was longest.
soak_short-captured() {
    command="$plain_tunnel --pcap $capture"
    soak connect --connections 32 --count $count --seconds 900 --warm-up $captured_warm_up
    bound "$count captured short connections: served" "$(of connections)" "==" $count
    no_growth "$count captured short connections"
}

soak_abort() {
    command=$plain_tunnel
    soak abort --connections 32 --count $aborted --seconds 900 --warm-up $warm_up
    bound "$aborted aborted connections: made" "$(of connections)" "==" $aborted
    bound "$aborted aborted connections: server's resets seen as resets" "$(of resets_seen)" \
        "==" $((aborted / 3))
    no_growth "$aborted aborted connections"
}

soak_streams() {
    command="$plain_tunnel --pcap $capture"
    soak streams --connections $streams --bytes $stream_bytes --seconds $stream_seconds
    local what="$streams streams for $stream_seconds s" follow=() stream
    local total=$((2 * streams * stream_bytes))
    bound "$what: bytes verified by their receivers" "$(of verified_bytes)" "==" $total
    for stream in $(seq 0 $((streams - 1))); do follow+=(-z "follow,tcp,raw,$stream"); done
    result=$(tshark -r "$capture" -q "${follow[@]}" 2> "$out/tshark.log" | "$load" follow) || failed=1
    bound "$what: streams followed in the capture, byte by byte" "$(of streams)" "==" $streams
    bound "$what: bytes of them" "$(of verified_bytes)" "==" $total
    bound "$what: segments that the reader misses" "$(payload "$capture" | cut -d' ' -f2)" "==" 0
}

{
    echo "Machine: $(machine). Command: \`scripts/soak.sh${short:+ --short}\`."
    echo
    echo "| what | figure | bound | |"
    echo "|---|---|---|---|"
} | tee "$out/soak.md"
for part in hold short short-captured abort streams; do
    [[ $part =~ $only ]] || continue
    "soak_$part"
    rm -f "$capture"
done
exit $failed
