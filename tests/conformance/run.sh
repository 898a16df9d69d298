#!/usr/bin/env bash
# The official conformance suite against the real program, in both eras of the protocol. The program is the product with
# the suite's own tools, resources and prompts beside its own (feature `conformance`). Installs the suite below
# target/conformance, once, at exactly this version.
#
#   tests/conformance/run.sh [PROGRAM]
#
# Where the registry cannot be reached it says so; in CI (CI=true) that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITE=0.2.0-alpha.12
NODE=22
REVISIONS="2025-11-25 2026-07-28"

suite=conformance
# shellcheck source=tests/registries.sh
. tests/registries.sh
program=$(realpath "${1:-target/debug/caelum-workflow-conformance}")

npm_packages "node@$NODE" "@modelcontextprotocol/conformance@$SUITE"

own_home
server=""
# shellcheck disable=SC2317 # Called by the trap.
leave() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
    rm -rf "$home"
}
trap leave EXIT
runner=$PWD/$place/node_modules/.bin/conformance
export PATH="$PWD/$place/node_modules/.bin:$PATH"
count=$PWD/tests/conformance/count.js
export CAELUM_WORKFLOW_DATA_DIR=$home/data CAELUM_WORKFLOW_CACHE_DIR=$PWD/$place/plugin-cache
cd "$home/root"

# A port of the kernel's choosing; the log says which.
CAELUM_WORKFLOW_ORCHESTRATION_PORT=0 "$program" serve 2>"$home/server.log" &
server=$!
url=""
for _ in $(seq 600); do
    url=$(grep -o 'http://[0-9.:]*/mcp' "$home/server.log" | head -n 1) && [ -n "$url" ] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$url" ]; then
    cat "$home/server.log" >&2
    say "the server did not start"
    exit 1
fi

failed=0
for revision in $REVISIONS; do
    out=$home/out-$revision
    "$runner" server --url "$url" --requirements "$revision" -o "$out" >"$home/suite.log" 2>&1 || true
    # What counts is every single check, those that the suite itself does not score included.
    node "$count" "$revision" "$out" || failed=1
done
if [ "$failed" != 0 ]; then
    tail -n 40 "$home/suite.log" | cut -c 1-300 >&2
    exit 1
fi
