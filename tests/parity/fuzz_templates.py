#!/usr/bin/env python3
"""Renders random templates with shoehorn and with jinja2, and prints every difference.

    tests/parity/fuzz_templates.py build/dev/shoehorn [--count 20000] [--seed 1]
    tests/parity/fuzz_templates.py build/dev/shoehorn --conversations tests/data/chat-templates

The first form puts expressions together from a grammar of everything that docs and templates use:
values, operators, methods, filters, tests, statements. The second renders the real templates over random
conversations. jinja2 runs in transformers' environment: immutable sandbox, trim_blocks, lstrip_blocks,
loop controls, its tojson. Where both fail, the messages are not compared. The exit code is 1 where a
rendering differs, or only one of the two fails. Needs jinja2 3.1.6.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = "2025-03-07T09:05:04"
CONTEXT = {
    "l": [1, 2, 3], "e": [], "n": None, "t": True, "f": 1.5, "i": 7, "z": 0,
    "s": "hello World", "u": "Zażółć 日本 🎉 ß İ", "w": "  a\tb \n c ", "q": "it's \"q\" \\ \x01",
    "d": {"a": 1, "b": "x", "c": [True, None, 1.5], "items": 5},
    "m": [{"role": "user", "content": "U1"}, {"role": "assistant", "content": " A1\n"},
          {"role": "user", "content": "U2", "tool": {"x": [1, {"y": "é"}]}}],
}


class Raised(Exception):
    pass


def environment() -> jinja2.Environment:
    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = datetime.datetime.fromisoformat(NOW).strftime
    return env


def theirs(env, source: str, variables: dict) -> str | None:
    try:
        return env.from_string(source).render(**variables)
    except Exception:  # noqa: BLE001: any failure counts as one
        return None


class Grammar:
    """Random templates. What has no one answer (addresses, locale, hash order) is left out."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def pick(self, *choices):
        return self.rng.choice(choices)

    def text(self) -> str:
        words = ["", "a", "ab", " a b ", "A-b c", "x\ty", "é日", "🎉", "it's", '"', "\\", "a,b,,c", "<b>&",
                 "12", "-3.5", "0x1f", "%", "{}", "{0}", "\n", "a\nb\n\nc", "ΑΣ", "ǆ", "\u00a0x\u2028"]
        return json.dumps(self.rng.choice(words), ensure_ascii=self.rng.random() < 0.5).replace(
            "\\/", "/")

    def atom(self) -> str:
        return self.pick("l", "e", "n", "t", "f", "i", "z", "s", "u", "w", "q", "d", "m", "missing", "1",
                         "0", "-1", "2", "2.5", "1e16", "1e-5", "true", "false", "none", "[]", "{}", "()",
                         "[1, 'a', none]", "('x', 2)", "{'k': [1]}", self.text(), self.text(), "range(4)",
                         "m[0]", "m[2].tool", "d.a", "d['items']", "l[-1]", "s[1:4]", "u[::-1]", "l[::2]")

    def method(self) -> str:
        t = self.text
        return self.pick(
            "strip()", f"strip({t()})", "lstrip()", "rstrip()", "upper()", "lower()", "title()",
            "capitalize()", "swapcase()", "split()", f"split({t()})", f"split({t()}, 1)", "split(none, 1)",
            "rsplit(none, 1)", f"rsplit({t()}, 1)", "splitlines()", f"replace({t()}, {t()})",
            f"replace({t()}, {t()}, 1)", f"startswith({t()})", f"endswith(({t()}, {t()}))", f"find({t()})",
            f"rfind({t()})", f"count({t()})", f"partition({t()})", f"rpartition({t()})", "zfill(5)",
            "center(9, '*')", "ljust(6)", "rjust(6, '.')", "isdigit()", "isalpha()", "isspace()",
            "isupper()", "islower()", "istitle()", "isalnum()", "isnumeric()", "isdecimal()",
            f"join({self.atom()})", f"removeprefix({t()})", f"removesuffix({t()})", "items()|list",
            "keys()|list", "values()|list", "get('a')", "get('zz', 3)", "index(2)", "count(1)", "copy()",
            "expandtabs(4)", f"format({self.atom()}, 1)")

    def filter(self) -> str:
        return self.pick(
            "upper", "lower", "title", "capitalize", "trim", "length", "string", "list", "first", "last",
            "tojson", "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(sort_keys=true)", "join",
            "join(', ')", "join('-', attribute='role')", "default('D')", "default('D', true)", "int",
            "int(9)", "float", "abs", "round", "round(1)", "round(1, 'floor')", "reverse|list", "sort",
            "sort(reverse=true)", "unique|list", "sum", "min", "max", "map('upper')|list",
            "map('string')|list", "map(attribute='role')|list", "map(attribute='tool.x')|list",
            "select|list", "reject|list", "select('string')|list", "select('gt', 1)|list",
            "selectattr('role', 'equalto', 'user')|list", "rejectattr('tool')|list", "items|list",
            "indent", "indent(2, true)", "indent('> ', blank=true)", f"replace({self.text()}, '_')", "e",
            "wordcount", "dictsort", "batch(2)|list", "slice(2)|list", "center(11)", "truncate(9)",
            "attr('a')", "urlencode", "count", "safe|length", "format(1)", "groupby('role')|list")

    def test(self) -> str:
        return self.pick("defined", "undefined", "none", "string", "number", "integer", "float", "boolean",
                         "mapping", "sequence", "iterable", "true", "false", "odd", "even", "lower", "upper",
                         "divisibleby 2", "eq 1", "ne 1", "lt 2", "ge 2", "in [1, 'a']", "sameas none",
                         "callable")

    def expression(self, depth: int) -> str:
        if depth <= 0:
            return self.atom()
        e = lambda: self.expression(depth - 1)  # noqa: E731
        kind = self.rng.randrange(14)
        if kind < 3:
            return f"{e()} {self.pick('+', '-', '*', '/', '//', '%', '**', '~', '~', '+')} {self.atom()}"
        if kind == 3:
            return f"({e()}) {self.pick('==', '!=', '<', '<=', '>', '>=', 'in', 'not in')} {e()}"
        if kind == 4:
            return f"{e()} {self.pick('and', 'or')} {e()}"
        if kind == 5:
            return f"{self.pick('not ', '-', '+')}({e()})"
        if kind == 6:
            return f"({e()} if {e()} else {e()})"
        if kind < 9:
            return f"({e()})|{self.filter()}"
        if kind < 11:
            return f"({e()}).{self.method()}"
        if kind == 11:
            return f"({e()}) is {self.pick('', 'not ')}{self.test()}"
        if kind == 12:
            return f"({e()})[{self.pick('0', '-1', '1:', ':2', '::-1', self.text(), '::2', '-2:')}]"
        return f"[{e()}, {e()}]"

    def body(self, depth: int) -> str:
        return "".join(self.statement(depth) for _ in range(self.rng.randrange(1, 4)))

    def statement(self, depth: int) -> str:
        space = lambda: self.pick("", "", " ", "\n", "\n  ", "  \n", "\t")  # noqa: E731
        b, close = self.pick("{%", "{%-", "{%+", "{%"), self.pick("%}", "-%}", "%}", "+%}")
        out = f"{{{{{self.pick('', '-', ' ')} {self.expression(self.rng.randrange(3))} {self.pick('', '-')}}}}}"
        kind = self.rng.randrange(12) if depth > 0 else 0
        if kind < 4:
            return space() + self.pick("x", "", "a b") + out + space()
        inner = self.body(depth - 1)
        if kind == 4:
            return f"{space()}{b} if {self.expression(1)} {close}{inner}{b} else {close}y{b} endif {close}"
        if kind == 5:
            return (f"{space()}{b} for x in {self.expression(1)} {close}{{{{ x }}}}{{{{ loop.index }}}}"
                    f"{{{{ loop.last }}}}{inner}{b} else {close}none{b} endfor {close}")
        if kind == 6:
            return (f"{b} for k in l if k != {self.pick('1', '2', '9')} {close}{{{{ k }}}}"
                    f"{{{{ loop.length }}}}{{% if k == 3 %}}{{% {self.pick('break', 'continue')} %}}"
                    f"{{% endif %}}{b} endfor {close}")
        if kind == 7:
            return f"{b} set v = {self.expression(1)} {close}{inner}{{{{ v }}}}"
        if kind == 8:
            return f"{b} set v {close}{inner}{b} endset {close}[{{{{ v }}}}]"
        if kind == 9:
            return (f"{b} macro f(a, b=2) {close}{{{{ a }}}}|{{{{ b }}}}{b} endmacro {close}"
                    f"{{{{ f({self.atom()}) }}}}{{{{ f(b={self.atom()}) }}}}")
        if kind == 10:
            return f"{b} set ns = namespace(c=0) {close}{b} for x in l {close}{b} set ns.c = ns.c + x {close}" \
                   f"{b} endfor {close}{{{{ ns.c }}}}{{# comment #}}"
        return f"{b} filter {self.pick('upper', 'trim', 'length')} {close}{inner}{b} endfilter {close}"


