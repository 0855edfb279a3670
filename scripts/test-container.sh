#!/usr/bin/env bash
# Builds the image and runs it as a sidecar: podman's default seccomp profile, which forbids
# io_uring, user 65534, a read-only root, no capability, beside a server that it captures.
#
#   scripts/test-container.sh [dev]
#
# With dev it takes a file that is built quickly. Needs podman, runc, socat and tshark.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
die() {
    echo "test-container.sh: $*" >&2
    exit 1
}
for command in podman runc socat tshark jq; do
    command -v "$command" >/dev/null || die "$command is missing (try: sudo apt-get install $command)"
done
# Storage of its own, so that nothing of the user's is touched; runc, since crun does not start on
# hosts with both versions of control groups.
scratch=$(mktemp -d)
run() {
    podman --root "$scratch/root" --runroot "$scratch/run" --storage-driver vfs --runtime runc \
        --cgroup-manager cgroupfs "$@"
}
server=
clean_up() {
    run rm --force --all --time 0 >/dev/null 2>&1 || true
    [[ -z $server ]] || kill "$server" 2>/dev/null || true
    run system reset --force >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap clean_up EXIT

file=$(scripts/package-static.sh "$(uname -m)" "$profile")
run build --quiet --build-arg "FILE=$file" --tag tcp_tunn . >"$scratch/build" 2>&1 ||
    die "the image is not built: $(cat "$scratch/build")"

# The server, on a port that the kernel chooses.
socat -d -d TCP-LISTEN:0,bind=127.0.0.1,reuseaddr,fork EXEC:cat 2>"$scratch/socat" &
server=$!
until port=$(sed -n 's/.*listening on AF=2 127.0.0.1:\([0-9]*\)/\1/p' "$scratch/socat") && [[ $port ]]; do
    kill -0 "$server" || die "socat does not listen: $(cat "$scratch/socat")"
    sleep 0.05
done
mkdir -m 777 "$scratch/out"
run run --detach --name sidecar --network host --read-only --cap-drop ALL \
    --security-opt no-new-privileges --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
    --volume "$scratch/out:/out" tcp_tunn --from 127.0.0.1:0 --to "127.0.0.1:$port" \
    --pcap /out/out.pcapng --console json --stop-after connections:1 >"$scratch/id" 2>"$scratch/run.log" ||
    die "the container does not start: $(cat "$scratch/run.log")"
tries=0
until from=$(run logs sidecar 2>&1 | sed -n 's/^listening on \([0-9.:]*\) .*/\1/p') && [[ $from ]]; do
    ((tries++ < 200)) || die "it does not listen: $(run logs sidecar 2>&1)"
    sleep 0.05
done
heard=$(echo hello | socat -t 10 - "TCP:$from")
status=$(run wait sidecar)
log=$(run logs sidecar 2>&1)
[[ $heard == hello ]] || die "'hello' came back as '$heard': $log"
[[ $status == 0 ]] || die "it ended with $status: $log"
grep -q 'io epoll' <<<"$log" || die "the summary does not name epoll: $log"
packets=$(tshark -r "$scratch/out/out.pcapng" 2>/dev/null | wc -l)
((packets > 6)) || die "the capture has $packets packets"
data=$(tshark -r "$scratch/out/out.pcapng" -q -z follow,tcp,raw,0 2>/dev/null | grep -c '^68656c6c6f0a\|^	68656c6c6f0a')
[[ $data == 2 ]] || die "the capture does not show 'hello' both ways"
echo "    the image relays and captures in a locked-down container"
