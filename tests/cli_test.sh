#!/usr/bin/env bash
# The command line: what goes to stdout, what the exit codes are, what the JSON holds.
set -euo pipefail

fail() { echo "FAILED: $*" >&2; exit 1; }
model=$TEST_DATA/tiny-llama
llama=$TEST_DATA/models/llama

# expect CODE COMMAND...: runs it; its output is in $WORK/out and $WORK/err.
expect() {
  local want=$1 code=0
  shift
  "$@" >"$WORK/out" 2>"$WORK/err" </dev/null || code=$?
  ((code == want)) || fail "exit code $code, not $want: $* $(cat "$WORK/err")"
}

field() { python3 -c 'import json, sys; print(eval("d" + sys.argv[2], {"d": json.load(open(sys.argv[1]))}))' "$1" "$2"; }

expect 0 "$SHOEHORN" run "$model" -p Hello -n 5 --ignore-eos --json
[[ $(field "$WORK/out" '["stats"]["new_tokens"]') == 5 ]] || fail "run --json"
[[ ! -s $WORK/err ]] || fail "a pipe must be quiet: $(cat "$WORK/err")"

expect 0 "$SHOEHORN" run "$llama" --ids 5,6,7 -n 3 --ignore-eos
expect 0 "$SHOEHORN" run "$model" -p Hello -n 5 --stats --device-map disk
grep -q 'a token of' "$WORK/err" || fail "--stats"

# What the checkpoint's generation_config.json asks for is planned for and done; options override it.
cp -r "$model" "$WORK/beams"
echo '{"num_beams": 3, "num_return_sequences": 2, "max_length": 9}' >"$WORK/beams/generation_config.json"
expect 0 "$SHOEHORN" run "$WORK/beams" --ids 5,6,7 --ignore-eos --json
[[ $(field "$WORK/out" '["sequences"][1]["ids"].__len__()') == 6 ]] || fail "beams of the file"
[[ $(field "$WORK/out" '["sequences"][0]["score"].__class__.__name__') == float ]] || fail "score"
expect 0 "$SHOEHORN" run "$WORK/beams" --ids 5,6,7 --ignore-eos --json --num-beams 1 \
  --num-return-sequences 1 --max-length 8 --explain
[[ $(field "$WORK/out" '["stats"]["new_tokens"]') == 5 ]] || fail "--max-length"
one=$(field "$WORK/out" '["plan"]["kv_cache_bytes"]')
expect 0 "$SHOEHORN" plan "$WORK/beams" --json
[[ $(field "$WORK/out" '["kv_cache_bytes"]') == $((3 * one)) ]] || fail "plan of three beams"
expect 0 "$SHOEHORN" plan "$WORK/beams" --json --num-beams 1
[[ $(field "$WORK/out" '["kv_cache_bytes"]') == $((2 * one)) ]] || fail "plan of two sequences"
expect 2 "$SHOEHORN" run "$WORK/beams" -i
grep -q 'num-beams 1' "$WORK/err" || fail "-i with beams: $(cat "$WORK/err")"
echo '{"ids": [5, 6, 7]}' >"$WORK/one.jsonl"
expect 0 "$SHOEHORN" run "$WORK/beams" --prompts "$WORK/one.jsonl" --ignore-eos --num-beams 1 \
  --num-return-sequences 1
[[ $(field "$WORK/out" '["ids"].__len__()') == 6 ]] || fail "max_length of --prompts"

# Many prompts: a line each as it is done, with what its line had beside it.
cat >"$WORK/prompts.jsonl" <<'LINES'
{"prompt": "Hello", "max_new_tokens": 4, "id": "a"}

{"ids": [5, 6, 7], "max_new_tokens": 1, "id": "b", "tag": [1, 2]}
{"prompt": 5, "id": "c"}
not json
{"ids": [1, 999999]}
LINES
python3 -c 'print("{\"ids\": [1], \"x\": " + "[" * 200000 + "]" * 200000 + "}")' \
  >>"$WORK/prompts.jsonl"
