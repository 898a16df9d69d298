#!/usr/bin/env bash
# Runs every fuzz target for some seconds (default 60), one after the other, and stops at the first finding.
#
#   fuzz/run.sh [SECONDS] [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(load pack plan)

# Coverage and sanitizers are unstable flags; this variable is how a stable compiler takes them.
export RUSTC_BOOTSTRAP=1
export PATH=$PWD/target/tools/bin:$PATH
if ! command -v cargo-fuzz >/dev/null; then
    echo "fuzz: installing cargo-fuzz into target/tools" >&2
    RUSTC_BOOTSTRAP=0 cargo install cargo-fuzz --version 0.13.2 --locked --quiet --root target/tools
fi

cargo run --quiet --manifest-path fuzz/Cargo.toml --target-dir fuzz/target/seeds --bin seeds
for target in "${targets[@]}"; do
    seeds=(fuzz/corpus/"$target")
    mkdir -p "${seeds[0]}"
    limits=(-max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -print_final_stats=1)
    case $target in
    # Real plugins are up to 1.3 MB; most of what is learned is learned from small ones.
    load | pack) seeds+=(tests/corpus/*/) limits+=(-max_len=1400000 -len_control=100) ;;
    esac
    echo "fuzz: $target for $seconds s" >&2
    # Without a sanitizer: nothing here is unsafe code, and it is several times as fast.
    cargo fuzz run --sanitizer none "$target" "${seeds[@]}" -- "${limits[@]}"
done
