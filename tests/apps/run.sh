#!/usr/bin/env bash
# The execution view in a client's own window (MCP Apps): the real server, the protocol's own client, and the extension's
# own SDK as the page around the view (AppBridge, with a sandbox of another origin, as the specification wants it), in a
# real, headless Chromium. Installs all of it below target/apps at exactly these versions, and Debian's Chromium where
# there is none.
#
#   tests/apps/run.sh [PROGRAM]          pictures go to target/apps/pictures
#   PICTURES=docs/pictures tests/apps/run.sh
#
# Where the registries cannot be reached it says so; in CI (CI=true) that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

EXT_APPS=2.0.4
MCP=2.4.0
ZOD=4.6.7
ESBUILD=0.28.2
PLAYWRIGHT=1.65.1
AXE=4.14.1

suite=apps
# shellcheck source=tests/registries.sh
. tests/registries.sh
program=$(realpath "${1:-target/debug/caelum-workflow}")

npm_packages "@modelcontextprotocol/ext-apps@$EXT_APPS" "@modelcontextprotocol/client@$MCP" \
    "@modelcontextprotocol/core@$MCP" "zod@$ZOD" "esbuild@$ESBUILD" "playwright-core@$PLAYWRIGHT" "axe-core@$AXE"
browser

own_home
trap 'rm -rf "$home"' EXIT
pictures=$(realpath -m "${PICTURES:-$place/pictures}")
mkdir -p "$pictures"
PROGRAM=$program PICTURES=$pictures MODULES=$PWD/$place/node_modules \
    CAELUM_WORKFLOW_CACHE_DIR=$PWD/target/clients/plugin-cache \
    node tests/apps/test.mjs
