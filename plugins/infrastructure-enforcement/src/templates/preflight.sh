#!/bin/sh
# Start-up checks of @COMPONENT@. Ends with 0 only when everything that it needs is there.
#
#   sh .caelum/preflight.sh [OPTION…] [-- COMMAND…]
#
#   --require-env NAME         one more check: the variable is set, here or in .env
#   --require-file PATH        one more check: the file is there, relative to the component
#   --require-tcp HOST:PORT    one more check: the address accepts connections
#   --require-free-port PORT   one more check: nobody listens on the port yet
#   --only-arguments           only the checks given as options
#   --container                only variables and addresses: files and ports are the host's
#   --allow-running            ports may be in use, because the component runs already
#   -- COMMAND…                runs the command in place of this script once all checks passed
#
# Made by the Caelum pattern infrastructure-enforcement from .caelum/component.json: add what is missing to `requires`
# there and apply the pattern again. Changes in this file show as drift.
set -u

required_env='@ENV@'
required_files='@FILES@'
required_tcp='@TCP@'
free_ports='@PORTS@'

usage() {
    printf 'preflight: %s\nusage: sh .caelum/preflight.sh [--require-env NAME] [--require-file PATH] [--require-tcp HOST:PORT] [--require-free-port PORT] [--only-arguments] [--container] [--allow-running] [-- COMMAND...]\n' "$1" >&2
    exit 2
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || usage 'its own directory cannot be found'
checks=0
failures=0

failed() {
    failures=$((failures + 1))
    printf 'preflight: FAILED: %s\n' "$1" >&2
}

check_env() {
    checks=$((checks + 1))
    case $1 in
    '' | [0-9]* | *[!A-Za-z0-9_]*)
        failed "'$1' is no name of a variable"
        return
        ;;
    esac
    eval "value=\${$1-}"
    if [ -n "$value" ]; then
        return
    fi
    if [ -f "$root/.env" ] && grep -q "^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1=." "$root/.env"; then
        return
    fi
    failed "the variable $1 is not set; set it in the environment or in .env"
}

check_file() {
    checks=$((checks + 1))
    if [ ! -s "$root/$1" ] && [ ! -d "$root/$1" ]; then
        failed "the file $1 is missing or empty"
    fi
}

# Answers 0 when the address accepts connections, 1 when it does not, 3 when nothing here can tell.
connects() {
    if command -v python3 >/dev/null 2>&1; then
        python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()' "$1" "$2" 2>/dev/null && return 0
        return 1
    elif command -v node >/dev/null 2>&1; then
        node -e 'const s = require("net").connect({host: process.argv[1], port: +process.argv[2], timeout: 3000}); s.on("connect", () => process.exit(0)).on("error", () => process.exit(1)).on("timeout", () => process.exit(1))' "$1" "$2" && return 0
        return 1
    elif command -v nc >/dev/null 2>&1; then
        nc -z -w 3 "$1" "$2" >/dev/null 2>&1 && return 0
        return 1
    elif command -v bash >/dev/null 2>&1; then
        bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null && return 0
        return 1
    fi
    return 3
}

check_tcp() {
    checks=$((checks + 1))
    host=${1%:*}
    port=${1##*:}
    case $1 in
    ?*:?*) ;;
    *) port='' ;;
    esac
    case $port in
    '' | *[!0-9]*)
        failed "'$1' is no address of the form HOST:PORT"
        return
        ;;
    esac
    connects "$host" "$port"
    case $? in
    0) ;;
    3) failed "nothing here can tell whether $1 accepts connections; install python3, node, nc or bash" ;;
    *) failed "$1 does not accept connections" ;;
    esac
}

check_free_port() {
    checks=$((checks + 1))
    case $1 in
    '' | *[!0-9]*)
        failed "'$1' is no port"
        return
        ;;
    esac
    connects 127.0.0.1 "$1"
    case $? in
    0) failed "port $1 is in use; stop what listens there, or say --allow-running" ;;
    3) failed "nothing here can tell whether port $1 is free; install python3, node, nc or bash" ;;
    *) ;;
    esac
}

declared=yes
container=no
running=no
while [ $# -gt 0 ]; do
    case $1 in
    --require-env | --require-file | --require-tcp | --require-free-port)
        [ $# -ge 2 ] || usage "$1 needs a value"
        case $1 in
        --require-env) check_env "$2" ;;
        --require-file) check_file "$2" ;;
        --require-tcp) check_tcp "$2" ;;
        --require-free-port) check_free_port "$2" ;;
        esac
        shift 2
        ;;
    --only-arguments) declared=no && shift ;;
    --container) container=yes && shift ;;
    --allow-running) running=yes && shift ;;
    --) shift && break ;;
    *) usage "unknown option $1" ;;
    esac
done

if [ "$declared" = yes ]; then
    newline='
'
    old_ifs=$IFS
    IFS=$newline
    # One word per line; no patterns are expanded.
    set -f
    for name in $required_env; do check_env "$name"; done
    for address in $required_tcp; do check_tcp "$address"; done
    if [ "$container" = no ]; then
        for path in $required_files; do check_file "$path"; done
        if [ "$running" = no ]; then
            for port in $free_ports; do check_free_port "$port"; done
        fi
    fi
    set +f
    IFS=$old_ifs
fi

if [ "$failures" -gt 0 ]; then
    printf 'preflight: %s of %s checks failed\n' "$failures" "$checks" >&2
    exit 1
fi
printf 'preflight: %s checks passed\n' "$checks" >&2
if [ $# -gt 0 ]; then
    exec "$@"
fi
