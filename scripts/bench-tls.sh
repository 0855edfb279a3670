# shellcheck shell=bash
# The rows of TLS: curl, a relay, nginx, all on 127.0.0.1. Sourced by bench.sh.

# What runs now, and ends with the script.
tls_nginx='' tls_running=''
# nginx takes relative paths for its own.
tls=$(realpath -m "$out/tls")
tls_ports=$((20000 + $$ % 20000))

# Ports are free again when nginx and the relay of a run have ended; each run has two of its own.
tls_next() { tls_ports=$((tls_ports + 2)); tls_server=$tls_ports tls_relay=$((tls_ports + 1)); }

# tls_begin BYTES: certificates, a file to fetch, and nginx.
tls_begin() {
    mkdir -p "$tls/www" "$tls/tmp"
    [ -s "$tls/cert.pem" ] || openssl req -x509 -nodes -subj /CN=localhost -newkey ec -days 30 \
        -pkeyopt ec_paramgen_curve:P-256 -addext subjectAltName=DNS:localhost \
        -keyout "$tls/key.pem" -out "$tls/cert.pem" 2>> "$out/load.log"
    truncate -s "$1" "$tls/www/large"
    echo small > "$tls/www/small"
    tls_next
    cat > "$tls/nginx.conf" << EOC
daemon off; pid $tls/nginx.pid; error_log $tls/nginx.log; worker_processes 1;
events { worker_connections 4096; }
http {
    access_log off; client_body_temp_path $tls/tmp; proxy_temp_path $tls/tmp;
    fastcgi_temp_path $tls/tmp; uwsgi_temp_path $tls/tmp; scgi_temp_path $tls/tmp;
    server {
        listen 127.0.0.1:$tls_server ssl backlog=4096; root $tls/www;
        ssl_certificate $tls/cert.pem; ssl_certificate_key $tls/key.pem;
        ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    }
}
EOC
    nginx -e stderr -c "$tls/nginx.conf" 2>> "$out/load.log" &
    tls_nginx=$!
    tls_wait "$tls_server"
}

tls_end() { kill "$tls_nginx" 2> /dev/null; wait "$tls_nginx" 2> /dev/null; }

