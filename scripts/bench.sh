#!/bin/bash
# Measures the tunnel beside its peers and prints how the figures compare with the goals.
#
#   scripts/bench.sh [--short] [--runs N] [--rows REGEX] [--tunnel COMMAND] [--proxy COMMAND]
#                    [--no-build]
#
#   --short     proves in one or two minutes that every row runs; its figures mean nothing
#   --runs N    runs of each row, interleaved; the table has their medians (5)
#   --rows RE   only rows whose name matches; names: see `rows` below
#   --tunnel C  the tunnel's command (target/release/tcp_tunn)
#   --proxy C   examples/proxy of liburing, for the stretch, which no package brings
#
# Peers from Debian's packages are installed where missing (as root or with sudo). All traffic is on
# 127.0.0.1. Writes target/bench/bench.md, and each run as JSON to target/bench/runs.jsonl.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/lib.sh
. scripts/bench-tls.sh

rows="start bulk-1 bulk-8 rr-64 rr-8 rr-1 connect pcap-1 pcap-8 lost latency hexdump json idle scale tls"
runs=5 only=. short="" tunnel="" proxy="" build=build
while [ $# -gt 0 ]; do
    case $1 in
        --short) short=yes runs=1 ;;
        --runs) runs=$2; shift ;;
        --rows) only=$2; shift ;;
        --tunnel) tunnel=$2; shift ;;
        --proxy) proxy=$2; shift ;;
        --no-build) build=: ;;
        *) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done

if [ $short ]; then
    # What the tests have built anyway.
    profile dev
    bytes=100000000 slow_bytes=500000 slow_patience=15 seconds=0.3 held=500 idle=1 chunks=5
    tls_bytes=30000000 tls_slow_bytes=3000000 tls_seconds=1
    scale_workers="1 2" scale_connections="1 64 500"
else
    profile release
    bytes=3000000000 slow_bytes=5000000 slow_patience=60 seconds=3 held=10000 idle=10 chunks=100
    tls_bytes=1000000000 tls_slow_bytes=100000000 tls_seconds=5
    scale_workers="1 2 4" scale_connections="1 8 64 1000 10000"
fi

mkdir -p "$out"
need haproxy haproxy
need socat socat
need sslsplit sslsplit
need nginx nginx
need curl curl
need openssl openssl
need xxd xxd
need dumpcap wireshark-common
need tshark tshark
$build || die "the build failed"
machine=$(machine)
held=$(many $held)
trap 'rm -f "$out"/run.pcap "$out"/run.pcapng "$out"/lo.pcapng "$out"/noise
    kill $tls_nginx $tls_running 2> /dev/null' EXIT
trap 'exit 130' INT TERM

cat > "$out/haproxy.cfg" << EOC
global
    nbthread $(nproc)
    maxconn 4000
defaults
    mode tcp
    option splice-auto
    option splice-request
    option splice-response
    backlog 4096
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen relay
    bind "\${FROM}"
    server upstream "\${TO}"
EOC

ends="--from {from} --to {to}"
capture=$out/run.pcapng
socat_ends="TCP-LISTEN:{from_port},bind=127.0.0.1,reuseaddr,nodelay,backlog=1024,fork TCP:{to},nodelay"
declare -A relay=(
    [direct]=""
    [ours]="$tunnel $ends --quiet"
    [ours-epoll]="$tunnel $ends --quiet --io epoll"
    [ours-pcap]="$tunnel $ends --quiet --pcap $capture"
    [ours-sample]="$tunnel $ends --quiet --pcap $capture --sample 1s"
    [ours-hexdump]="$tunnel $ends"
    [ours-json]="$tunnel $ends --console json"
    [haproxy]="haproxy -db -f $out/haproxy.cfg"
    [socat]="socat -b 65536 $socat_ends"
    [socat-xv]="socat -x -v $socat_ends"
    [sslsplit]="sslsplit -X $out/run.pcap tcp 127.0.0.1 {from_port} 127.0.0.1 {to_port}"
    [proxy.c]="$proxy -H 127.0.0.1 -r {from_port} -p {to_port} -B1 -m1 -c1 -u1 -C1 -b65536 -n512"
    [plain-64k]="$plain $ends --buffer 65536"
    [plain-256k]="$plain $ends --buffer 262144"
)

