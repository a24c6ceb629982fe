"""Text that finds what tokenizers get wrong: words of many scripts, emoji, odd spaces, marks, invalid
bytes, long runs, pieces of the vocabulary itself. From a seed, so that a difference can be seen again."""

from __future__ import annotations

import random

# A block each; words are drawn from inside one of them, as text is.
SCRIPTS = {
    "latin": [(0x61, 0x7A), (0x41, 0x5A)],
    "latin-1": [(0xC0, 0x24F)],
    "vietnamese": [(0x1EA0, 0x1EF9)],
    "greek": [(0x391, 0x3C9), (0x1F00, 0x1F15)],
    "cyrillic": [(0x410, 0x44F), (0x450, 0x45F)],
    "armenian": [(0x531, 0x556), (0x561, 0x587)],
    "hebrew": [(0x5D0, 0x5EA), (0x5B0, 0x5BD)],
    "arabic": [(0x621, 0x64A), (0x64B, 0x652)],
    "devanagari": [(0x904, 0x94D)],
    "bengali": [(0x985, 0x9CD)],
    "tamil": [(0xB85, 0xBCD)],
    "telugu": [(0xC05, 0xC4D)],
    "thai": [(0xE01, 0xE4E)],
    "lao": [(0xE81, 0xECD)],
    "tibetan": [(0xF40, 0xF87)],
    "myanmar": [(0x1000, 0x103E)],
    "georgian": [(0x10D0, 0x10FA), (0x1C90, 0x1CBA)],
    "ethiopic": [(0x1200, 0x1248)],
    "khmer": [(0x1780, 0x17D3)],
    "mongolian": [(0x1820, 0x1877), (0x180B, 0x180E)],
    "hiragana": [(0x3041, 0x309F)],
    "katakana": [(0x30A0, 0x30FF), (0xFF66, 0xFF9F)],
    "han": [(0x4E00, 0x6000), (0x20000, 0x20100), (0x2F800, 0x2F820)],
    "hangul": [(0xAC00, 0xAE00), (0x1100, 0x11FF)],
    "cherokee": [(0x13A0, 0x13F4), (0xAB70, 0xAB90)],
    "gothic": [(0x10330, 0x1034A)],
    "deseret": [(0x10400, 0x1044F)],
    "math": [(0x1D400, 0x1D4FF)],
    "fullwidth": [(0xFF01, 0xFF5E)],
    "enclosed": [(0x2460, 0x24FF), (0x2150, 0x218B)],
}
SPACES = [" "] * 12 + [
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    " \n ",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u2028",
    "\u0085",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\x0b",
    "\x0c",
    "\x1c",
    "        ",
    "\u2581",
    "\u180e",
]
EMOJI = [
    "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f44d\U0001f3fd",
    "\U0001f1eb\U0001f1f7",
    "\u2764\ufe0f",
    "1\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "\u263a",
    "\U0001fae0",
]
MARKS = [
    chr(c) for c in (0x300, 0x301, 0x308, 0x323, 0x327, 0x338, 0x345, 0x20D7, 0x3099, 0x5BF, 0x94D, 0x11938)
]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + [
    "\u2019",
    "\u201c",
    "\u2026",
    "\u2014",
    "\u3002",
    "\uff0c",
    "\u00bf",
    "\u20ac",
    "\u00a7",
    "``",
    "''",
    "...",
    "--",
    "=>",
    "!=",
    "//",
    "\u05be",
    "\u0964",
]
NUMBERS = [
    "0",
    "7",
    "42",
    "123",
    "1234",
    "3.14159",
    "1,000,000",
    "0xFF",
    "1e-9",
    "\u00bd",
    "\u00b2",
    "\u2167",
    "\u0664\u0662",
    "\u096a\u0968",
    "\u4e00",
    "12345678901234567890",
]
CONTRACTIONS = [
    "I'm",
    "don't",
    "we'll",
    "they'VE",
    "it'\u017f",
    "O'Neill",
    "'s",
    "he'd",
    "L'\u00e9t\u00e9",
    "IT'S",
    "'Re",
]
CODE = [
    "def f(x):\n    return x**2\n",
    "for (int i=0;i<n;++i) {\n\tsum += a[i];\n}\n",
    '<div class="a">',
    "SELECT * FROM t;",
    "https://example.org/a?b=c&d=%20",
    "user@example.com",
    "camelCaseName",
    "snake_case_name",
    "HTTPServer2",
]
ODD = [
    "\x00",
    "\x01",
    "\x7f",
    "\x80",
    "\x9f",
    "\xad",
    "\ufffd",
    "\ufffe",
    "\ufeff",
    "\ue000",
    "\U0010ffff",
    "\u0130",
    "\u0131",
    "\u00df",
    "\u1e9e",
    "\ufb01",
    "\u01c5",
    "\u0345",
    "\u1f88",
    "\u2126",
    "\u212a",
    "\u03f4",
    "\uff10",
    "\u32ff",
    "\ua7f2",
    "\U0001f16c",
    "\u0600",
    "\u061c",
]


