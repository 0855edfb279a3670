#!/usr/bin/env bash
# Makes scripts/screenshot.svg, the picture in the README: a real run in a real terminal.
#
#   scripts/screenshot.sh
#
# Needs tmux, curl, python3-venv and the network, for rich, which draws the terminal.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --quiet
program=$PWD/target/release
picture=$PWD/scripts/screenshot.svg
scratch=$(mktemp -d)
trap 'tmux -S "$scratch/tmux" kill-server 2>/dev/null || true; rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet rich==14.2.0
cd "$scratch"
mkdir www
echo '<h1>hello</h1>' >www/index.html

terminal() {
    tmux -u -S "$scratch/tmux" -f /dev/null "$@"
}

# until_shown WORDS: waits until they stand on the terminal.
until_shown() {
    local tries=300
    until terminal capture-pane -p | grep -qF -- "$1"; do
        ((tries-- > 0)) || { echo "screenshot.sh: no '$1'" >&2 && exit 1; }
        sleep 0.1
    done
}

# A network of its own: its ports are free, and what is said there is not seen elsewhere.
cat >shell <<END
ip link set lo up
python3 -m http.server --bind 127.0.0.1 --directory www 8000 >server.log 2>&1 &
trap "kill \$! 2>/dev/null" EXIT
until curl -s -o /dev/null http://127.0.0.1:8000/; do sleep 0.1; done
(until [[ -e go ]]; do sleep 0.1; done; curl -s http://127.0.0.1:8080/ >/dev/null) &
PATH=$program:\$PATH PS1='\$ ' bash --norc --noprofile -i
END
how=-rn
((EUID != 0)) || how=-n
terminal new-session -d -x 112 -y 36 unshare "$how" bash shell
until_shown '$'
terminal send-keys 'tcp_tunn --from 127.0.0.1:8080 --to 127.0.0.1:8000 --time relative' Enter
until_shown 'listening on'
: >go
until_shown 'Close: finished'
terminal send-keys C-c
until_shown 'packets, 0 bytes dropped'
terminal capture-pane -e -p | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >shown

"$scratch/venv/bin/python" - "$picture" <<'END'
import sys
from rich.console import Console
from rich.text import Text

shown = open("shown").read().rstrip().removesuffix("$").rstrip()
console = Console(record=True, width=112, file=open("/dev/null", "w"), force_terminal=True)
console.print(Text.from_ansi(shown), soft_wrap=True)
svg = console.export_svg(title="tcp_tunn", unique_id="tcp_tunn")
# Some that draw it would drop the spaces at which rows align.
open(sys.argv[1], "w").write(svg.replace("<svg ", "<svg xml:space=\"preserve\" ", 1))
END
echo "$picture"
