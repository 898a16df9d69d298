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

program=${1:-target/debug/caelum-workflow}
program=$(realpath "$program")
place=target/clients
log=$place/install.log
mkdir -p "$place"

say() { printf '%s\n' "clients: $*" >&2; }

# Leaves when something cannot be installed: with a failure where that must not pass unseen.
missing() {
    tail -n 5 "$log" >&2 || true
    say "NOT TESTED: $1; see $log"
    [ "${CI:-}" = true ] && exit 1
    exit 0
}

npm_has() { # Says whether the package is installed at that version.
    [ "$(node -p "require('./$place/node_modules/$1/package.json').version" 2>/dev/null)" = "$2" ]
}

install_inspector() {
    npm_has @modelcontextprotocol/inspector "$INSPECTOR" && [ -x "$place/node_modules/.bin/node" ] && return
    command -v npm >/dev/null || missing "the Inspector needs node and npm, which are not installed"
    say "installing the Inspector $INSPECTOR"
    npm install --prefix "$place" --no-save --no-package-lock --no-audit --no-fund \
        "node@$NODE" "@modelcontextprotocol/inspector@$INSPECTOR" >"$log" 2>&1 ||
        missing "the Inspector cannot be installed from the npm registry"
}

install_python() { # NAME REQUIREMENT
    local venv=$place/$1
    [ "$(cat "$venv/requirement" 2>/dev/null)" = "$2" ] && return
    say "installing $2"
    rm -rf "$venv"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "$2"; } >"$log" 2>&1 ||
        missing "$2 cannot be installed from PyPI"
    printf '%s' "$2" >"$venv/requirement"
}

install_inspector
install_python python-new "mcp==$MCP_NEW"
install_python python-old "mcp[cli,ws]==$MCP_OLD"

# A home of its own, so that nothing of this machine's configuration is found and nothing is left behind.
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
mkdir "$home/root"
export HOME=$home CAELUM_WORKFLOW_DATA_DIR=$home/data CAELUM_WORKFLOW_CACHE_DIR=$PWD/$place/plugin-cache
unset XDG_CONFIG_HOME XDG_STATE_HOME XDG_DATA_HOME XDG_CACHE_HOME
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

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
