#!/usr/bin/env bash
# The instruction-set check: shoehorn runs on any x86-64, so only files named for an instruction set
# (x_avx2.cc, x_avx512_bf16.cc) are compiled with its flags, and those leave no inline function of a
# header in their object file: the linker may keep that copy for everybody else, and a processor
# without AVX would meet it. Their helpers live in unnamed namespaces.
#
#   scripts/check-isa.sh BUILD_FOLDER      after that folder was built
set -euo pipefail
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

failed=0
complain() { printf '%s\n' "$*"; failed=1; }

while IFS=$'\t' read -r file command; do
  [[ $command =~ \ (-m(arch|tune|avx|sse|ssse|fma|f16c|bmi|lzcnt|popcnt|amx|gfni|vaes)[^ ]*) ]] || continue
  flag=${BASH_REMATCH[1]}
  file=${file#"$PWD"/}
  if [[ ! $file =~ _(avx2|avx512|amx)[a-z0-9_]*\.cc$ ]]; then
    complain "$file: compiled with $flag, but its name says no instruction set"
  elif [[ $flag =~ ^-m(arch|tune) ]]; then
    complain "$file: name the instructions instead of $flag"
  elif [[ $command =~ \ -o\ ([^ ]+) && -f $build/${BASH_REMATCH[1]} ]]; then
    object=$build/${BASH_REMATCH[1]}
    while read -r symbol; do
      complain "$file: leaves a shared copy of $symbol"
    done < <(nm --defined-only --demangle "$object" | awk '$2 == "W" { $1 = $2 = ""; print }')
  fi
done < <(awk '
  function value(text) { sub(/^[^:]*: "/, "", text); sub(/",?$/, "", text); return text }
  /^  "command":/ { command = value($0) }
  /^  "file":/ { file = value($0) }
  /^}/ { printf "%s\t%s\n", file, command }' "$build/compile_commands.json")
exit "$failed"
