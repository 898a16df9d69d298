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

suite=dashboard
# shellcheck source=tests/registries.sh
. tests/registries.sh
program=$(realpath "${1:-target/debug/caelum-workflow}")

npm_packages "playwright-core@$PLAYWRIGHT" "axe-core@$AXE"
browser

own_home
trap 'rm -rf "$home"' EXIT
pictures=$(realpath -m "${PICTURES:-$place/pictures}")
mkdir -p "$pictures"
PROGRAM=$program PICTURES=$pictures MODULES=$PWD/$place/node_modules \
    CAELUM_WORKFLOW_CACHE_DIR=$PWD/target/clients/plugin-cache \
    node tests/dashboard/test.mjs
