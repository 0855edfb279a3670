#!/usr/bin/env bash
# Makes the Debian package, installs it into an empty root of its own, and runs what is in it.
#
#   scripts/test-deb.sh [dev]
#
# Nothing of the system is changed. Without dpkg, or where cargo-deb is missing and cannot be
# installed, it says that it skips.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    echo "test-deb.sh: $*" >&2
    exit 1
}

if ! command -v dpkg dpkg-deb socat >/dev/null; then
    echo "    skipped: dpkg or socat is missing"
    exit
fi
made=0
package=$(scripts/package-deb.sh "$@") || made=$?
if ((made == 3)); then
    echo "    skipped: there is no cargo-deb"
    exit
fi
((made == 0)) || die "the package was not made"
package=$(tail -1 <<<"$package")

root=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$root"' EXIT
if ((EUID == 0)); then
    mkdir -p "$root"/var/lib/dpkg/{info,updates}
    touch "$root"/var/lib/dpkg/{status,available}
    # Its libc is the system's.
    dpkg --root="$root" --force-depends --install "$package" >"$root/log" 2>&1 ||
        die "dpkg does not install it: $(cat "$root/log")"
else
    dpkg-deb --extract "$package" "$root"
fi

# What is in it.
has() {
    [[ -s $root/$1 ]] || die "/$1 is missing"
}
has usr/share/man/man1/tcp_tunn.1.gz
for file in copyright LICENSE-MIT LICENSE-APACHE examples/tcp_tunn.service; do
    compgen -G "$root/usr/share/doc/tcp-tunn/$file*" >/dev/null || die "$file is missing"
done
zcat "$root/usr/share/man/man1/tcp_tunn.1.gz" >"$root/man"
grep -q '^\.SH EXAMPLES' "$root/man" || die "that is no manual page"
has usr/share/zsh/vendor-completions/_tcp_tunn
has usr/share/fish/vendor_completions.d/tcp_tunn.fish
bash -c 'source "$1" && complete -p tcp_tunn' - \
    "$root/usr/share/bash-completion/completions/tcp_tunn" >/dev/null || die "no completions"
depends=$(dpkg-deb --field "$package" Depends)
[[ $depends == *libc6* ]] || die "it depends on '$depends'"

# What it does: an echo through the installed command, between unix sockets.
appears() {
    local tries=600
    until [[ -S $1 ]]; do
        ((tries-- > 0)) || die "$1 does not appear: $(cat "$root/err")"
        sleep 0.1
    done
}
cd "$root"
socat UNIX-LISTEN:server EXEC:cat &
appears server
usr/bin/tcp_tunn --from unix:client --to unix:server --stop-after connections:1 \
    --pcap out.pcapng >shown 2>err &
tunnel=$!
appears client
heard=$(echo hello | socat -t 60 - UNIX-CONNECT:client)
wait "$tunnel" || die "the command failed: $(cat err)"
[[ $heard == hello ]] || die "'hello' came back as '$heard'"
grep -q '|hello.|' shown || die "the console showed $(cat shown)"
[[ -s out.pcapng ]] || die "there is no capture"
cd - >/dev/null

# The unit, where systemd is there to judge it. The command's place is the scratch one.
if command -v systemd-analyze >/dev/null; then
    sed "s|=/usr/bin/tcp_tunn|=$root/usr/bin/tcp_tunn|; /^Documentation/d" scripts/tcp_tunn.service \
        >"$root/tcp_tunn.service"
    systemd-analyze verify "$root/tcp_tunn.service" 2>"$root/verdict" ||
        die "the unit is wrong: $(cat "$root/verdict")"
    [[ ! -s $root/verdict ]] || die "the unit: $(cat "$root/verdict")"
fi
echo "    $package is good"
