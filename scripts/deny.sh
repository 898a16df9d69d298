#!/bin/sh
# Checks licences, bans and duplicate versions with cargo-deny, and known vulnerabilities where the advisory database
# can be reached.
set -eu

version=0.20.2
root=$(cd "$(dirname "$0")/.." && pwd)
bin="$root/target/tools/bin/cargo-deny"
if ! [ -x "$bin" ] || ! "$bin" --version | grep -q "$version"; then
    cargo install --quiet --locked --root "$root/target/tools" --version "$version" cargo-deny
fi
cd "$root"
"$bin" --log-level error --offline check --hide-inclusion-graph bans licenses sources
if "$bin" --log-level error fetch db >/dev/null 2>&1; then
    "$bin" --log-level error check --hide-inclusion-graph advisories
else
    echo "deny: the advisory database cannot be reached from here; advisories were not checked" >&2
fi
