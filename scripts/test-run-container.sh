#!/usr/bin/env bash
# Catches a program's connects inside locked-down containers: podman with runc and no capability,
# by the default seccomp profile and by one that refuses pidfd_getfd, as Docker's does.
#
#   scripts/test-run-container.sh [COMMAND]
#
# COMMAND is the tunnel's file (target/debug/tcp_tunn). The containers see the host's /usr, so that
# no image is built. Needs root, podman, runc, jq and python3.
set -euo pipefail
cd "$(dirname "$0")/.."

tunnel=$(realpath "${1:-target/debug/tcp_tunn}")
scratch=$(mktemp -d)
run() {
    podman --root "$scratch/storage" --runroot "$scratch/state" --storage-driver vfs \
        --runtime runc --cgroup-manager cgroupfs "$@"
}
trap 'run system reset --force >/dev/null 2>&1 || true; rm -rf "$scratch"' EXIT

# A root folder with the host's links, such as /bin, and places for the rest.
root=$scratch/rootfs
mkdir -p "$root"/{usr,etc,proc,dev,sys,tmp,run,test}
for link in /bin /lib /lib64; do
    [[ ! -L $link ]] || cp -a "$link" "$root"
done
mkdir "$scratch/test"
cp "$tunnel" "$scratch/test/tcp_tunn"
cp tests/run/crowd.py "$scratch/test"
jq 'del(.syscalls[].names[] | select(. == "pidfd_getfd"))' /usr/share/containers/seccomp.json \
    >"$scratch/refusing.json"

for profile in /usr/share/containers/seccomp.json "$scratch/refusing.json"; do
    run run --rm --network host --cap-drop ALL --security-opt no-new-privileges \
        --security-opt "seccomp=$profile" --read-only --ulimit nofile=20000:20000 \
        --ulimit nproc=4096:4096 --volume /usr:/usr:ro --volume /etc:/etc:ro \
        --volume "$scratch/test:/test:ro" --rootfs "$root" \
        /test/tcp_tunn run -q -- python3 /test/crowd.py >"$scratch/out" 2>"$scratch/err" ||
        { cat "$scratch/out" "$scratch/err" && exit 1; }
    # What the program prints without the tunnel.
    diff <(python3 tests/run/crowd.py) "$scratch/out" || { cat "$scratch/err" && exit 1; }
done
echo "    programs are caught in locked-down containers"
