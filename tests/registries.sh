# shellcheck shell=bash
# What the scripts share that test with programs from the registries: they source this after saying who they are.
#
#   suite=clients; . tests/registries.sh
#
# It makes the folder `$place` (target/SUITE) with its `$log`, and gives the functions below. Where a registry cannot be
# reached they say so and leave; in CI (CI=true) that is a failure.

place=target/${suite:?}
log=$place/install.log
mkdir -p "$place"

say() { printf '%s\n' "$suite: $*" >&2; }

# Leaves when something cannot be installed: with a failure where that must not pass unseen.
missing() {
    tail -n 5 "$log" >&2 || true
    say "NOT TESTED: $1; see $log"
    [ "${CI:-}" = true ] && exit 1
    exit 0
}

# NAME@VERSION...: installs packages from npm below $place, unless each is there at exactly that version. `node@MAJOR`
# brings the runtime itself.
npm_packages() {
    local package name version there wanted=""
    for package in "$@"; do
        name=${package%@*} version=${package##*@}
        if [ "$name" = node ]; then
            there=$("$place/node_modules/.bin/node" --version 2>/dev/null) || there=""
            there=${there#v} there=${there%%.*}
        else
            there=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' \
                "$place/node_modules/$name/package.json" 2>/dev/null) || there=""
        fi
        [ "$there" = "$version" ] || wanted="$wanted $package"
    done
    [ -n "$wanted" ] || return 0
    command -v npm >/dev/null || missing "this needs node and npm, which are not installed"
    say "installing$wanted"
    npm install --prefix "$place" --no-save --no-package-lock --no-audit --no-fund "$@" >"$log" 2>&1 ||
        missing "$* cannot be installed from the npm registry"
}

# NAME REQUIREMENT...: makes the Python environment $place/NAME with exactly these packages from PyPI.
python_packages() {
    local venv=$place/$1
    shift
    [ "$(cat "$venv/requirements" 2>/dev/null)" = "$*" ] && return
    say "installing $*"
    rm -rf "$venv"
    { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"; } >"$log" 2>&1 ||
        missing "$* cannot be installed from PyPI"
    printf '%s' "$*" >"$venv/requirements"
}

# Installs Debian's Chromium where there is none.
browser() {
    command -v chromium >/dev/null && return
    local as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    say "installing Chromium"
    { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes \
        --no-install-recommends chromium fonts-dejavu-core; } >"$log" 2>&1 ||
        missing "Chromium cannot be installed"
}

# Makes `$home`, a home of its own, so that nothing of this machine's configuration is found; the script removes it.
own_home() {
    home=$(mktemp -d)
    mkdir "$home/root"
    export HOME=$home
    unset XDG_CONFIG_HOME XDG_STATE_HOME XDG_DATA_HOME XDG_CACHE_HOME
    unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
}
