#!/usr/bin/env bash
# Builds the kit's plugins with the toolchains of other languages into target/polyglot, and the author guide's templates
# with them. Installs the toolchains from PyPI and npm, once, at exactly the versions that are written down here; what has
# not changed is not built again.
#
#   tests/polyglot/build.sh
#
# Where a registry cannot be reached it says which, and what could not be had. Nothing else is downloaded.
set -euo pipefail
cd "$(dirname "$0")/../.."

kit=tests/polyglot
templates=sdk/templates
place=target/polyglot
log=$PWD/$place/log
mkdir -p "$place" "$log"

say() { printf '%s\n' "polyglot: $*" >&2; }

# Leaves with the end of a log.
stop() { # LOG MESSAGE HINT
    tail -n 15 "$1" >&2 || true
    say "FAILED: $2; the whole log is $1"
    say "hint: $3"
    exit 1
}

digest() { # Hashes files and folders, with their names beneath the place they are in.
    for one in "$@"; do
        if [ -d "$one" ]; then
            (cd "$one" && find . -type f | LC_ALL=C sort | xargs sha256sum)
        else
            sha256sum <"$one"
        fi
    done | sha256sum | cut -d ' ' -f 1
}

kept() { # FILE KEY: whether the file is there and was made of what the key says
    [ -e "$1" ] && [ "$(cat "$1.key" 2>/dev/null)" = "$2" ]
}

install_python() {
    local venv=$place/python key
    key=$(digest "$kit/requirements.txt")
    kept "$venv" "$key" && return
    say "installing $(cat "$kit/requirements.txt") from PyPI"
    rm -rf "$venv" "$venv.key"
    python3 -m venv "$venv" >"$log/python.log" 2>&1 ||
        stop "$log/python.log" "Python cannot make a virtual environment" "install python3 with its module venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --requirement "$kit/requirements.txt" \
        >"$log/python.log" 2>&1 ||
        stop "$log/python.log" "componentize-py cannot be installed from PyPI" "is PyPI reached? try \`pip download\`"
    printf '%s' "$key" >"$venv.key"
}

install_javascript() {
    local folder=$place/javascript key
    key=$(digest "$kit/package.json" "$kit/package-lock.json")
    kept "$folder" "$key" && return
    command -v npm >/dev/null || {
        : >"$log/javascript.log"
        stop "$log/javascript.log" "npm is not installed" "install nodejs and npm"
    }
    say "installing jco and node from npm"
    rm -rf "$folder" "$folder.key"
    mkdir -p "$folder"
    cp "$kit/package.json" "$kit/package-lock.json" "$folder"
    npm install --prefix "$folder" --no-audit --no-fund >"$log/javascript.log" 2>&1 ||
        stop "$log/javascript.log" "jco cannot be installed from npm" "is the npm registry reached? try \`npm ping\`"
    printf '%s' "$key" >"$folder.key"
}

# Lays a plugin's project out as an author has it: the source, what it imports, the WIT files.
lay_out() { # NAME SOURCE TEMPLATE-FILE
    rm -rf "${place:?}/build/$1"
    mkdir -p "$place/build/$1"
    cp -r wit "$2" "$3" "$place/build/$1"
}

fill_in() { # PROJECT ID TITLE: what `plugin new` puts into a template
    sed -i -e "s/{{name}}/$2/g" -e "s/{{title}}/$3/g" "$place/build/$1"/plugin.*
}

made() { # NAME KEY LOG: says so, and puts the component into its place
    mv "$place/build/$1/plugin.wasm" "$place/$1.wasm"
    printf '%s' "$2" >"$place/$1.wasm.key"
}

world_of() { # KIND
    [ "$1" = pattern ] && echo improvement-pattern || echo step-validator
}

build_python() { # NAME SOURCE KIND ID [OPTION...]
    local name=$1 source=$2 kind=$3 id=$4 key log_file=$log/$1.log
    shift 4
    key=$(digest wit "$source" "$templates/python/caelum.py" "$kit/requirements.txt") key="$key $kind $id $*"
    kept "$place/$name.wasm" "$key" && return
    say "building $name"
    lay_out "$name" "$source" "$templates/python/caelum.py"
    fill_in "$name" "$id" "Words for people"
    (
        cd "$place/build/$name"
        ../../python/bin/componentize-py -d wit -w "$(world_of "$kind")" componentize plugin "$@" -o plugin.wasm
    ) >"$log_file" 2>&1 || stop "$log_file" "componentize-py cannot build $name" "mend $source"
    made "$name" "$key"
}

build_javascript() { # NAME SOURCE KIND ID OPTION...
    local name=$1 source=$2 kind=$3 id=$4 key log_file=$log/$1.log
    shift 4
    key=$(digest wit "$source" "$templates/javascript/caelum.js" "$kit/package-lock.json") key="$key $kind $id $*"
    kept "$place/$name.wasm" "$key" && return
    say "building $name"
    lay_out "$name" "$source" "$templates/javascript/caelum.js"
    fill_in "$name" "$id" "Words for people"
    (
        PATH=$PWD/$place/javascript/node_modules/.bin:$PATH
        cd "$place/build/$name"
        jco componentize plugin.js --wit wit --world-name "$(world_of "$kind")" "$@" -o plugin.wasm
    ) >"$log_file" 2>&1 || stop "$log_file" "jco cannot build $name" "mend $source"
    made "$name" "$key"
}

quickjs=(--backend qjs --backend-qjs-disable-async)
starlingmonkey=(--bundle --disable http --disable fetch-event)

build_with_python() {
    install_python
    local id kind
    for pair in coverage-floor:validator text-hygiene:pattern; do
        id=${pair%:*} kind=${pair#*:}
        build_python "$id.python" "$kit/python/$id/plugin.py" "$kind" "$id"
    done
    # Without WASI at all, as some prefer it.
    build_python coverage-floor.python-stubbed "$kit/python/coverage-floor/plugin.py" validator coverage-floor -s
    # A plugin with a bug.
    build_python broken.python "$kit/python/broken/plugin.py" validator broken
    # What `plugin new` begins with.
    for kind in validator pattern; do
        build_python "new-$kind.python" "$templates/python/$kind/plugin.py" "$kind" "new-$kind"
    done
}

build_with_javascript() {
    install_javascript
    local id kind source
    for pair in coverage-floor:validator text-hygiene:pattern; do
        id=${pair%:*} kind=${pair#*:} source=$kit/javascript/${pair%:*}/plugin.js
        build_javascript "$id.quickjs" "$source" "$kind" "$id" "${quickjs[@]}"
        build_javascript "$id.starlingmonkey" "$source" "$kind" "$id" "${starlingmonkey[@]}"
    done
    build_javascript coverage-floor.quickjs-stubbed "$kit/javascript/coverage-floor/plugin.js" validator \
        coverage-floor "${quickjs[@]}" --backend-qjs-stub-wasi
    for bug in broken broken-describe; do
        build_javascript "$bug.quickjs" "$kit/javascript/$bug/plugin.js" validator "$bug" "${quickjs[@]}"
    done
    for kind in validator pattern; do
        build_javascript "new-$kind.quickjs" "$templates/javascript/$kind/plugin.js" "$kind" "new-$kind" \
            "${quickjs[@]}"
    done
}

# Each of them mostly waits for one thread of one tool.
build_with_python &
python=$!
build_with_javascript &
javascript=$!
failed=0
wait "$python" || failed=1
wait "$javascript" || failed=1
[ "$failed" = 0 ] || exit 1
say "every component is in $place"
