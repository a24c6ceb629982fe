#!/usr/bin/env bash
# --tier-dtype and --explain: what goes where in which form, and how it is told.
set -euo pipefail

fail() { echo "FAILED: $*" >&2; exit 1; }
model=$TEST_DATA/quantized/llama-tiny
export XDG_CACHE_HOME=$WORK/xdg
half='{"": "cpu", "model.layers.0": "disk"}'

expect() {
  local want=$1 code=0
  shift
  "$@" >"$WORK/out" 2>"$WORK/err" </dev/null || code=$?
  ((code == want)) || fail "exit code $code, not $want: $* $(cat "$WORK/err")"
}
field() { python3 -c 'import json, sys; print(eval(sys.argv[2], {"d": json.load(open(sys.argv[1]))}))' "$1" "$2"; }
logits() { expect 0 "$SHOEHORN" logits "$model" --ids 5,9,2,77 --out "$WORK/$1" "${@:2}"; }

# One form on both sides is that form everywhere.
logits want --load-in-4bit --bnb-4bit-quant-type nf4
logits got --tier-dtype disk=nf4,cpu=nf4 --device-map "$half"
cmp "$WORK/want" "$WORK/got" || fail "nf4 on both sides"
logits want --load-in-8bit
logits got --tier-dtype disk=int8 --load-in-8bit --device-map "$half"
cmp "$WORK/want" "$WORK/got" || fail "disk=int8 of an int8 model"
# Two forms: the layer on disk has the one, the other layer the other.
logits mixed --tier-dtype disk=nf4,cpu=int8 --device-map "$half"
! cmp -s "$WORK/mixed" "$WORK/want" || fail "disk=nf4,cpu=int8 is int8"
SHOEHORN_VIRTUAL_DEVICES=1x64MiB logits got --tier-dtype disk=nf4,virtual=int8 \
  --device-map '{"": "virtual:0", "model.layers.0": "disk"}'
cmp "$WORK/mixed" "$WORK/got" || fail "int8 on an accelerator"

# The plan counts what is there.
expect 0 "$SHOEHORN" plan "$model" --json --device-map "$half"
plain=$(field "$WORK/out" 'd["footprint_bytes"]')
expect 0 "$SHOEHORN" plan "$model" --json --device-map "$half" --tier-dtype disk=nf4,cpu=int8
tiered=$(field "$WORK/out" 'd["footprint_bytes"]')
((tiered < plain)) || fail "footprint $tiered, plain $plain"
steps='{s["group"]: s for s in d["steps"]}'
[[ $(field "$WORK/out" "'nf4' in $steps['model.layers.0']['lives']['disk']") == True ]] || fail "plan --json: disk"
[[ $(field "$WORK/out" "'int8' in $steps['model.layers.1']['lives']['cpu']") == True ]] || fail "plan --json: cpu"
[[ $(field "$WORK/out" "sum(s['disk_bytes'] for s in d['steps']) == d['streamed_bytes_per_token']") == True ]] ||
  fail "plan --json: bytes read"

# What cannot be, and who has no use for it.
for bad in disk=int3 tape=nf4 7=nf4 cuda=nf4; do
  expect 2 "$SHOEHORN" plan "$model" --tier-dtype "$bad"
  grep -q tier_dtype "$WORK/err" || fail "--tier-dtype $bad: $(cat "$WORK/err")"
done
expect 2 "$SHOEHORN" plan "$model" --tier-dtype disk
expect 2 "$SHOEHORN" inspect "$model" --tier-dtype disk=nf4
expect 2 "$SHOEHORN" convert "$model" "$WORK/converted" --tier-dtype disk=nf4

# Explained, and measured.
expect 0 "$SHOEHORN" plan "$model" --explain --device-map "$half"
grep -q 'model.layers.0 .*disk' "$WORK/out" || fail "plan --explain: $(cat "$WORK/out")"
expect 0 "$SHOEHORN" run "$model" --ids 5,6 -n 4 --ignore-eos --explain --stats --device-map "$half"
grep -c 'model.layers.1 ' "$WORK/err" | grep -q 2 || fail "run --explain --stats: $(cat "$WORK/err")"
expect 0 "$SHOEHORN" run "$model" --ids 5,6 -n 4 --ignore-eos --explain --json --device-map "$half"
[[ $(field "$WORK/out" 'd["stats"]["groups"][0]["passes"]') == 3 ]] || fail "run --json: groups"
[[ $(field "$WORK/out" '"steps" in d["plan"]') == True ]] || fail "run --json --explain: plan"

# Refused with numbers, and with what would fit.
expect 1 "$SHOEHORN" plan "$model" --max-batch 40000 --max-context 2048 --max-memory cpu=120MiB
grep -q 'smallest that works is --max-memory cpu=' "$WORK/err" || fail "refusal: $(cat "$WORK/err")"
