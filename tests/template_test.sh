#!/usr/bin/env bash
# `shoehorn template` as scripts meet it: every recorded template, line by line, and what a hostile one
# gets.
set -euo pipefail

fail() { echo "FAILED: $*" >&2; exit 1; }
command -v python3 >/dev/null || { echo "no python3 here" >&2; exit 77; }

# The recorded conversations of each template through --jsonl, in one run a template.
python3 - "$SHOEHORN" "$TEST_DATA/chat-templates" <<'PYTHON'
import json, pathlib, subprocess, sys
program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
count = 0
for path in sorted(folder.glob("*.cases.json")):
    if path.name == "jinja-micro.cases.json":
        continue
    recorded = json.loads(path.read_text())
    lines = []
    for case in recorded["cases"]:
        line = {"messages": case["messages"], "now": recorded["now"], **recorded["special_tokens"], **case["kwargs"]}
        line.update({key: case[key] for key in ("tools", "documents") if key in case})
        lines.append(json.dumps(line))
    done = subprocess.run([program, "template", str(folder / recorded["template"]), "--jsonl"],
                          input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines), path
    for case, answer in zip(recorded["cases"], answers):
        count += 1
        if "expected" in case:
            assert answer == {"text": case["expected"]}, (path.name, case["name"], answer)
        else:
            error = answer["error"]
            assert case["error"]["kind"] != "raise_exception" or error["message"] == case["error"]["message"], (path.name, case["name"], answer)
assert count > 700, count
PYTHON

# From a model: its file, its special tokens, its named templates.
model=$WORK/model
mkdir "$model"
cat >"$model/tokenizer_config.json" <<'JSON'
{"bos_token": {"content": "<s>", "special": true}, "eos_token": "</s>",
 "chat_template": [{"name": "default", "template": "{{ bos_token }}D{{ messages[0].content }}"},
                   {"name": "tool_use", "template": "T{{ tools | length }}{{ eos_token }}"}]}
JSON
one() { echo "$1" | "$SHOEHORN" template "$model" --jsonl; }
[[ $(one '{"messages": [{"role": "user", "content": "é"}]}') == '{"text":"<s>Dé"}' ]] || fail "default"
[[ $(one '{"messages": [], "tools": [1, 2]}') == '{"text":"T2</s>"}' ]] || fail "tool_use"
[[ $(one '{"messages": 5, "bos_token": "B"}') == *error* ]] || fail "messages that are none"
[[ $(one 'no json') == *'"kind":"request"'* ]] || fail "a line that is no JSON"
echo '{{ bos_token }}F{{ messages | length }}{% if add_generation_prompt %}!{% endif %}' >"$model/chat_template.jinja"
[[ $(one '{"messages": []}') == '{"text":"<s>F0"}' ]] || fail "chat_template.jinja wins"
[[ $("$SHOEHORN" template "$model" -p x --system y) == '<s>F2!' ]] || fail "-p"
rm "$model"/*
expect_status 1 "$SHOEHORN" template "$model" -p x
expect_status 1 "$SHOEHORN" template "$TEST_DATA/tiny-llama" -p x
expect_text stderr 'no chat template'
# What GGUF files carry.
[[ -n $("$SHOEHORN" template "$TEST_DATA/gguf/tiny-quantized.gguf" -p x) ]] || fail "GGUF"

# Templates of strangers: within a second and 64 MiB more than nothing takes, and a reason.
hostile() {
  echo "$1" >t.jinja
  python3 - "$SHOEHORN" <<'PYTHON' || fail "hostile: $1"
import json, resource, subprocess, sys, time
def used(arguments):
    start = time.monotonic()
    done = subprocess.run(arguments, input='{"messages": []}\n', capture_output=True, text=True)
    return done, time.monotonic() - start
done, seconds = used([sys.argv[1], "template", "t.jinja", "--jsonl"])
error = json.loads(done.stdout)["error"] if done.stdout else {"kind": "compile", "message": done.stderr}
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{seconds:.2f} s, {peak:.0f} MiB, {error['kind']}: {error['message'][:100]}", file=sys.stderr)
assert error["kind"] in ("limit", "compile", "runtime"), error
assert peak < 64 + 32, peak  # the program itself included
assert seconds < 5, seconds  # 1 s on a machine that does nothing else
PYTHON
}
hostile '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}'
hostile '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}'
hostile "{{ 'a' * 1000000000 }}"
hostile "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
hostile "{% for i in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }}{% endfor %}"
hostile "{{ (((((((((10 ** 10) ** 10) ** 10) ** 10) ** 10) ** 10) ** 10) ** 10) ** 10) }}"
hostile "$(printf '(%.0s' {1..200000} | sed 's/^/{{ /; s/$/ }}/')"