def ours(program: str, source: str, lines: list[dict]) -> list[dict]:
    with tempfile.NamedTemporaryFile("w", suffix=".jinja", encoding="utf-8", newline="") as file:
        file.write(source)
        file.flush()
        done = subprocess.run([program, "template", file.name, "--jsonl"], text=True, encoding="utf-8",
                              input="".join(json.dumps(line) + "\n" for line in lines),
                              capture_output=True, check=True)
    # Not splitlines(): texts hold U+2028 as it is.
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def random_conversation(rng: random.Random) -> dict:
    texts = ["Hi", "", "  spaced \n", "日本 🎉", "{{ x }} {% if %}", "<|im_end|>", "a'b\"c\\"]
    messages = []
    if rng.random() < 0.5:
        messages.append({"role": "system", "content": rng.choice(texts)})
    for _ in range(rng.randrange(1, 5)):
        messages.append({"role": "user", "content": rng.choice(texts)})
        answer = {"role": "assistant", "content": rng.choice([*texts, "<think>a</think>b"])}
        if rng.random() < 0.2:
            answer["tool_calls"] = [{"type": "function", "function": {
                "name": "f", "arguments": {"x": rng.choice([1, 1.5, "é", None, [1, {"y": True}]])}}}]
        messages.append(answer)
    if rng.random() < 0.7:
        messages.pop()
    line = {"messages": messages, "add_generation_prompt": rng.random() < 0.5, "bos_token": "<s>",
            "eos_token": "</s>", "tools": None, "documents": None}
    if rng.random() < 0.3:
        line["tools"] = [{"type": "function", "function": {
            "name": "f", "description": "Does <f>", "parameters": {"type": "object", "properties": {
                "x": {"type": rng.choice(["string", "number", "array"]), "description": "an x"}}}}}]
    if rng.random() < 0.3:
        line["enable_thinking"] = rng.random() < 0.5
    return line


