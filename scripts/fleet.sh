#!/bin/bash
# Measures the fleet on one machine: a NATS server, publishers with real traffic, and two collectors.
#
#   scripts/fleet.sh [--hosts N] [--bytes N] [--dev] [--no-build]
#
#   --hosts N  publishers, 3 by default
#   --bytes N  of each publisher, 500000000 by default
#   --dev      the programs that the tests have built
#
# Prints what is published and collected a second, the CPU of each part, memory, and the delay from a
# byte to the collector; then kills the server, the collectors and a publisher in turn, and counts
# what is lost or doubled in the tables. Exits 1 when that is anything but what the killed publisher
# had not sent.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/lib.sh

hosts=3 bytes=500000000 build=build kind=release tunnel=
while [ $# -gt 0 ]; do
    case $1 in
        --hosts) hosts=$2; shift ;;
        --bytes) bytes=$2; shift ;;
        --dev) kind=dev ;;
        --no-build) build=: ;;
        *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
profile "$kind"
mkdir -p "$out"
need nats-server nats-server || die "nats-server is missing"
python=${TCP_TUNN_PYTHON:-python3}
"$python" -c 'import duckdb' 2> /dev/null || die "duckdb is missing (try: pip install duckdb)"
# The load generator first: its build has the tunnel without the fleet.
$build && { [ "$build" = : ] || cargo build ${build_options} --quiet --features fleet; } ||
    die "the build failed"

folder=$(mktemp -d)
pids=()
trap 'kill -9 "${pids[@]}" 2> /dev/null; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

# wait_for COMMAND...: until it succeeds; false after a minute.
wait_for() {
    local _
    for _ in $(seq 1200); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.05
    done
    return 1
}

# start NAME COMMAND...: in the background; its process number is in $pid, what it says in a file.
start() {
    local name=$1
    shift
    "$@" > "$folder/$name.out" 2> "$folder/$name.err" &
    pid=$!
    pids+=("$pid")
}

port=4522
start_server() {
    start server nats-server --jetstream --addr 127.0.0.1 --port "$port" --store_dir "$folder/nats"
    server=$pid
    wait_for bash -c "exec 3<> /dev/tcp/127.0.0.1/$port" || die "nats-server does not listen"
}
url=nats://127.0.0.1:$port

start_tables() {
    start tables "$tunnel" collect --from "$url" --follow --since 1h --parquet "$folder/tables"
    tables=$pid
}

# cpu PID: seconds of user and system time.
cpu() {
    awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/$1/stat"
}

# memory PID: megabytes, at most.
memory() {
    awk '/^VmHWM/ { printf "%.0f", $2 / 1000 }' "/proc/$1/status"
}

# publish N MORE...: a tunnel with a load of its own, in the background.
publish() {
    local command="$tunnel --quiet --from {from} --to {to} --publish $url --site lab"
    start "load$1" "$load" --relay "$command ${*:2}" --log "$folder/tunnel$1.log" \
        bulk --connections 4 --bytes "$bytes"
}

# ask SQL: the answer of one value, from the tables.
ask() {
    "$python" - "$folder/tables" "$1" << 'END'
import sys, duckdb
connection = duckdb.connect()
for table in ("chunks", "connections"):
    connection.execute(f"CREATE VIEW {table} AS SELECT * FROM '{sys.argv[1]}/{table}/*/*/*.parquet'")
print(connection.execute(sys.argv[2]).fetchone()[0])
END
}

# The bytes of the wire that the tables have, and those of them that they have twice.
sum="SELECT coalesce(sum(len), 0)::BIGINT FROM chunks WHERE view = 'wire'"
doubled="SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (SELECT count(*) AS n FROM chunks
    GROUP BY site, host, run, worker, conn, side, view, \"offset\")"
