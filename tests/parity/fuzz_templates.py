#!/usr/bin/env python3
"""Renders random templates with shoehorn and with jinja2, and prints every difference.

    tests/parity/fuzz_templates.py build/dev/shoehorn [--count 20000] [--seed 1]
    tests/parity/fuzz_templates.py build/dev/shoehorn --conversations tests/data/chat-templates

The first form makes templates out of a grammar of everything that docs and templates use
(template_grammar.py) and renders each over four sets of variables. The second renders the real templates
over random conversations. jinja2 runs in transformers' own environment: its sandbox, extensions, tojson,
namespace and dict, its copies of reasoning texts. Where both fail, the messages are not compared. What
shoehorn leaves out on purpose ("not supported", a limit, escaped text that is no longer a plain text) is
counted apart, and so is what prints an address. The exit code is 1 where a rendering differs, or only one of the two fails. Needs jinja2 3.1.6 and
transformers 5.24.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import jinja2
import markupsafe
from transformers.utils import chat_template_utils

import random_text  # beside this file
import template_grammar  # beside this file

NOW = "2025-03-07T09:05:04"
BATCH = 120
# What expressions of random templates refer to.
PRELUDE = "{% set ns = namespace(c=0) %}{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{% macro g(a, b=a) %}{{ a }}{% endmacro %}"


ESCAPES = re.compile(r"\b(e|escape|forceescape|safe)\b")


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromisoformat(NOW)


chat_template_utils.datetime = FixedClock


class CompileError(list):
    """The same error for every line."""


def theirs(source: str, lines: list[dict]) -> list[str | Exception]:
    """What transformers gives for each line, or what it raises."""
    try:
        template = chat_template_utils._cached_compile_jinja_template(source)
    except Exception as error:  # noqa: BLE001: any failure counts as one
        return CompileError([error] * len(lines))
    out: list[str | Exception] = []
    for line in lines:
        variables = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": False, **line}
        variables["messages"] = chat_template_utils._alias_reasoning_fields(variables["messages"])
        try:
            out.append(template.render(**variables))
        except Exception as error:  # noqa: BLE001
            out.append(error)
    return out


def theirs_as_plain_text(source: str, line: dict) -> str | Exception:
    """The same where escaped text is text like any other, and not a Markup that escapes what is added to it."""
    try:
        environment = chat_template_utils._cached_compile_jinja_template(source).environment
    except Exception as error:  # noqa: BLE001
        return error
    kept = dict(environment.filters)
    for name in ("e", "escape", "forceescape"):
        environment.filters[name] = lambda value: str(markupsafe.escape(str(value)))
    environment.filters["safe"] = str
    try:
        variables = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": False, **line}
        variables["messages"] = chat_template_utils._alias_reasoning_fields(variables["messages"])
        return environment.from_string(source).render(**variables)
    except Exception as error:  # noqa: BLE001
        return error
    finally:
        environment.filters.clear()
        environment.filters.update(kept)


def run(program: str, model: pathlib.Path, lines: list[dict]) -> list[dict] | str:
    """What shoehorn prints for each line, or why it does not start."""
    done = subprocess.run(
        [program, "template", str(model), "--jsonl"],
        text=True,
        encoding="utf-8",
        input="".join(json.dumps({**line, "now": NOW}) + "\n" for line in lines),
        capture_output=True,
    )
    if done.returncode == 1:
        return done.stderr.strip()
    if done.returncode != 0:
        return f"CRASH {done.returncode}: {done.stderr[-500:]}"
    # Not splitlines(): texts hold U+2028 as it is.
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def ours(program: str, sources: list[str], lines: list[list[dict]]) -> list[list[dict]]:
    """What shoehorn gives for every line of every template: one process for those that compile."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        named = [{"name": f"t{i}", "template": source} for i, source in enumerate(sources)]
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
        chosen = [{**line, "chat_template": f"t{i}"} for i, rows in enumerate(lines) for line in rows]
        out = run(program, folder, chosen)
        if not isinstance(out, str):
            out = iter(out)
            return [[next(out) for _ in rows] for rows in lines]
        if len(sources) > 1:
            half = len(sources) // 2
            return ours(program, sources[:half], lines[:half]) + ours(program, sources[half:], lines[half:])
        kind = "crash" if out.startswith("CRASH") else "error"
        return [[{kind: {"kind": "compile", "message": out}}] * len(lines[0])]