# record ROW RELAY NAME VALUE ...: a result that was not measured by the load generator.
record() {
    local line="\"row\":\"$1\",\"relay\":\"$2\""
    shift 2
    while [ $# -gt 1 ]; do line+=",\"$1\":$2"; shift 2; done
    echo "{$line}" >> "$out/runs.jsonl"
}

# run ROW RELAY WORK...: one measured run. A peer that stalls, as sslsplit does at times, is given a
# second chance, and waited for no longer than a few times what it takes.
run() {
    local row=$1 name=$2 command=${relay[$2]} attempt line patience=120
    [ "$name" != sslsplit ] || patience=$slow_patience
    shift 2
    [ -z "$command" ] || command -v "${command%% *}" > /dev/null || return
    for attempt in 1 2; do
        line=$("$load" --name "$row/$name" --log "$out/relays.log" --timeout $patience \
            ${command:+--relay "$command"} "$@" 2>> "$out/load.log")
        local status=$?
        rm -f "$out/run.pcap"
        [ "$status" = 0 ] && break
        echo "$row $name: failed, attempt $attempt, see $out/load.log" >&2
    done
    if [ "$status" = 0 ]; then echo "$line" >> "$out/runs.jsonl"; else record "$row" "$name" failed 1; fi
}

row_bulk() {
    for name in direct ours ours-epoll haproxy socat proxy.c plain-64k plain-256k; do
        run "bulk-$1" $name bulk --connections "$1" --bytes $bytes
    done
}

row_rr() {
    for name in direct ours ours-epoll ours-pcap haproxy socat plain-64k; do
        run "rr-$1" $name rr --connections "$1" --size 64 --seconds $seconds
        rm -f "$capture"
    done
}

row_connect() {
    for name in direct ours ours-epoll haproxy socat plain-64k; do
        run connect $name connect --connections 16 --seconds $seconds
    done
}

row_pcap() {
    for name in ours ours-pcap sslsplit; do
        run "pcap-$1" $name bulk --connections "$1" --bytes $bytes
        rm -f "$capture"
    done
}

# The same traffic through our capture and past dumpcap. Payload: what was moved, a header of 24
# bytes and a verdict of 8 for each connection.
row_lost() {
    dumpcap -q -i lo -f tcp -B 64 -w "$out/lo.pcapng" 2> "$out/dumpcap.log" &
    local sniffer=$! connections=8 total=$((bytes / 3)) seen lost
    until [ -s "$out/lo.pcapng" ]; do
        kill -0 $sniffer 2> /dev/null || { echo "dumpcap cannot capture here" >&2; break; }
        sleep 0.05
    done
    run lost ours-pcap bulk --connections $connections --bytes $total
    kill -INT $sniffer 2> /dev/null && wait $sniffer
    read -r seen lost < <(payload "$capture")
    [ -z "${seen:-}" ] || record lost ours-capture segments_missing "$lost" bytes_lost \
        $((total / connections * connections + connections * 32 - seen))
    read -r seen lost < <(sed -n "s/^Packets received.*: \([0-9]*\)\/\([0-9]*\).*/\1 \2/p" \
        "$out/dumpcap.log")
    [ -z "${lost:-}" ] || record lost dumpcap packets_kept "$seen" packets_lost "$lost"
    rm -f "$capture" "$out/lo.pcapng"
}

# From a chunk to the bytes of its packet at a reader, and to the packet in a live tshark.
row_latency() {
    "$latency" "$tunnel" $chunks >> "$out/runs.jsonl" 2>> "$out/load.log" ||
        echo "latency: failed, see $out/load.log" >&2
}

row_hexdump() {
    run hexdump ours-hexdump bulk --bytes $bytes
    run hexdump socat-xv bulk --bytes $slow_bytes
    head -c $((slow_bytes * 10)) /dev/urandom > "$out/noise"
    local began ended
    began=$(date +%s%N)
    xxd "$out/noise" > /dev/null
    ended=$(date +%s%N)
    record hexdump xxd flushed_gb_per_s \
        "$(awk "BEGIN { printf \"%.4f\", $slow_bytes * 10 / ($ended - $began) }")"
}

row_json() { run json ours-json bulk --bytes $bytes; }

row_idle() {
    run idle ours hold --connections "$held"
    run idle ours-sample hold --connections "$held" --idle-seconds $idle
    rm -f "$capture"
}

row_start() { for _ in 1 2 3 4 5; do run start ours start; done; }

row_scale() {
    local workers connections name
    for workers in $scale_workers; do
        for connections in $scale_connections; do
            for name in ours ours-pcap; do
                local plain_command=${relay[$name]}
                relay[$name]+=" --workers $workers"
                run "scale-w$workers-c$connections" $name \
                    bulk --connections "$(many "$connections")" --bytes $((bytes / 3))
                relay[$name]=$plain_command
                rm -f "$capture"
            done
        done
    done
}

rm -f "$out"/*.log
: > "$out/runs.jsonl"
for round in $(seq "$runs"); do
    for row in $rows; do
        [[ $row =~ $only ]] || continue
        echo "round $round of $runs: $row" >&2
        case $row in
            *-[0-9]*) "row_${row%-*}" "${row##*-}" ;;
            *) "row_$row" ;;
        esac
    done
done

{
    echo "Machine: $machine. Command: \`scripts/bench.sh${short:+ --short}\`, medians of $runs runs."
    [ -z "$short" ] || echo "**Short: this proves that it runs, its figures mean nothing.**"
    echo "Peers: $(haproxy -v 2> /dev/null | sed -n '1s/^\(HAProxy [^ ]* [^ -]*\).*/\1/p')," \
        "$(socat -V 2> /dev/null | sed -n 's/^\(socat\) version \([^ ]*\).*/\1 \2/p')," \
        "$(sslsplit -V 2>&1 | sed -n '1s/^\(SSLsplit [^ ]*\).*/\1/p')."
    echo
    awk -v held="$held" -f scripts/bench.awk scripts/bench.goals "$out/runs.jsonl"
} | tee "$out/bench.md"
if grep -q '"relay":"ours[^"]*","failed":1' "$out/runs.jsonl"; then
    die "a row of our own failed (see $out/load.log)"
fi