missing="SELECT coalesce(sum(\"offset\" - before), 0)::BIGINT FROM (SELECT *,
    coalesce(lag(\"offset\" + len) OVER (PARTITION BY site, host, run, worker, conn, side, view
    ORDER BY \"offset\"), 0) AS before FROM chunks) WHERE \"offset\" > before"

echo "fleet: $(machine)"
start_server
start capture "$tunnel" collect --from "$url" --follow --since 1h --pcap "$folder/all.pcapng"
capture=$pid
start_tables

loads=()
began=$(date +%s%N)
for number in $(seq "$hosts"); do
    publish "$number"
    loads+=("$pid")
done
for pid in "${loads[@]}"; do
    wait "$pid" || die "a load failed: $(tail -1 "$folder"/load*.err)"
done
published=$(date +%s%N)
total=$((hosts * bytes))
written() { [ "$(stat -c %s "$folder/all.pcapng")" -ge "$total" ]; }
wait_for written || die "the collector has only $(stat -c %s "$folder/all.pcapng") bytes"
collected=$(date +%s%N)
awk -v bytes="$total" -v published=$((published - began)) -v collected=$((collected - began)) \
    -v server="$(cpu "$server")" -v capture="$(cpu "$capture")" -v tables="$(cpu "$tables")" 'BEGIN {
    printf "published  %.0f MB/s\ncollected  %.0f MB/s\n", bytes / published * 1e3, bytes / collected * 1e3
    printf "CPU s/GB   server %.2f, capture %.2f, tables %.2f\n", server / bytes * 1e9,
        capture / bytes * 1e9, tables / bytes * 1e9 }'
for number in $(seq "$hosts"); do
    echo "publisher $number: $(cat "$folder/load$number.out")"
done
echo "memory MB  server $(memory "$server"), capture $(memory "$capture"), tables $(memory "$tables")"
kill -INT "$capture"
wait "$capture" || die "the collector failed: $(tail -1 "$folder/capture.err")"
echo "capture    $(tail -1 "$folder/capture.err")"

# The delay of a byte: a message a tenth of a second, each with the time at which it was sent.
start delay "$tunnel" --quiet --from 127.0.0.1:0 --to 127.0.0.1:"$port" --publish "$url" --site delay
delay=$pid
wait_for grep -q '^listening on' "$folder/delay.err" || die "the tunnel does not listen"
at=$(sed -n 's/^listening on \([^ ]*\) .*/\1/p' "$folder/delay.err")
mkfifo "$folder/live"
start follow "$tunnel" collect --from "$url" --follow --site delay --pcap "$folder/live"
follow=$pid
"$python" - "$at" "$folder/live" << 'END'
import socket, sys, threading, time
host, port = sys.argv[1].rsplit(":", 1)
seen, sent = {}, {}
def read():
    data = b""
    with open(sys.argv[2], "rb", buffering=0) as live:
        while len(seen) < 60:
            data = (data + live.read(65536))[-200000:]
            now = time.time()
            for number in sent.copy():
                if number not in seen and b"PING %06d" % number in data:
                    seen[number] = now
reader = threading.Thread(target=read, daemon=True)
reader.start()
time.sleep(1)
client = socket.create_connection((host, int(port)))
end = time.time() + 40
while len(seen) < 60 and time.time() < end:
    number = len(sent)
    sent[number] = time.time()
    client.sendall(b"PING %06d\r\n" % number)
    time.sleep(0.1)
delays = sorted(seen[number] - sent[number] for number in seen)
at = lambda share: delays[int(share * (len(delays) - 1))] * 1000 if delays else -1
print(f"delay ms   p50 {at(0.5):.0f}, p99 {at(0.99):.0f} ({len(delays)} messages)")
END
# The collector may have ended with its reader.
kill -INT "$follow" "$delay" 2> /dev/null
wait "$follow" "$delay"

# What each kill costs. The tables are to have every byte once.
kill -9 "$tables"
wait "$tables" 2> /dev/null
start_tables
# By way of the disk: it ends while the server is away.
publish server --publish-spill "$folder/spill0"
load_pid=$pid
sleep 0.3
kill -9 "$server"
wait "$server" 2> /dev/null
sleep 1
start_server
wait "$load_pid" || die "the load failed while the server was away"
kill -9 "$tables"
wait "$tables" 2> /dev/null
start_tables
# Enough that it is still at work when it is killed.
bytes=$((bytes * 4)) publish spilled --publish-spill "$folder/spill"
load_pid=$pid
killed() { pgrep -P "$load_pid" -f "publish-spill" > "$folder/victim"; }
wait_for killed || die "no publisher to kill"
wait_for bash -c "ls '$folder'/spill/*.ttb"
kill -9 "$(head -1 "$folder/victim")"
wait "$load_pid" 2> /dev/null
left=$(find "$folder/spill" -name '*.ttb' | wc -l)
# The next run sends what is left.
start again "$tunnel" --quiet --from 127.0.0.1:0 --to 127.0.0.1:1 --publish "$url" --site lab \
    --publish-spill "$folder/spill"
again=$pid
sent() { [ -z "$(find "$folder/spill" -name '*.ttb')" ]; }
wait_for sent || die "spilled batches stay"
kill -TERM "$again"
wait "$again"
kill -INT "$tables"
wait "$tables" || die "the tables failed: $(tail -1 "$folder/tables.err")"
# What was not read yet.
"$tunnel" collect --from "$url" --parquet "$folder/tables" 2> "$folder/rest.err" ||
    die "the tables failed: $(tail -1 "$folder/rest.err")"
has=$(ask "$sum") twice=$(ask "$doubled") gone=$(ask "$missing")
whole=$(((hosts + 1) * bytes))
echo "killed     server, tables (2 times), a publisher with $left batches on disk"
echo "tables     $has bytes ($whole of publishers that were not killed), $twice rows doubled, $gone bytes missing"
[ "$twice" = 0 ] && [ "$gone" = 0 ] && [ "$has" -ge "$whole" ]