def report(source: str, line: dict, expected: str | None, found: dict) -> bool:
    text = found.get("text")
    if text == expected:
        return False
    # What shoehorn leaves out on purpose.
    message = found.get("error", {}).get("message", "")
    if "not supported" in message or found.get("error", {}).get("kind") == "limit":
        return False
    print("template:", json.dumps(source), "\n  jinja2:  ", json.dumps(expected), "\n  shoehorn:",
          json.dumps(found), flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--conversations", type=pathlib.Path)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    env = environment()
    compared = failed = differences = 0
    if args.conversations:
        for path in sorted(args.conversations.glob("*.jinja")):
            source = path.read_text(encoding="utf-8")
            if "{% generation" in source or "{%- generation" in source:
                continue
            lines = [random_conversation(rng) for _ in range(args.count)]
            for line, found in zip(lines, ours(args.program, source, [{**l, "now": NOW} for l in lines]),
                                   strict=True):
                expected = theirs(env, source, line)
                compared += 1
                failed += expected is None
                differences += report(path.name, line, expected, found)
    else:
        grammar = Grammar(rng)
        for _ in range(args.count):
            source = grammar.body(2)
            expected = theirs(env, source, {**CONTEXT, "messages": [], "tools": None, "documents": None,
                                            "add_generation_prompt": False})
            found = ours(args.program, source, [{**CONTEXT, "now": NOW}])[0]
            compared += 1
            failed += expected is None
            differences += report(source, CONTEXT, expected, found)
    print(f"{compared} renderings, {failed} of them failures in both or one, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
