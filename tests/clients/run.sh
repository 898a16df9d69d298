#!/usr/bin/env bash
# Real MCP clients against the real server: the Inspector with its strict look at schemas, and both generations of the
# Python SDK over every transport they have. Installs them below target/clients, once, at exactly these versions.
#
#   tests/clients/run.sh [PROGRAM]
#
# Where the registries cannot be reached it says so; in CI (CI=true) that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

INSPECTOR=2.12.0
NODE=22
MCP_NEW=2.3.0
MCP_OLD=1.30.0

suite=clients
# shellcheck source=tests/registries.sh
. tests/registries.sh
program=$(realpath "${1:-target/debug/caelum-workflow}")

npm_packages "node@$NODE" "@modelcontextprotocol/inspector@$INSPECTOR"
python_packages python-new "mcp==$MCP_NEW"
python_packages python-old "mcp[cli,ws]==$MCP_OLD"

own_home
trap 'rm -rf "$home"' EXIT
export CAELUM_WORKFLOW_DATA_DIR=$home/data CAELUM_WORKFLOW_CACHE_DIR=$PWD/$place/plugin-cache

repository=$PWD
cd "$home/root"

# Clients give up on a server that takes long to greet; plugins are compiled before the first of them comes.
"$program" list-patterns >/dev/null

inspect() {
    # It hands on no environment but what it is told to.
    PATH="$repository/$place/node_modules/.bin:$PATH" \
        mcp-inspector --cli "$program" serve --stdio --connect-timeout 60000 \
        -e "CAELUM_WORKFLOW_DATA_DIR=$CAELUM_WORKFLOW_DATA_DIR" \
        -e "CAELUM_WORKFLOW_CACHE_DIR=$CAELUM_WORKFLOW_CACHE_DIR" "$@"
}

for era in legacy modern; do
    say "Inspector, $era: schemas"
    inspect --protocol-era "$era" --method tools/list --strict >"$home/tools-$era.json" 2>"$home/inspector.log" || {
        cat "$home/inspector.log" "$home/tools-$era.json" >&2
        say "the Inspector objects to the tools"
        exit 1
    }
    say "Inspector, $era: a call"
    inspect --protocol-era "$era" --method tools/call --tool-name get_system_health >"$home/health-$era.json" 2>>"$home/inspector.log"
    grep -q 'healthy' "$home/health-$era.json" || {
        cat "$home/health-$era.json" >&2
        exit 1
    }
done
# What is merely unwise counts too.
if grep -q -i -E '\bwarning\b' "$home/inspector.log"; then
    cat "$home/inspector.log" >&2
    say "the Inspector warns"
    exit 1
fi

for name in new old; do
    "$repository/$place/python-$name/bin/python" -W error::SyntaxWarning \
        "$repository/tests/clients/python_$name.py" "$program" "$home"
done
say "every client is content"
