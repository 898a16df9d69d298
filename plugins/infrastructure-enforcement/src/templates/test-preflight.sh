#!/bin/sh
# Exercises the start-up checks of preflight.sh: each kind can fail, and says what is missing.
#
#   sh .caelum/test-preflight.sh
#
# Prints TAP; ends with 0 when all tests passed.
set -u

script=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/preflight.sh
number=0
failures=0

# expect NAME STATUS TEXT OPTION…: the checks given as options end with the status and print the text.
expect() {
    name=$1 status=$2 text=$3
    shift 3
    number=$((number + 1))
    printed=$(sh "$script" --only-arguments "$@" 2>&1)
    found=$?
    case $printed in
    *"$text"*) said=yes ;;
    *) said=no ;;
    esac
    if [ "$found" -eq "$status" ] && [ "$said" = yes ]; then
        printf 'ok %s - %s\n' "$number" "$name"
    else
        failures=$((failures + 1))
        printf 'not ok %s - %s\n  ---\n  error: "ended with %s"\n  ...\n' "$number" "$name" "$found"
        printf '%s\n' "$printed" | sed 's/^/# /'
    fi
}

printf 'TAP version 13\n'
expect 'what is there passes' 0 'checks passed' --require-file .caelum/component.json --require-env PATH
expect 'a missing variable is named' 1 'CAELUM_SURELY_NOT_SET is not set' --require-env CAELUM_SURELY_NOT_SET
expect 'a missing file is named' 1 'surely/not/there is missing' --require-file surely/not/there
expect 'a name that is none is refused' 1 'is no name of a variable' --require-env 'a b'
expect 'the command runs after all checks' 0 'started' --require-env PATH -- echo started
expect 'an unknown option is refused' 2 'unknown option' --surely-unknown
printf '1..%s\n' "$number"
[ "$failures" -eq 0 ]