def random_tool(rng: random.Random, words: list[str]) -> dict:
    def schema(depth: int) -> dict:
        kind = rng.choice(["string", "number", "integer", "boolean", "array", "object", ["string", "null"]])
        out = {"type": kind, "description": rng.choice(words)}
        if kind == "array" and rng.random() < 0.8:
            out["items"] = schema(depth - 1) if depth > 0 else {"type": "string"}
        if kind == "object" and depth > 0:
            out["properties"] = {n: schema(depth - 1) for n in rng.sample(["x", "y", "items", "é"], 2)}
        if rng.random() < 0.2:
            out["enum"] = ["a", "b'c", '"d"']
        if rng.random() < 0.1:
            out["nullable"] = True
        if rng.random() < 0.1:
            out["default"] = template_grammar.random_value(rng, 1)
        return out

    names = rng.sample(["city", "unit", "days", "keys", "ü"], rng.randrange(4))
    parameters = {"type": "object", "properties": {name: schema(2) for name in names}}
    if rng.random() < 0.6:
        parameters["required"] = names[: rng.randrange(len(names) + 1)]
    function = {"name": rng.choice(["f", "get_weather", "browser.open", "python"]), "description": rng.choice(words)}
    if rng.random() < 0.9:
        function["parameters"] = parameters
    if rng.random() < 0.2:
        function["return"] = schema(1)
    return {"type": "function", "function": function} if rng.random() < 0.9 else function


def random_call(rng: random.Random, words: list[str]) -> dict:
    arguments = {name: template_grammar.random_value(rng) for name in rng.sample(["x", "city", "é"], rng.randrange(3))}
    function = {
        "name": rng.choice(["f", "get_weather"]),
        "arguments": json.dumps(arguments) if rng.random() < 0.2 else arguments,
    }
    call = {"type": "function", "function": function}
    if rng.random() < 0.6:
        call["id"] = rng.choice(["abcdefghi", "123456789", "call_1", rng.choice(words)])
    return call


def random_conversation(rng: random.Random) -> dict:
    """Messages as clients send them, with texts of all scripts; one in four breaks some rule of most templates."""
    odd = rng.random() < 0.25
    words = ["Hi", "", "  spaced \n", "日本 🎉", "{{ x }} {% if %}", "<|im_end|>", "a'b\"c\\", "[INST] x [/INST]"]
    words += [random_text.line(rng, ["<think>", "</think>", "\n", "<|eot_id|>"])[:200] for _ in range(3)]

    def content():
        kind = rng.random()
        if kind < 0.85 or not odd:
            return rng.choice(words)
        if kind < 0.95:
            parts = [{"type": "text", "text": rng.choice(words)} for _ in range(rng.randrange(3))]
            return parts + [{"type": "image"}] * rng.randrange(2)
        return rng.choice([None, 1, {"text": "x"}])

    messages = []
    if rng.random() < 0.5:
        messages.append({"role": "developer" if odd and rng.random() < 0.2 else "system", "content": content()})
    for _ in range(rng.randrange(1, 5)):
        messages.append({"role": "user", "content": content()})
        answer = {"role": "assistant", "content": rng.choice([*words, "<think>a</think>b", "<think>\n\n</think>\n\nc"])}
        if rng.random() < 0.2:
            answer[rng.choice(["reasoning_content", "thinking", "reasoning"])] = rng.choice([*words, None])
        if rng.random() < 0.25:
            answer["tool_calls"] = [random_call(rng, words) for _ in range(rng.choice([1, 1, 1, 2]))]
            if rng.random() < 0.5:
                answer["content"] = rng.choice([None, ""])
            elif odd:
                del answer["content"]
        messages.append(answer)
        for call in answer.get("tool_calls", []):
            if rng.random() < 0.8:
                reply = {"role": rng.choice(["tool", "tool", "ipython"]), "name": call["function"]["name"]}
                reply["content"] = rng.choice([*words, '{"t": 1}', {"t": 1.5, "é": [None]} if odd else ""])
                if "id" in call:
                    reply["tool_call_id"] = call["id"]
                messages.append(reply)
        if odd and rng.random() < 0.3:
            messages.append({"role": rng.choice(["user", "critic", "system"]), "content": content()})
    if rng.random() < 0.6:
        messages.pop()
    line = {"messages": messages, "add_generation_prompt": rng.random() < 0.5, "bos_token": "<s>", "eos_token": "</s>"}
    if rng.random() < 0.35:
        line["tools"] = [random_tool(rng, words) for _ in range(rng.randrange(4))]
    if rng.random() < 0.1:
        line["documents"] = [{"title": rng.choice(words), "text": rng.choice(words)}] * rng.randrange(3)
    for name, choices in {
        "enable_thinking": [True, False],
        "reasoning_effort": ["low", "high"],
        "model_identity": words,
        "builtin_tools": [["browser"], ["python", "browser"], ["code_interpreter", "brave_search"]],
        "tools_in_user_message": [True, False],
        "date_string": ["26 Jul 2024"],
        "custom_tools": [[]],
        "xml_tools": [["<tool>"]],
        "python_tools": [["def f(): pass"]],
        "thinking": [True, False],
        "controls": [{"length": "long", "originality": "abstractive"}],
    }.items():
        if rng.random() < 0.15:
            line[name] = rng.choice(choices)
    return line


