#!/usr/bin/env bash
# clang-tidy with the repository's .clang-tidy over what was built in a folder:
#
#   scripts/tidy.sh                          every source file of build/dev
#   scripts/tidy.sh src/plan src/text/bpe.cc these folders and files only
#   BUILD=build/mine scripts/tidy.sh         the compile commands of another build folder
#
# Not part of scripts/test.sh: a full pass takes minutes. Exits 1 when it found something.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD:-build/dev}
[[ -e $build/compile_commands.json ]] || cmake --preset dev -B "$build" >/dev/null
command -v clang-tidy >/dev/null || { echo "tidy: apt-get install clang-tidy" >&2; exit 1; }

(($#)) || set -- src cli
mapfile -t files < <(git ls-files -- "$@" | grep -E '\.cc$')
printf '%s\0' "${files[@]}" |
  xargs -0 -n 2 -P "$(nproc)" clang-tidy -p "$build" --quiet --warnings-as-errors='*' 2> >(grep -v 'warnings generated' >&2)
