#!/usr/bin/env bash
# Runs the tests as on machines of many kinds: another host name, time zone, locale, kernel release
# and user, and without a home. Nothing that a test compares may depend on them.
#
#   scripts/any-machine.sh [FILTER]
#
# FILTER is one of nextest's, by default all tests. Needs cargo-nextest, a C compiler and root.
set -euo pipefail
cd "$(dirname "$0")/.."

filter=${1:-all()}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"

# Says that the kernel is another one, to whoever asks the C library.
cat >"$scratch/uname.c" <<'C'
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
int uname(struct utsname *name) {
    long result = syscall(SYS_uname, name);
    strcpy(name->release, "5.15.0");
    return result;
}
C
cc -shared -fPIC -o "$scratch/uname.so" "$scratch/uname.c"

cargo nextest run --no-run --cargo-quiet

# Runs the tests under a headline, by another program and its arguments.
as() {
    local headline=$1
    shift
    echo "==> $headline"
    "$@" cargo nextest run --no-fail-fast --status-level fail --cargo-quiet -E "$filter"
}

as "another host name" unshare --uts sh -c 'hostname elsewhere && exec "$@"' sh
as "TZ=Pacific/Auckland" env TZ=Pacific/Auckland
as "LC_ALL=C" env LC_ALL=C
as "LC_ALL=de_DE.UTF-8" env LC_ALL=de_DE.UTF-8
as "without HOME" env -u HOME "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" \
    "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}"
as "Linux 5.15.0" env "LD_PRELOAD=$scratch/uname.so"
# A user without rights who owns this checkout: root's files are that user's in the namespace. The
# tests that need root say so.
as "uid 65534" unshare --user --map-user=65534 --map-group=65534 \
    env "TCP_TUNN_SKIPPED=$scratch/skipped"
sed 's/^/    skipped: /' "$scratch/skipped" 2>/dev/null || true
echo "==> all good"