class Count:
    def __init__(self, show: int):
        self.renderings = self.failures = self.left_out = self.addresses = self.differences = 0
        self.show = show
        self.last = ""

    def report(self, done: str) -> None:
        """A line of progress, while the differences go to the standard output as they are found."""
        print(f"{done}: {self.renderings} renderings, {self.differences} differences", file=sys.stderr, flush=True)

    def check(self, source: str, line: dict, expected: str | Exception, found: dict) -> None:
        self.renderings += 1
        failed = isinstance(expected, Exception)
        error = found.get("error")
        if not failed and " at 0x" in expected:
            self.addresses += 1
            return
        if failed and error is not None:
            self.failures += 1
            return
        if found.get("text") == expected:
            return
        if error is not None and ("not supported" in error["message"] or error["kind"] == "limit"):
            self.left_out += 1
            return
        if ESCAPES.search(source):
            plain = theirs_as_plain_text(source, line)
            if isinstance(plain, Exception) if error is not None else plain == found.get("text"):
                self.left_out += 1
                return
        self.differences += 1
        if self.differences > self.show or source == self.last:
            return
        self.last = source
        theirs = f"{type(expected).__name__}: {expected}" if failed else json.dumps(expected)
        variables = {k: v for k, v in line.items() if v != template_grammar.CONTEXT.get(k)}
        gone = "without " + ", ".join(template_grammar.CONTEXT.keys() - line.keys())
        print("template:", json.dumps(source, ensure_ascii=False), "\n  with:    ", json.dumps(variables), gone, flush=True)
        print("  jinja2:  ", theirs[:1500], "\n  shoehorn:", json.dumps(found)[:1500], flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=5000, help="templates, or conversations of each real template")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20, help="differences that are printed")
    parser.add_argument("--conversations", type=pathlib.Path, metavar="FOLDER", help="of real templates")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    count = Count(args.show)
    if args.conversations:
        for path in sorted(args.conversations.glob("*.jinja")):
            source = path.read_text(encoding="utf-8")
            lines = [random_conversation(rng) for _ in range(args.count)]
            found = ours(args.program, [source], [lines])[0]
            for row in zip(lines, theirs(source, lines), found, strict=True):
                count.check(path.name, *row)
            count.report(path.name)
    else:
        grammar = template_grammar.Grammar(rng)
        for done in range(0, args.count, BATCH):
            expressions = [grammar.any_expression(2) for _ in range(BATCH * 2 // 3)]
            sources = [f"{PRELUDE}{{{{ {expression} }}}}" for expression in expressions]
            sources += [grammar.template() for _ in range(BATCH - len(sources))]
            lines = [
                [template_grammar.CONTEXT] + [template_grammar.random_context(rng) for _ in range(3)] for _ in sources
            ]
            expected = [theirs(*row) for row in zip(sources, lines)]
            # Templates that jinja2 refuses are asked for alone.
            good = [i for i, row in enumerate(expected) if not isinstance(row, CompileError)]
            found = dict(zip(good, ours(args.program, [sources[i] for i in good], [lines[i] for i in good])))
            for i, source in enumerate(sources):
                if i not in found:
                    found[i] = ours(args.program, [source], [lines[i]])[0]
                for row in zip(lines[i], expected[i], found[i], strict=True):
                    count.check(source, *row)
                if i < len(expressions) and not isinstance(expected[i][0], Exception):
                    grammar.learn(expressions[i])
            count.report(f"{done + BATCH} templates")
    print(
        f"jinja2 {jinja2.__version__}, seed {args.seed}: {count.renderings} renderings, {count.failures} of them fail "
        f"in both, {count.left_out} use what shoehorn leaves out, {count.addresses} print an address; "
        f"{count.differences} differences"
    )
    return 1 if count.differences else 0


if __name__ == "__main__":
    sys.exit(main())
