#!/usr/bin/env bash
# Real MCP clients against the real server: every stack goes through the same scenarios (scenarios.json) over every
# transport and in both eras of the protocol; what comes of it must be the table of docs/clients.md. Then two testers
# from PyPI look at how it takes what no client should send (testers.py). Installs them below target/clients, once, at
# exactly these versions.
#
#   tests/clients/run.sh [PROGRAM]
#
# CAELUM_WRITE_GOLDEN=1 writes the table anew. Where the registries cannot be reached it says so; in CI (CI=true) that is
# a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

NODE=22
INSPECTOR=2.12.0
TYPESCRIPT_NEW=2.4.0
TYPESCRIPT_OLD=1.32.2
PYTHON_NEW=2.3.0
PYTHON_OLD=1.30.0
FASTMCP=4.1.2
FUZZER=0.7.0
CHECK=0.1.1

suite=clients
# shellcheck source=tests/registries.sh
. tests/registries.sh
program=$(realpath "${1:-target/debug/caelum-workflow}")

npm_packages "node@$NODE" "@modelcontextprotocol/inspector@$INSPECTOR" \
    "@modelcontextprotocol/client@$TYPESCRIPT_NEW" "@modelcontextprotocol/sdk@$TYPESCRIPT_OLD"
python_packages python-new "mcp==$PYTHON_NEW"
python_packages python-old "mcp[cli,ws]==$PYTHON_OLD"
python_packages python-fastmcp "fastmcp==$FASTMCP"
python_packages python-testers "mcp-fuzzer==$FUZZER" "jbt-mcpcheck==$CHECK"
# shellcheck disable=SC2046 # One argument for each requirement.
python_packages python-cli --no-deps $(grep -v '^#' tests/clients/mcp-cli.txt)

own_home
trap 'rm -rf "$home"' EXIT
export CAELUM_WORKFLOW_DATA_DIR=$home/data CAELUM_WORKFLOW_CACHE_DIR=$PWD/$place/plugin-cache
# A command line that draws boxes would break the names of the tools.
export COLUMNS=200 NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1

here=$PWD/tests/clients
place=$PWD/$place
page=$PWD/docs/clients.md
cd "$home/root"

# Clients give up on a server that takes long to greet; plugins are compiled before the first of them comes.
"$program" list-patterns >/dev/null 2>&1

# Goes a row of stacks, one after the other; what they say besides is shown when one of them breaks.
row() { # NAME COMMAND...
    local name=$1
    shift
    if ! timeout 600 "$@" >>"$home/outcomes" 2>"$home/$name.log"; then
        cat "$home/$name.log" >&2
        say "$name broke"
        return 1
    fi
    grep -q FAILED "$home/outcomes" && cat "$home/$name.log" >&2
    say "$name: done"
}
sdks() {
    for name in python_new python_old python_fastmcp; do
        row "$name" "$place/${name/_/-}/bin/python" "$here/$name.py" "$program" "$home" || return 1
    done
    for name in typescript_new typescript_old; do
        row "$name" "$place/node_modules/.bin/node" "$here/$name.mjs" "$program" "$home" "$place" || return 1
    done
}
# Each line is written at once, so both rows may write into one file.
sdks &
sdks=$!
broke=0
row command_lines python3 "$here/command_lines.py" "$program" "$home" "$place" || broke=1
wait "$sdks" || broke=1
[ "$broke" = 0 ] || exit 1
python3 "$here/table.py" "$home/outcomes" "$page" ${CAELUM_WRITE_GOLDEN:+--write}

if ! "$place/python-testers/bin/python" "$here/testers.py" "$program" "$home" "$place" 2>"$home/testers.log"; then
    cat "$home/testers.log" >&2
    say "the testers object"
    exit 1
fi
say "the testers find nothing"
