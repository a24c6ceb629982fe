"""Random chat templates and variables for fuzz_templates.py: a grammar of everything that templates may use."""

from __future__ import annotations

import json
import random

CONTEXT = {
    "l": [1, 2, 3], "e": [], "n": None, "t": True, "f": 1.5, "i": 7, "z": 0,
    "s": "hello World", "u": "Zażółć 日本 🎉 ß İ", "w": "  a\tb \n c ", "q": "it's \"q\" \\ \x01",
    "d": {"a": 1, "b": "x", "c": [True, None, 1.5], "items": 5},
    "m": [{"role": "user", "content": "U1"}, {"role": "assistant", "content": " A1\n"},
          {"role": "user", "content": "U2", "tool": {"x": [1, {"y": "é"}]}}],
}  # fmt: skip

WORDS = [
    "", "a", "ab", " a b ", "A-b c", "x\ty", "é日", "🎉", "it's", '"', "\\", "a,b,,c", "<b>&", "12", "-3.5",
    "0x1f", "%", "{}", "{0}", "\n", "a\nb\n\nc", "ΑΣ", "ǆ", "\u00a0x\u2028", "hello", "World", "é", "\u1e9e",
    "x" * 50, "one two  three", "o", "l", "--", "1_000", "1e3", "inf", "nan", "½", "²", "٣", "\x1c", "\x7f",
    "ﬁ", "İI", "e\u0301", "%s", "{a}", "true", "None", "user", "\r\n", "a\rb",
]  # fmt: skip


def random_value(rng: random.Random, depth: int = 3):
    """A value of JSON."""
    kind = rng.randrange(12 if depth > 0 else 8)
    if kind < 3:
        return rng.choice(WORDS)
    if kind == 3:
        return rng.choice([None, True, False])
    if kind < 6:
        return rng.choice([0, 1, -1, 2, 3, 10, 255, 10**6, -(2**31), 2**53 + 1, 2**63])
    if kind < 8:
        return rng.choice([0.0, -0.0, 0.5, 1.5, 2.5, -2.5, 1e16, 1e-5, 123456.789, 0.1, 1e300, 2.675])
    if kind < 10:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["a", "b", "role", "x", "items", "get", "é", ""]): random_value(rng, depth - 1)
            for _ in range(rng.randrange(4))}  # fmt: skip


def random_context(rng: random.Random) -> dict:
    """CONTEXT with some variables replaced, by others' values or new ones, or left out."""
    result = dict(CONTEXT)
    for name in rng.sample(sorted(result), rng.randrange(1, 6)):
        kind = rng.randrange(4)
        if kind == 0:
            del result[name]
        elif kind == 1:
            result[name] = rng.choice(list(CONTEXT.values()))
        else:
            result[name] = random_value(rng)
    return result


