#!/usr/bin/env bash
# The weight cache through the program: killed and out of room while writing, several at once, listed
# and cleaned. Whatever happened before, the next run gives the same bytes.
set -euo pipefail

fail() { echo "FAILED: $*" >&2; exit 1; }
model=$TEST_DATA/quantized/llama-tiny
nf4=(--load-in-4bit --bnb-4bit-quant-type nf4)

# logits OUT FOLDER COMMAND...: of layers on disk; COMMAND (env, timeout, ...) starts the program.
logits() {
  local out=$1 folder=$2
  shift 2
  "$@" "$SHOEHORN" logits "$model" --ids 5,9,2 --out "$out" --device-map disk "${nf4[@]}" \
    --offload-folder "$folder" 2>"$WORK/err"
}
field() { python3 -c 'import json, sys; print(eval("d" + sys.argv[1], {"d": json.load(sys.stdin)}))' "$1"; }

"$SHOEHORN" logits "$model" --ids 5,9,2 --out "$WORK/want" "${nf4[@]}" 2>/dev/null
logits "$WORK/got" "$WORK/cache" env
cmp "$WORK/want" "$WORK/got" || fail "streamed from the cache"

# Listed.
"$SHOEHORN" cache --offload-folder "$WORK/cache" --json >"$WORK/list"
[[ $(field '["files"].__len__()' <"$WORK/list") == 14 ]] || fail "cache list"
[[ $(field '["files"][0]["form"]' <"$WORK/list") == nf4 ]] || fail "cache list: form"
"$SHOEHORN" cache list --offload-folder "$WORK/cache" | grep -q '14 files' || fail "cache list as text"
[[ $("$SHOEHORN" cache path --offload-folder "$WORK/cache") == "$WORK/cache" ]] || fail "cache path"
[[ $(XDG_CACHE_HOME=$WORK/xdg "$SHOEHORN" cache path) == "$WORK/xdg/shoehorn/weights" ]] ||
  fail "the usual folder"

# Cleaned: what was used today stays where only older files are asked for.
"$SHOEHORN" cache clear --older-than 1 --offload-folder "$WORK/cache" --json >"$WORK/list"
[[ $(field '["removed_files"]' <"$WORK/list") == 0 ]] || fail "clear --older-than"
"$SHOEHORN" cache clear --offload-folder "$WORK/cache" --json >"$WORK/list"
[[ $(field '["removed_files"]' <"$WORK/list") == 14 ]] || fail "clear"
[[ -z $(ls "$WORK/cache") ]] || fail "clear left something"
"$SHOEHORN" cache list --older-than 1 2>/dev/null && fail "list --older-than" || [[ $? == 2 ]] ||
  fail "exit code of list --older-than"
"$SHOEHORN" cache --offload-folder "$WORK/nothing" | grep -q ' 0 files' || fail "an empty cache"

# Killed at any time.
for delay in 0.01 0.02 0.04 0.06 0.08 0.1 0.15; do
  rm -rf "$WORK/cache"
  logits "$WORK/got" "$WORK/cache" timeout -s KILL "$delay" || true
  rm -f "$WORK/got"
  logits "$WORK/got" "$WORK/cache" env || fail "after a kill: $(cat "$WORK/err")"
  cmp "$WORK/want" "$WORK/got" || fail "other bytes after a kill at $delay s"
  [[ -z $(find "$WORK/cache" -name '*.tmp-*') ]] || fail "a kill's leftovers stayed"
done

# Files may not grow: the same refusals as of a full drive.
rm -rf "$WORK/cache"
if (ulimit -f 4; trap '' XFSZ; logits "$WORK/got" "$WORK/cache" env) 2>/dev/null; then
  fail "wrote past ulimit"
fi
grep -q 'cache/' "$WORK/err" || fail "the error names no file of the cache: $(cat "$WORK/err")"
[[ -z $(find "$WORK/cache" -type f) ]] || fail "a full drive left something"
logits "$WORK/got" "$WORK/cache" env && cmp "$WORK/want" "$WORK/got" || fail "after a full drive"

# A drive that is really full, where this may be tried.
mkdir "$WORK/small"
if mount -t tmpfs -o size=64k none "$WORK/small" 2>/dev/null; then
  code=0
  logits "$WORK/got" "$WORK/small/cache" env || code=$?
  left=$(find "$WORK/small" -name '*.tmp-*')
  umount "$WORK/small"
  [[ $code == 1 && -z $left ]] || fail "a full tmpfs: exit $code, $left"
  grep -q 'No space left' "$WORK/err" || fail "a full tmpfs: $(cat "$WORK/err")"
fi

# Several at once, in a cache that holds what each of them writes.
rm -rf "$WORK/cache"
logits "$WORK/got" "$WORK/cache" env
bytes=$("$SHOEHORN" cache --offload-folder "$WORK/cache" --json | field '["bytes"]')
rm -rf "$WORK/cache"
for i in 1 2 3; do
  "$SHOEHORN" logits "$model" --ids 5,9,2 --out "$WORK/got$i" --device-map disk "${nf4[@]}" \
    --offload-folder "$WORK/cache" --offload-cache-limit "$((4 * bytes))" 2>"$WORK/err$i" &
done
for i in 1 2 3; do wait -n || fail "one of three at once: $(cat "$WORK"/err[123])"; done
for i in 1 2 3; do cmp "$WORK/want" "$WORK/got$i" || fail "three at once"; done

# Bounded: another model's weights push the first ones out; more than the limit is refused.
"$SHOEHORN" logits "$model" --ids 5 --out "$WORK/got" --device-map disk --load-in-8bit \
  --offload-folder "$WORK/cache" --offload-cache-limit 400KiB 2>"$WORK/err"
kept=$("$SHOEHORN" cache --offload-folder "$WORK/cache" --json | field '["bytes"]')
((kept <= 400 * 1024)) || fail "$kept bytes in a cache of 400 KiB"
code=0
"$SHOEHORN" logits "$model" --ids 5 --out "$WORK/got" --device-map disk --load-in-8bit \
  --offload-folder "$WORK/cache" --offload-cache-limit 10KiB 2>"$WORK/err" || code=$?
[[ $code == 1 ]] && grep -q -- '--offload-cache-limit' "$WORK/err" || fail "too small a limit"
