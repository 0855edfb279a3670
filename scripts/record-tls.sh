#!/usr/bin/env bash
# Records the TLS sessions that the tests decrypt, with openssl on both ends.
#
#   scripts/record-tls.sh
#
# Writes fixtures/tls/NAME.chunks (who sent what, chunk by chunk, in base64) and NAME.keys (the key
# log). The certificates and keys are made for it and thrown away.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly OUT=$PWD/fixtures/tls
cargo build --quiet
tunnel=$(cargo metadata --format-version 1 --no-deps |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/tcp_tunn
scratch=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$scratch"' EXIT
cd "$scratch"

make_certificate() {
    openssl req -x509 -nodes -days 1 -subj /CN=tls.test -keyout "$1.key" -out "$1.pem" \
        -newkey "${@:2}" 2>/dev/null
}
make_certificate rsa rsa:2048
make_certificate ec ec -pkeyopt ec_paramgen_curve:P-256

# Waits until a file holds a line that matches, and prints it.
line_of() {
    local file=$1 pattern=$2
    until grep -m 1 "$pattern" "$file" 2>/dev/null; do sleep 0.05; done
}

# Starts an openssl server that answers each line with its mirror image.
serve() {
    openssl s_server -accept 127.0.0.1:0 -cert rsa.pem -key rsa.key -dcert ec.pem -dkey ec.key \
        "$@" >server.log 2>&1 </dev/null &
    pids+=($!)
    server=$(line_of server.log ^ACCEPT | sed 's/.*://')
}

# Starts a tunnel to the server that records what passes.
record() {
    "$tunnel" --from 127.0.0.1:0 --to "127.0.0.1:$server" --console json --output events.json \
        --stop-after connections:"${1:-1}" 2>tunnel.log &
    pids+=($!)
    recorder=$!
    port=$(line_of tunnel.log ^listening | sed 's/.*127.0.0.1:\([0-9]*\) ->.*/\1/')
}

# Keeps what one connection sent as a fixture.
keep() {
    local name=$1 connection=${2:-1}
    wait "$recorder"
    jq -r "select(.event == \"data\" and .conn == $connection) | \"\(.from) \(.data)\"" \
        events.json >"$OUT/$name.chunks"
    sort -u keys.log | grep -v '^#' >"$OUT/$name.keys"
    rm -f keys.log events.json tunnel.log
}

# Whether lines of one letter are commands of the client.
commands=

# A client that sends the lines of its stdin, each when the answer to the one before has come.
talk() {
    local quiet=-quiet
    if [[ -n $commands ]]; then quiet=; fi
    # shellcheck disable=SC2086
    openssl s_client -connect "127.0.0.1:$port" -servername tls.test -keylogfile keys.log \
        $quiet -no_ign_eof "$@" >client.log 2>&1
}

# Says two lines, and waits for the mirror image of each.
dialogue() {
    echo "a first line"
    line_of client.log "enil tsrif a" >/dev/null
    for command in ${1:-}; do
        echo "$command"
        # Nothing tells that it was done.
        sleep 0.3
    done
    echo "and a second line"
    line_of client.log "enil dnoces a dna" >/dev/null
}

session() {
    local name=$1 server_options=$2 client_options=$3 commands=${4:-}
    echo "$name"
    : >client.log
    # shellcheck disable=SC2086
    serve -rev $server_options
    record
    # shellcheck disable=SC2086
    dialogue "$commands" | talk $client_options
    keep "$name"
    kill "${pids[0]}" && pids=()
}

session tls13-aes-128 "" "-ciphersuites TLS_AES_128_GCM_SHA256 -alpn one,two"
session tls13-aes-256 "-alpn two" "-ciphersuites TLS_AES_256_GCM_SHA384 -alpn one,two"
session tls13-chacha "" "-ciphersuites TLS_CHACHA20_POLY1305_SHA256"
session tls13-retry "-groups P-256" "-groups X25519:P-256"
session tls12-aes-128 "-tls1_2" "-cipher ECDHE-ECDSA-AES128-GCM-SHA256"
session tls12-aes-256 "-tls1_2 -alpn two" "-cipher ECDHE-RSA-AES256-GCM-SHA384 -alpn one,two"
session tls12-chacha "-tls1_2" "-cipher ECDHE-RSA-CHACHA20-POLY1305"
session tls12-rsa "-tls1_2" "-cipher AES128-GCM-SHA256"
session tls12-cbc "-tls1_2" "-cipher ECDHE-RSA-AES128-SHA256"
session tls13-client-cert "-verify 1" "-cert ec.pem -key ec.key"

# Two connections to one server, of which the second takes up the session of the first.
resumed() {
    local name=$1 server_options=$2 client_options=$3
    echo "$name"
    # shellcheck disable=SC2086
    serve -rev $server_options
    record 2
    for session in "-sess_out session" "-sess_in session"; do
        : >client.log
        # shellcheck disable=SC2086
        dialogue | talk $session $client_options
    done
    keep "$name" 2
    kill "${pids[0]}" && pids=()
}

# Starts a server that sends what is written to descriptor 3, on a port.
serve_words() {
    rm -f words && mkfifo words
    openssl s_server -accept "127.0.0.1:$1" -cert rsa.pem -key rsa.key -early_data \
        >server.log 2>&1 <words &
    pids+=($!)
    exec 3>words
    server=$(line_of server.log ^ACCEPT | sed 's/.*://')
}

# Says a line, and waits for an answer to it.
exchange() {
    echo "said by the client"
    line_of server.log "said by the client" >/dev/null
    echo "an answer" >&3
    line_of client.log "an answer" >/dev/null
}

# The second connection sends a file ahead of the server's answer. Another server, which does not
# know the session, rejects it.
early() {
    local name=$1 is_other_server=${2:-}
    echo "$name"
    echo "sent ahead of the answer" >ahead
    serve_words 0
    record 2
    : >client.log
    exchange | talk -sess_out session
    if [[ -n $is_other_server ]]; then
        kill "${pids[0]}"
        exec 3>&-
        serve_words "$server"
    else
        : >server.log
    fi
    : >client.log
    exchange | talk -sess_in session -early_data ahead
    keep "$name" 2
    kill "${pids[@]}" 2>/dev/null || true
    pids=()
    exec 3>&-
}

resumed tls13-resumed "" ""
resumed tls12-resumed "-tls1_2" ""
early tls13-early
early tls13-early-rejected other
commands=yes
session tls13-key-update "" "" "K k"
session tls12-renegotiated "-tls1_2 -client_renegotiation" "" R