# tls_wait PORT: until somebody listens there.
tls_wait() {
    local tries
    for tries in $(seq 200); do
        (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null && return
        sleep 0.05
    done
    echo "nobody listens on port $1" >&2
}

# tls_cpu PID: seconds of CPU that a process and its children have used.
tls_cpu() {
    local pid sum=0
    for pid in "$1" $(pgrep -P "$1"); do
        sum=$((sum + $(awk '{ print $14 + $15 }' "/proc/$pid/stat" 2> /dev/null || echo 0)))
    done
    awk "BEGIN { print $sum / $(getconf CLK_TCK) }"
}

tls_curl() {
    curl -sS --insecure --http1.1 --noproxy '*' -o /dev/null "$@" 2>> "$out/load.log"
}

# tls_fetch ROW NAME BYTES COMMAND...: fetches the large file through a relay.
tls_fetch() {
    local row=$1 name=$2 bytes=$3 relay began ended before after
    shift 3
    "$@" > /dev/null 2>> "$out/relays.log" &
    relay=$! tls_running=$!
    tls_wait "$tls_relay"
    SSLKEYLOGFILE=$tls/keys.log tls_curl "https://localhost:$tls_relay/small"
    before=$(tls_cpu $relay) began=$(date +%s%N)
    if SSLKEYLOGFILE=$tls/keys.log tls_curl --range "0-$((bytes - 1))" \
        "https://localhost:$tls_relay/large"; then
        ended=$(date +%s%N) after=$(tls_cpu $relay)
        kill $relay 2> /dev/null; wait $relay 2> /dev/null
        record "$row" "$name" gb_per_s "$(awk "BEGIN { print $bytes / ($ended - $began) }")" \
            cpu_s_per_gb "$(awk "BEGIN { print ($after - $before) / ($bytes / 1e9) }")"
    else
        kill $relay 2> /dev/null; wait $relay 2> /dev/null
        record "$row" "$name" failed 1
    fi
    rm -rf "$tls/keys.log" "$tls/out.pcapng" "$tls/out.pcap"
    tls_relay=$((tls_relay + 1)) tls_ports=$((tls_ports + 1))
}

# tls_shake ROW NAME SECONDS COMMAND...: full handshakes one after another, four clients at once.
tls_shake() {
    local row=$1 name=$2 seconds=$3 relay began ended before after count=0 each
    shift 3
    "$@" > /dev/null 2>> "$out/relays.log" &
    relay=$! tls_running=$!
    tls_wait "$tls_relay"
    tls_curl "https://localhost:$tls_relay/small"
    before=$(tls_cpu $relay) began=$(date +%s%N)
    for each in 1 2 3 4; do
        openssl s_time -connect "127.0.0.1:$tls_relay" -new -tls1_3 -time "$seconds" \
            > "$tls/shake.$each" 2>> "$out/load.log" &
        tls_shakers[each]=$!
    done
    wait "${tls_shakers[@]}"
    ended=$(date +%s%N) after=$(tls_cpu $relay)
    for each in 1 2 3 4; do
        each=$(sed -n 's/^\([0-9]*\) connections in .* real.*/\1/p' "$tls/shake.$each" | tail -1)
        count=$((count + ${each:-0}))
    done
    kill $relay 2> /dev/null; wait $relay 2> /dev/null
    if [ "$count" -gt 0 ]; then
        record "$row" "$name" handshakes_per_s "$(awk "BEGIN { print $count * 1e9 / ($ended - $began) }")" \
            cpu_ms_per_handshake "$(awk "BEGIN { print ($after - $before) * 1000 / $count }")"
    else
        record "$row" "$name" failed 1
    fi
    tls_relay=$((tls_relay + 1)) tls_ports=$((tls_ports + 1))
}

# The relays. Each takes the place of the shell that it is started in.
tls_ours() {
    # shellcheck disable=SC2086
    exec $tunnel --from "127.0.0.1:$tls_relay" --to "localhost:$tls_server" "$@"
}
tls_quiet() { tls_ours --quiet "$@"; }
tls_intercept() {
    tls_ours --tls intercept --tls-ca "$tls/ca" --tls-trust "$tls/cert.pem" --quiet "$@"
}
tls_decrypt() {
    tls_ours --tls decrypt --tls-keylog "$tls/keys.log" --output /dev/null "$@"
}
tls_sslsplit() {
    exec sslsplit -k "$tls/key.pem" -c "$tls/cert.pem" "$@" \
        ssl 127.0.0.1 "$tls_relay" 127.0.0.1 "$tls_server"
}

row_tls() {
    command -v nginx > /dev/null && command -v curl > /dev/null || return
    local to=$tls/out.pcapng has_peer
    has_peer=$(command -v sslsplit)
    tls_begin "$tls_bytes"
    tls_fetch tls ours-pcap "$tls_bytes" tls_quiet --pcap "$to"
    tls_fetch tls ours-decrypt "$tls_bytes" tls_decrypt --console raw
    tls_fetch tls ours-decrypt-pcap "$tls_bytes" tls_decrypt --console raw --pcap "$to"
    tls_fetch tls ours-intercept "$tls_bytes" tls_intercept
    tls_fetch tls ours-intercept-pcap "$tls_bytes" tls_intercept --pcap "$to"
    [ -z "$has_peer" ] || tls_fetch tls sslsplit "$tls_bytes" tls_sslsplit
    [ -z "$has_peer" ] || tls_fetch tls sslsplit-pcap "$tls_slow_bytes" tls_sslsplit -X "$tls/out.pcap"
    tls_shake tls ours-intercept "$tls_seconds" tls_intercept
    [ -z "$has_peer" ] || tls_shake tls sslsplit "$tls_seconds" tls_sslsplit
    tls_end
}
