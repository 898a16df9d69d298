#!/bin/sh
# Installs what building needs and this machine lacks, where it may; otherwise says what to install. Does nothing, at
# once, when nothing is missing.
set -eu

say() { printf '%s\n' "setup: $*" >&2; }

if ! command -v cargo >/dev/null 2>&1; then
    say "cargo is missing. hint: install Rust 1.95 or newer with rustup (https://rustup.rs)"
    exit 1
fi
if ! command -v cc >/dev/null 2>&1; then
    missing="gcc libc6-dev"
else
    missing=""
fi
if ! command -v python3 >/dev/null 2>&1; then
    missing="$missing python3"
fi

# Plugins need a WebAssembly target: one that rustup has, or Debian's compiler with its sources.
sysroot=$(rustc --print sysroot)
if [ ! -d "$sysroot/lib/rustlib/wasm32-wasip2" ] && [ ! -d "$sysroot/lib/rustlib/wasm32-unknown-unknown" ]; then
    if ! dpkg -s rustc-web cargo-web rust-web-src >/dev/null 2>&1; then
        if command -v rustup >/dev/null 2>&1 && rustup target add wasm32-wasip2 >/dev/null 2>&1; then
            say "installed the target wasm32-wasip2"
        else
            missing="$missing rustc-web cargo-web rust-web-src"
        fi
    fi
fi

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    say "missing:$missing"
    say "hint: install them, or run \`rustup target add wasm32-wasip2\` for the WebAssembly target"
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    say "missing:$missing"
    say "hint: run \`sudo apt-get install$missing\`, or \`rustup target add wasm32-wasip2\` for the WebAssembly target"
    exit 1
fi
say "installing$missing"
log=$(mktemp)
# shellcheck disable=SC2086 # The list is words on purpose.
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    say "hint: install by hand:$missing"
    exit 1
fi
rm -f "$log"