def word(rng: random.Random) -> str:
    ranges = SCRIPTS[rng.choice(list(SCRIPTS))] if rng.random() < 0.7 else SCRIPTS["latin"]
    low, high = rng.choice(ranges)
    text = "".join(chr(rng.randint(low, high)) for _ in range(min(1 + int(rng.expovariate(0.25)), 40)))
    if rng.random() < 0.3:
        text = text.capitalize() if rng.random() < 0.5 else text.upper()
    if rng.random() < 0.1:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + "".join(rng.choices(MARKS, k=rng.randint(1, 3))) + text[at:]
    return text


def piece(rng: random.Random, tokens: list[str]) -> str:
    kind = rng.random()
    if kind < 0.45:
        return word(rng)
    if kind < 0.65 and tokens:
        return "".join(rng.choices(tokens, k=rng.randint(1, 3)))
    if kind < 0.72:
        return rng.choice(NUMBERS)
    if kind < 0.80:
        return rng.choice(PUNCTUATION)
    if kind < 0.84:
        return rng.choice(EMOJI)
    if kind < 0.88:
        return rng.choice(CONTRACTIONS)
    if kind < 0.91:
        return rng.choice(CODE)
    if kind < 0.94:
        return rng.choice(ODD)
    if kind < 0.96:
        return rng.choice(
            ["a", "ab", "\u00e9", "=", "\u4e2d", "-", "0", " ", "\n", "ha", "\u2581", "!", "\u3042"]
        ) * rng.randint(2, 300)
    if kind < 0.98:
        return "".join(
            chr(c)
            for c in (rng.randrange(0x110000) for _ in range(rng.randint(1, 6)))
            if not 0xD800 <= c < 0xE000
        )
    return rng.choice(SPACES) * rng.randint(1, 20)


def line(rng: random.Random, tokens: list[str]) -> str:
    """A text of some hundred bytes; `tokens` are strings to mix in, such as added tokens and vocabulary."""
    if rng.random() < 0.05:  # a long run without spaces
        return "".join(word(rng) for _ in range(rng.randint(50, 400)))
    out = []
    for _ in range(rng.randint(1, 80)):
        out.append(piece(rng, tokens))
        if rng.random() < 0.75:
            out.append(rng.choice(SPACES))
    return "".join(out)


def broken(rng: random.Random, text: str) -> bytes:
    """The bytes of a text, some of them damaged."""
    data = bytearray(text.encode())
    for _ in range(max(1, len(data) // 40)):
        at = rng.randrange(len(data)) if data else 0
        choice = rng.randrange(3)
        if choice == 0 and data:
            data[at] = rng.randrange(256)
        elif choice == 1 and data:
            del data[at]
        else:
            data[at:at] = rng.choice(
                [
                    b"\xff",
                    b"\xc3",
                    b"\xe2\x96",
                    b"\xed\xa0\x80",
                    b"\xf0\x9f\x98",
                    b"\x80",
                    b"\xc0\xaf",
                    b"\xf4\x90\x80\x80",
                    b"\xf5",
                ]
            )
    return bytes(data)
