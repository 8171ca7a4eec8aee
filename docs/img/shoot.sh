#!/bin/sh
# Takes the picture of the README: docs/img/report.png from a run folder's report.html, in headless Chromium.
#   docs/img/shoot.sh [RUN] [HEIGHT]     RUN: a run folder (default reports/out/latest); HEIGHT in pixels (default 1425)
# CHROMIUM names the browser where it is not found by itself.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
run=${1:-$here/../../reports/out/latest}
height=${2:-1425}
page=$run/report.html
[ -f "$page" ] || { echo "shoot.sh: $page: no such report; give a run folder" >&2; exit 2; }
page=$(cd "$(dirname "$page")" && pwd -P)/report.html

browser=${CHROMIUM:-}
for b in chromium chromium-browser google-chrome google-chrome-stable chrome "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
  [ -n "$browser" ] && break
  browser=$(command -v "$b" 2>/dev/null) || browser=
done
[ -n "$browser" ] || { echo "shoot.sh: no Chromium found; install one, or set CHROMIUM" >&2; exit 4; }

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 130' INT TERM
# --no-sandbox: the sandbox needs rights that containers do not give, and the only page is our own file.
"$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
  --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$home/profile" --window-size="1400,$height" \
  --screenshot="$home/report.png" "file://$page" >"$home/log" 2>&1 || { cat "$home/log" >&2; exit 4; }
[ -s "$home/report.png" ] || { echo "shoot.sh: the browser made no picture:" >&2; cat "$home/log" >&2; exit 4; }
mv "$home/report.png" "$here/report.png"
echo "$here/report.png"