expect 1 "$SHOEHORN" run "$model" --prompts "$WORK/prompts.jsonl" --ignore-eos --stats
python3 - "$WORK/out" <<'CHECK' || fail "run --prompts: $(cat "$WORK/out")"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
good = {line["id"]: line for line in lines if "error" not in line}
assert sorted(good) == ["a", "b"], good
assert [line["id"] for line in lines if "error" not in line] == ["b", "a"]
assert good["b"]["tag"] == [1, 2] and good["b"]["index"] == 1 and good["b"]["line"] == 3
assert len(good["a"]["ids"]) == 4 and good["a"]["text"] and "prompt" not in good["a"]
bad = sorted((line["line"], line["error"]) for line in lines if "error" in line)
assert [number for number, _ in bad] == [4, 5, 6, 7], bad
assert all(f"line {number}:" in error for number, error in bad), bad
assert "vocabulary" in bad[2][1]
CHECK
cp "$WORK/out" "$WORK/out.prompts"
grep -q 'new tok/s' "$WORK/err" || fail "run --prompts --stats"
expect 0 "$SHOEHORN" run "$model" -p Hello -n 4 --ignore-eos --json
[[ $(field "$WORK/out" '["ids"]') == "$(python3 -c '
import json, sys
for line in map(json.loads, open(sys.argv[1])):
    if line.get("id") == "a": print(line["ids"])' "$WORK/out.prompts")" ]] || fail "run --prompts ids"
expect 2 "$SHOEHORN" run "$model" -p Hello --prompts "$WORK/prompts.jsonl"
expect 1 "$SHOEHORN" run "$model" --prompts "$WORK/no-such-file"
expect 0 "$SHOEHORN" run "$model" -p Hello -n 4 --kv-dtype int8

# Wrong usage is 2, what cannot be met is 1; both say what to do.
expect 2 "$SHOEHORN" run
expect 2 "$SHOEHORN" run "$model" -p x --max-memory cpu
grep -q 'DEVICE=SIZE' "$WORK/err" || fail "max-memory message"
expect 2 "$SHOEHORN" run "$model" -p x --dtype int3
expect 2 "$SHOEHORN" run "$model" -p x --max-memory cpu=10QB
expect 1 "$SHOEHORN" run "$WORK/nothing" -p x
expect 1 "$SHOEHORN" run "$model" -p x --max-memory cpu=2MiB
grep -q 'smallest that works' "$WORK/err" || fail "plan message"
expect 1 "$SHOEHORN" run "$llama" -p x
grep -q -- '--ids' "$WORK/err" || fail "no-tokenizer message"

expect 0 "$SHOEHORN" plan "$model" --json
for key in device_map bytes footprint_bytes kv_cache_bytes workspace_bytes staging_bytes predicted; do
  field "$WORK/out" "[\"$key\"]" >/dev/null || fail "plan --json has no $key"
done
expect 0 "$SHOEHORN" plan --tree "$TEST_DATA/device-map-cases.json" --json
[[ $(field "$WORK/out" '.__len__()') == 124 ]] || fail "plan --tree"
expect 0 "$SHOEHORN" plan "$model" --svg "$WORK/plan.svg"
grep -q '</svg>' "$WORK/plan.svg" || fail "plan --svg"
expect 0 "$SHOEHORN" inspect "$model"
grep -q LlamaDecoderLayer "$WORK/out" || fail "inspect"

# Models without files.
expect 0 "$SHOEHORN" run --synthetic "$llama" --ids 5,6,7 -n 3 --ignore-eos --json
[[ $(field "$WORK/out" '["ids"].__len__()') == 3 ]] || fail "run --synthetic"
expect 0 "$SHOEHORN" logits --synthetic "$llama" --ids 1,2 --out "$WORK/s0.safetensors" \
  --device-map cpu
expect 0 "$SHOEHORN" logits --synthetic "$llama" --ids 1,2 --out "$WORK/s1.safetensors" \
  --device-map disk
cmp "$WORK/s0.safetensors" "$WORK/s1.safetensors" || fail "--synthetic on disk"
expect 0 "$SHOEHORN" logits --synthetic "$llama" --synthetic-seed 1 --ids 1,2 \
  --out "$WORK/s1.safetensors" --device-map cpu
! cmp -s "$WORK/s0.safetensors" "$WORK/s1.safetensors" || fail "--synthetic-seed"
expect 0 "$SHOEHORN" bench --synthetic "$llama" --prompt-tokens 8 --gen-tokens 4 \
  --device-map disk --repetitions 1 --no-probe --json
expect 0 "$SHOEHORN" plan --synthetic llama-3-8b --assume 0=80GiB@3TB/s,link=50GB/s
expect 0 "$SHOEHORN" inspect --synthetic llama-3-8b
expect 2 "$SHOEHORN" run --synthetic llama-9b --ids 1
grep -q 'llama-3-8b' "$WORK/err" || fail "--synthetic message"
expect 2 "$SHOEHORN" run "$llama" --synthetic llama-3-8b --ids 1
expect 2 "$SHOEHORN" run "$llama" --synthetic-seed 1 --ids 1
expect 1 "$SHOEHORN" run --synthetic "$llama" -p x
grep -q -- '--ids' "$WORK/err" || fail "--synthetic has no tokenizer"
expect 2 "$SHOEHORN" quantize --synthetic "$llama" "$WORK/quantized"

# Both spellings of a config give the same logits, and so does a map over virtual devices.
expect 0 "$SHOEHORN" logits "$llama" --ids 1,2,3,4 --out "$WORK/a.safetensors"
expect 0 "$SHOEHORN" logits "$llama" --ids 1,2,3,4 --out "$WORK/b.safetensors" \
  --config "$llama/config.v4.json"
cmp "$WORK/a.safetensors" "$WORK/b.safetensors" || fail "config.v4.json"
expect 0 env SHOEHORN_VIRTUAL_DEVICES=2x64MiB "$SHOEHORN" logits "$llama" --ids 1,2,3,4 \
  --out "$WORK/c.safetensors" --max-memory 0=1MiB,1=64MiB,cpu=1GiB --device-map sequential
cmp "$WORK/a.safetensors" "$WORK/c.safetensors" || fail "virtual devices"

echo '{"text": "Hello"}' >"$WORK/in"
"$SHOEHORN" tokenize "$model" --jsonl <"$WORK/in" >"$WORK/out"
"$SHOEHORN" tokenize "$model" --jsonl --decode --skip-special <"$WORK/out" >"$WORK/back"
[[ $(field "$WORK/back" '["text"]') == Hello ]] || fail "tokenize there and back"

# Either there are cards, or it says why not.
expect 0 env -u CUDA_VISIBLE_DEVICES "$SHOEHORN" doctor --json
[[ $(field "$WORK/out" '["cuda"]["cards"].__len__() > 0') == \
   $(field "$WORK/out" '["cuda"]["obstacle"] == ""') ]] || fail "doctor: cards without a reason"
expect 0 "$SHOEHORN" doctor --json
[[ $(field "$WORK/out" '["cuda"]["obstacle"] != "" and not d["cuda"]["cards"]') == True ]] ||
  fail "doctor: hidden cards"

printf 'Some words that are not there to be read. %.0s' {1..20} >"$WORK/text"
expect 0 "$SHOEHORN" eval "$model" --text "$WORK/text" --context 64 --stride 32 --json
[[ $(field "$WORK/out" '["perplexity"] > 1') == True ]] || fail "eval"
expect 0 "$SHOEHORN" bench "$model" --prompt-tokens 8 --gen-tokens 4 --batch 3 --no-probe --json
[[ $(field "$WORK/out" '["batch"]') == 3 ]] || fail "bench --batch"
expect 0 "$SHOEHORN" bench "$model" --prompt-tokens 8 --gen-tokens 4 --no-probe --json
for key in load_s ttft_s prefill_tok_s decode_tok_s peak_bytes weight_bytes share_of_limit; do
  field "$WORK/out" "[\"$key\"]" >/dev/null || fail "bench --json has no $key"
done