class Grammar:
    """Random templates. What has no one answer (addresses, locale, hash order) is left out."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.blocks = 0
        self.pool: list[str] = []  # expressions that have a value; what is made of others would mostly fail

    def learn(self, expression: str) -> None:
        if len(expression) < 70 and len(self.pool) < 20_000:
            self.pool.append(expression)

    def pick(self, *choices):
        return self.rng.choice(choices)

    def text(self) -> str:
        """A string literal."""
        word = self.rng.choice(WORDS)
        kind = self.rng.randrange(10)
        if kind == 0 and "\\" not in word:  # as it is, in single quotes
            return "'" + word.replace("'", "\\'").replace("\r", "\\r") + "'"
        if kind == 1:
            return self.pick(r"'\q'", r"'\x41\u00e9'", r"'\U0001f389'", r"'\101\0'", "'a' 'b'", "'a\\\nb'",
                             r"'\a\b\f\v'", "'%}'", "'{{'", "'#}'", r'"\"\'"', r"'\''")  # fmt: skip
        # Not as pairs of surrogates, which are no characters to jinja2.
        return json.dumps(word, ensure_ascii=self.rng.random() < 0.5 and max(word, default="") < "\U00010000")

    def number(self) -> str:
        return self.pick("0", "1", "2", "3", "5", "-1", "-2", "10", "1_000", "0x1f", "0b101", "0o17", "2.5", "1.0",
                         "1e3", "1e16", "1e-5", "0.1", "1_0.5", "123456789", "1e22", "9007199254740993", "100",
                         "7.25e-3", "0.30000000000000004")  # fmt: skip

    def index(self) -> str:
        return self.pick("0", "1", "2", "-1", "-2", "3", "10", "-10", "none", "i", "z", "true", "")

    def atom(self) -> str:
        return self.pick("l", "e", "n", "t", "f", "i", "z", "s", "u", "w", "q", "d", "m", "missing", "v", "x", "ns.c",
                         self.number(), self.number(), "true", "false", "none", "True", "None", "[]", "{}", "()",
                         "[1, 'a', none]", "('x', 2)", "(1,)", "{'k': [1], 2: 'two'}", self.text(), self.text(),
                         self.text(), "range(4)", "range(1, 10, 3)", "range(5, 0, -2)", "m[0]", "m[2].tool", "d.a",
                         "d['items']", "l[-1]", "l.0", "s[1:4]", "u[::-1]", "l[::2]", "m|length", "x.y",
                         "loop.index", "loop", "namespace(a=1)", "dict(a=1, b=[2])", "dict([('k', 1)])",
                         "messages", "tools", "add_generation_prompt", "bos_token", "m[1].content",
                         "missing.attribute", "d._x", "'%s' % s", "'%d|%5.2f|%r' % (i, f, s)", "'%x %o %e' % (i, i, f)",
                         "'%-5s|%05d|%+d' % (s, i, i)", "strftime_now('%d %b %Y %H:%M:%S %j %p %I %y %A %B %%')",
                         "'{:>8}|{:<4}|{:^7}'.format(s, i, t)", "'{a}{0!r}'.format(s, a=1)",
                         "'{:,} {:.2f} {:08.3f} {:x}'.format(i, f, f, i)", "'{0[a]} {1.x}'.format(d, l)",
                         "cycler(1, 2).next()", "joiner()()", "d.get('a')", "l is defined")  # fmt: skip

    def method(self) -> str:
        t = self.text
        return self.pick(
            "strip()", f"strip({t()})", "lstrip()", f"rstrip({t()})", "rstrip()", "upper()", "lower()", "title()",
            "capitalize()", "swapcase()", "split()", f"split({t()})", f"split({t()}, 1)", "split(none, 1)",
            f"split(sep={t()}, maxsplit={self.number()})", "rsplit(none, 1)", f"rsplit({t()}, 1)", "splitlines()",
            "splitlines(true)", f"replace({t()}, {t()})", f"replace({t()}, {t()}, 1)", f"startswith({t()})",
            f"startswith({t()}, 1)", f"endswith(({t()}, {t()}))", f"find({t()})", f"find({t()}, 1, -1)",
            f"rfind({t()})", f"count({t()})", f"index({t()})", f"partition({t()})", f"rpartition({t()})", "zfill(5)",
            "center(9, '*')", "ljust(6)", "rjust(6, '.')", "isdigit()", "isalpha()", "isspace()", "isupper()",
            "islower()", "istitle()", "isalnum()", "isnumeric()", "isdecimal()", "isascii()", "isprintable()",
            f"join({self.atom()})", f"removeprefix({t()})", f"removesuffix({t()})", "items()|list", "items()",
            "keys()|list", "keys()", "values()|list", "get('a')", "get('zz', 3)", "get('a', {}).b", "index(2)",
            "count(1)", "copy()", "expandtabs(4)", f"format({self.atom()}, 1)", "append(1)", "pop()", "update({})",
            "unknown()", "strip(1)", "split('')", "fromkeys('ab')", "sort()")  # fmt: skip

    def filter(self) -> str:
        t, e = self.text, self.atom
        return self.pick(
            "upper", "lower", "title", "capitalize", "trim", f"trim({t()})", "length", "string", "list", "first",
            "last", "tojson", "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(sort_keys=true)",
            "tojson(separators=(',', ':'))", "tojson(indent='\t')", "tojson(indent=0)", "tojson(indent=4, ensure_ascii=true)",
            "join", "join(', ')", "join('-', attribute='role')", "join(attribute='content')", f"join({e()})",
            "default('D')", "default('D', true)", "d(1)", f"default({e()}, boolean=true)", "int", "int(9)",
            "int(base=16)", "float", "float(1)", "abs", "round", "round(1)", "round(1, 'floor')", "round(-1)",
            "round(0, 'ceil')", "round(2)|string", "reverse|list", "reverse", "sort", "sort(reverse=true)",
            "sort(attribute='role')", "sort(case_sensitive=true)", "sort(attribute='role,content')", "unique|list",
            "unique(true)|list", "unique(attribute='role')|list", "sum", "sum(attribute='a')", "sum(start=10)",
            "min", "max", "max(attribute='role')", "map('upper')|list", "map('string')|list", "map('length')|list",
            "map('default', 'D')|join", "map('int')|sum", "map('tojson')|join(';')", "map('trim')|list",
            "map(attribute='role')|list", "map(attribute='tool.x')|list", "map(attribute='tool', default='-')|list",
            "map(attribute='tool.x.0', default='-')|list", "map('replace', 'a', 'b')|list", "map('unknown')|list",
            "select|list", "reject|list", "select('string')|list", "select('gt', 1)|list", "select('in', [1, 'a'])|list",
            "reject('none')|list", "select('odd')|list", "reject('equalto', 1)|list", "select('unknown')|list",
            "selectattr('role', 'equalto', 'user')|list", "selectattr('role', '==', 'user')|map(attribute='content')|join",
            "selectattr('tool', 'defined')|list|length", "selectattr('tool.x')|list", "rejectattr('tool')|list",
            "rejectattr('role', 'in', ['user'])|list", "selectattr('role')|first", "items|list", "items", "indent",
            "indent(2, true)", "indent('> ', blank=true)", "indent(width=3, first=true)", f"replace({t()}, '_')",
            f"replace({t()}, {t()}, 1)", "replace('', '-')", "e", "escape", "wordcount", "dictsort", "dictsort(true)",
            "dictsort(by='value')", "dictsort(reverse=true)", "batch(2)|list", "batch(2, '-')|list", "slice(2)|list",
            "slice(3, 'f')|map('list')|list", "center(11)", "truncate(9)", "truncate(9, true)", "truncate(5, true, '')",
            "truncate(9, leeway=0)", "attr('a')", "attr('_a')", "attr('items')", "urlencode", "count", "safe",
            "safe|length", "format(1)", "format(s, i)", "groupby('role')|list", "groupby('role')|map(attribute=0)|list",
            "filesizeformat", "filesizeformat(true)", "striptags", "pprint", "forceescape", "unknown_filter",
            "first|upper", "last|tojson", "list|tojson", "list|length", "string|length")  # fmt: skip

    def test(self) -> str:
        return self.pick("defined", "undefined", "none", "string", "number", "integer", "float", "boolean",
                         "mapping", "sequence", "iterable", "true", "false", "odd", "even", "lower", "upper",
                         "divisibleby 2", "divisibleby(3)", "eq 1", "eq 'a'", "ne 1", "lt 2", "ge 2", "gt(1)", "le 1.5",
                         "in [1, 'a']", "in l", "in s", "sameas none", "sameas(true)", "callable", "escaped",
                         "equalto('a')", "filter", "test", "unknown_test", "lessthan 3", "greaterthan i")  # fmt: skip

    def expression(self, depth: int) -> str:
        """Mostly one that is known to have a value."""
        if depth <= 0:
            return self.atom()
        return self.rng.choice(self.pool) if self.pool and self.rng.random() < 0.95 else self.any_expression(depth)

    def any_expression(self, depth: int) -> str:
        e = lambda: self.expression(depth - 1)  # noqa: E731
        kind = self.rng.randrange(19)
        if kind < 3:
            return f"{e()} {self.pick('+', '-', '*', '/', '//', '%', '**', '~', '~', '+')} {self.atom()}"
        if kind == 3:
            return f"({e()}) {self.pick('==', '!=', '<', '<=', '>', '>=', 'in', 'not in')} {e()}"
        if kind == 4:
            return f"{e()} {self.pick('and', 'or')} {e()}"
        if kind == 5:
            return f"{self.pick('not ', '-', '+', 'not not ', '--')}{self.pick('(' + e() + ')', self.atom())}"
        if kind == 6:
            return self.pick(f"({e()} if {e()} else {e()})", f"({e()} if {e()})", f"{e()} if {e()} else {e()}")
        if kind < 9:
            return f"({e()})|{self.filter()}"
        if kind == 9:
            return f"{self.atom()}|{self.filter()}|{self.filter()}"
        if kind < 12:
            return f"({e()}).{self.method()}"
        if kind == 12:
            return f"{self.pick('(' + e() + ')', self.atom())} is {self.pick('', 'not ')}{self.test()}"
        if kind == 13:
            step = self.pick("", ":", ":-1", ":2", ":-2", f":{self.index()}")
            # Slices of what cannot be sliced fail or are undefined, as jinja2's constant folding has it.
            base = self.pick("l", "s", "u", "w", "m", "missing", "range(9)", f"({e()}|list)", f"({e()}|string)")
            return f"{base}[{self.pick(self.index() or '0', self.text(), f'{self.index()}:{self.index()}{step}')}]"
        if kind == 14:
            return self.pick(f"[{e()}, {e()}]", f"({e()}, {e()},)", f"{{{self.text()}: {e()}, {self.atom()}: {e()}}}")
        if kind == 15:  # operators without parentheses, whose precedence is jinja2's own
            operators = ("+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or", "!=", ">=", "not in")
            terms = [self.pick(self.number(), self.atom(), "-1", "not t") for _ in range(self.rng.randrange(2, 6))]
            return "".join(f"{term} {self.rng.choice(operators)} " for term in terms) + self.atom()
        if kind == 16:
            a, b = self.pick("<", "<=", "==", "!=", ">", "in"), self.pick("<", "<=", "==", "!=", ">", "not in")
            return f"{e()} {a} {self.atom()} {b} {self.atom()}"
        if kind == 17:
            return self.pick(f"f({self.arguments()})", f"g({self.arguments()})", f"range({self.number()}, {e()})",
                             f"caller({self.arguments()})", f"dict({self.arguments()})", f"{self.atom()}()")  # fmt: skip
        return f"{e()}.{self.pick('a', 'role', 'x', 'content', '0', 'tool.x', 'missing')}"

    def arguments(self) -> str:
        return self.pick("", self.atom(), f"{self.atom()}, {self.atom()}", f"b={self.atom()}", f"{self.atom()}, b={self.atom()}",
                         "*l", "*[1, 2]", "**{'a': 1}", "**d", f"{self.atom()}, *e", "1, 2, 3", "zz=1", "*missing")  # fmt: skip

    def body(self, depth: int) -> str:
        return "".join(self.statement(depth) for _ in range(self.rng.randrange(1, 4)))

    def space(self) -> str:
        return self.pick("", "", " ", "\n", "\n  ", "  \n", "\t", "\r\n", "\n\n", "\u00a0", " \n \n ")

    def output(self) -> str:
        opening, close = self.pick("{{", "{{-", "{{ ", "{{+"), self.pick("}}", "-}}", " }}", "}}")
        return f"{opening} {self.expression(self.rng.randrange(3))} {close}"

    def plain(self) -> str:
        return self.pick("x", "", "a b", "}}", "%}", "{ {", "#", "{# c #}", "{#- c -#}", "{# a\n b #}\n", "}",
                         "{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% if %}\n {%- endraw -%}", "é🎉", "{", "<b>",
                         "{#+ c #}", "{# c +#}\n")  # fmt: skip

    def statement(self, depth: int) -> str:
        b, close = self.pick("{%", "{%-", "{%+", "{%"), self.pick("%}", "-%}", "%}", "+%}")
        space, kind = self.space, self.rng.randrange(22) if depth > 0 else 0
        if kind < 4:
            return space() + self.plain() + self.output() + space()
        if kind == 4:
            inner = self.body(depth - 1)
            middle = self.pick("", f"{b} elif {self.expression(1)} {close}{self.plain()}")
            return f"{space()}{b} if {self.expression(1)} {close}{inner}{middle}{b} else {close}y{b} endif {close}"
        if kind in (5, 6, 7):
            return self.loop(depth, b, close)
        inner = self.body(depth - 1)
        if kind == 8:
            return f"{b} set v = {self.expression(1)} {close}{inner}{{{{ v }}}}"
        if kind == 9:
            chain = self.pick("", "", " | upper", " | trim | length", f" | {self.filter()}")
            return f"{b} set v{chain} {close}{inner}{b} endset {close}[{{{{ v }}}}]"
        if kind == 10:
            return f"{b} macro f(a, b=2) {close}{{{{ a }}}}|{{{{ b }}}}{inner}{b} endmacro {close}{{{{ f({self.arguments()}) }}}}{{{{ f(b={self.atom()}) }}}}"
        if kind == 11:
            return (f"{b} macro g(a, b=a, c={self.atom()}) {close}{{{{ a }}}}{{{{ b }}}}{{{{ c }}}}"
                    f"{self.pick('', '{{ varargs }}', '{{ kwargs }}', '{{ varargs }}{{ kwargs }}', '{{ caller() }}')}"
                    f"{b} endmacro {close}{{{{ g({self.arguments()}) }}}}{inner}")  # fmt: skip
        if kind == 12:
            signature = self.pick("", "(a)", "(a, b=1)")
            return (f"{b} macro h(a) {close}<{{{{ caller({self.pick('', 'a', 'a, 2')}) }}}}>{b} endmacro {close}"
                    f"{b} call{signature} h({self.atom()}) {close}{inner}{b} endcall {close}")  # fmt: skip
        if kind == 13:
            return (f"{b} set ns = namespace({self.pick('c=0', 'c=[]', 'd', 'c=none, k=1')}) {close}{b} for x in {self.pick('l', 'm', 's')} {close}"
                    f"{b} set ns.c = {self.pick('ns.c + 1', 'ns.c + x', 'x', 'loop.index', 'ns.c + [x]', 'ns.c ~ x')} {close}"
                    f"{inner}{b} endfor {close}{{{{ ns.c }}}}{{# comment #}}")  # fmt: skip
        if kind == 14:
            return f"{b} filter {self.pick('upper', 'trim', 'indent', 'title|trim', self.filter())} {close}{inner}{b} endfilter {close}"
        if kind == 15:
            return f"{b} with {self.pick('', f'v = {self.atom()}', 'v = 1, x = v', 'a, b = (1, 2)')} {close}{inner}{{{{ v }}}}{b} endwith {close}"
        if kind == 16:
            return f"{b} set {self.pick('a, b', 'v, x', '(a, b)', 'v, (a, b)', 'v')} = {self.pick('1, 2', 'l', '(1, [2, 3])', 'd', 's', self.expression(1))} {close}{{{{ a }}}}{{{{ b }}}}{inner}"
        if kind == 17:
            self.blocks += 1  # a block's name is used once
            tag, end = self.pick((f"block k{self.blocks}", "endblock"), ("generation", "endgeneration"),
                                 ("autoescape false", "endautoescape"))  # fmt: skip
            return f"{b} {tag} {close}{inner}{b} {end} {close}"
        if kind == 18:
            return f"{b} set r = cycler('a', 'b') {close}{b} set j = joiner('+') {close}{b} for x in l {close}{{{{ j() }}}}{{{{ r.next() }}}}{{{{ r.current }}}}{b} endfor {close}{inner}"
        if kind == 19:
            return f"{b} print {self.atom()}, {self.atom()} {close}{inner}"
        if kind == 20:
            return (f"{b} if {self.atom()} {close}{b} set v = {self.atom()} {close}{{{{ {self.atom()}|unknown_filter }}}}"
                    f"{b} endif {close}{inner}{{{{ v }}}}")  # fmt: skip
        return self.pick(f"{b} set ns.c = 1 {close}", f"{b} if t {close}x{b} endif {close}\n", "{% do l %}", "{% include 'x' %}",
                         f"{b} set _v = 1 {close}{{{{ _v }}}}", f"{b}if t{close}  \n  {b}endif{close}  \n") + inner  # fmt: skip

    def loop(self, depth: int, b: str, close: str) -> str:
        kind = self.rng.randrange(5)
        inner = self.body(depth - 1)
        if self.rng.random() < 0.3:
            inner += f"{b} if {self.expression(1)} {close}{{% {self.pick('break', 'continue')} %}}{b} endif {close}"
        loop = self.pick("", "{{ loop.index }}", "{{ loop.last }}", "{{ loop.previtem }}|{{ loop.nextitem }}",
                         "{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}{{ loop.depth0 }}",
                         "{{ loop.cycle('a', 'b') }}", "{{ loop.changed(x) }}", "{{ loop.length }}{{ loop.first }}",
                         "{{ loop }}", "{{ loop.index0 }}{% set v = loop.index %}{{ v }}")  # fmt: skip
        otherwise = self.pick("", f"{b} else {close}none{self.space()}")
        if kind == 0:
            source = self.pick("d.items()", "d|items", "d|dictsort", "[(1, 2), (3, 4)]", "m", "[[1, 2, 3]]", self.expression(1))
            return f"{self.space()}{b} for k, x in {source} {close}{{{{ k }}}}={{{{ x }}}};{loop}{inner}{otherwise}{b} endfor {close}"
        if kind == 1:
            test = self.pick("x", "x != 2", "x is string", "x.role == 'user'", "loop.index", self.expression(1))
            return f"{self.space()}{b} for x in {self.pick('l', 'm', 's', self.expression(1))} if {test} {close}{{{{ x }}}}{loop}{inner}{otherwise}{b} endfor {close}"
        if kind == 2:
            return (f"{b} for x in {self.pick('[1, [2, [3]]]', '[[], [1]]', 'l', 'd.c')} recursive {close}{{% if x is iterable and x is not string %}}"
                    f"({{{{ loop(x) }}}}){{% else %}}{{{{ x }}}}{loop}{{% endif %}}{otherwise}{b} endfor {close}{inner}")  # fmt: skip
        return f"{self.space()}{b} for x in {self.expression(1)} {close}{{{{ x }}}}{loop}{inner}{otherwise}{b} endfor {close}{self.space()}"

    def template(self) -> str:
        self.blocks = 0
        return self.body(2)
