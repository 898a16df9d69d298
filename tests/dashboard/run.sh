#!/usr/bin/env bash
# The dashboard in a real, headless Chromium against the real server: opened, filtered, followed while something runs,
# a review approved, with the keyboard, for screen readers (axe), light and dark. Installs playwright-core and axe-core
# below target/dashboard at exactly these versions, and Debian's Chromium where there is none.
#
#   tests/dashboard/run.sh [PROGRAM]          pictures go to target/dashboard/pictures
#   PICTURES=docs/pictures tests/dashboard/run.sh
#
# Where the registries cannot be reached it says so; in CI (CI=true) that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

PLAYWRIGHT=1.65.1
AXE=4.14.1

program=$(realpath "${1:-target/debug/caelum-workflow}")
place=target/dashboard
log=$place/install.log
mkdir -p "$place"

say() { printf '%s\n' "dashboard: $*" >&2; }

missing() {
    tail -n 5 "$log" >&2 || true
    say "NOT TESTED: $1; see $log"
    [ "${CI:-}" = true ] && exit 1
    exit 0
}

has() { # Says whether the package is installed at that version.
    [ "$(node -p "require('./$place/node_modules/$1/package.json').version" 2>/dev/null)" = "$2" ]
}

command -v node >/dev/null || missing "this needs node and npm, which are not installed"
if ! has playwright-core "$PLAYWRIGHT" || ! has axe-core "$AXE"; then
    say "installing playwright-core $PLAYWRIGHT and axe-core $AXE"
    npm install --prefix "$place" --no-save --no-package-lock --no-audit --no-fund \
        "playwright-core@$PLAYWRIGHT" "axe-core@$AXE" >"$log" 2>&1 ||
        missing "playwright-core cannot be installed from the npm registry"
fi
if ! command -v chromium >/dev/null; then
    say "installing Chromium"
    if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo -n"; fi
    { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes \
        --no-install-recommends chromium fonts-dejavu-core; } >"$log" 2>&1 ||
        missing "Chromium cannot be installed"
fi

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
mkdir "$home/root"
unset XDG_CONFIG_HOME XDG_STATE_HOME XDG_DATA_HOME XDG_CACHE_HOME
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
pictures=$(realpath -m "${PICTURES:-$place/pictures}")
mkdir -p "$pictures"
HOME=$home PROGRAM=$program PICTURES=$pictures MODULES=$PWD/$place/node_modules \
    CAELUM_WORKFLOW_CACHE_DIR=$PWD/target/clients/plugin-cache \
    node tests/dashboard/test.mjs
