#!/usr/bin/env python3
"""Writes unicode_tables.cc: the Unicode data that Hugging Face's tokenizers library acts on.

The library mixes Unicode versions (16.0 in regular expressions, 17.0 in lower-casing, 9.0 in the
normal forms, 8.0 in BERT's rules), so the tables are taken from the library itself: every code
point is put through the component in question. Canonical combining classes and the pairs of
canonical compositions are not visible from outside; they come from Python's unicodedata, cut down
to what the library's own NFD and StripAccents know.

Needs the PyPI package tokenizers 0.23.3 and the probe that the tests check against:
    unicode_tables.py ../../tests/data/tokenizers/unicode-probe.json > unicode_tables.cc
"""
import base64
import json
import struct
import sys
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
ALL_TEXT = "".join(map(chr, SCALARS))

CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp "
              "Cc Cf Co Cn").split()

SCRIPTS = """
Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali
Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian
Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret
Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Garay Georgian
Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Gurung_Khema Han Hangul
Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi
Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi
Khitan_Small_Script Khmer Khojki Khudawadi Kirat_Rai Lao Latin Lepcha Limbu Linear_A Linear_B Lisu
Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin
Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani
Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham
Ol_Chiki Ol_Onal Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian
Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau
Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham
SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Sunuwar Syloti_Nagri Syriac Tagalog
Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh
Tirhuta Todhri Toto Tulu_Tigalari Ugaritic Unknown Vai Vithkuqi Wancho Warang_Citi Yezidi Yi
Zanabazar_Square
""".split()


EMOJI = ("Emoji Emoji_Presentation Emoji_Modifier Emoji_Modifier_Base Emoji_Component "
         "Extended_Pictographic").split()


def ranges_of(code_points):
    result = []
    for c in sorted(code_points):
        if result and result[-1][1] == c - 1:
            result[-1][1] = c
        else:
            result.append([c, c])
    return result


def regex_set(pattern):
    """Code points that the pattern, a single-character one, matches."""
    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed", invert=True)
    result = set()
    for _, (begin, end) in split.pre_tokenize_str(ALL_TEXT):
        result.update(SCALARS[begin:end])
    return result


def label_runs(sets):
    """[(first code point, index)] from disjoint sets; -1 where none applies."""
    label = [-1] * 0x110000
    for index, members in enumerate(sets):
        for c in members:
            label[c] = index
    runs = []
    for c in range(0x110000):
        if not runs or runs[-1][1] != label[c]:
            runs.append((c, label[c]))
    return runs


def fold_orbits():
    """Sets of code points that (?i) takes for one another, single characters only."""
    cased = sorted(regex_set(r"[\p{Lu}\p{Ll}\p{Lt}\p{Nl}]") | set(range(0x24B6, 0x24EA)) | {0x345})
    text = "\n".join(map(chr, cased))
    orbit = {}
    for c in cased:
        split = pre_tokenizers.Split(Regex("(?i)\\x{%x}" % c), "removed", invert=True)
        found = {ord(piece) for piece, _ in split.pre_tokenize_str(text) if len(piece) == 1}
        if len(found) > 1:
            orbit[c] = frozenset(found)
    return orbit


def charsmap(keys):
    """A SentencePiece charsmap for a few keys (bytes) -> text, placed by trial."""
    children = {}
    for key, text in keys.items():
        node = b""
        for b in key:
            children.setdefault(node, set()).add(b)
            node = node + bytes([b])
    texts = b""
    value = {}
    for key, text in keys.items():
        value[key] = len(texts)
        texts += text.encode() + b"\0"
    units = {0: 0}
    used = {0}

    def place(node, position):
        kids = sorted(children.get(node, ()))
        leaf = node in value
        offset = 1
        while True:
            slots = [position ^ offset ^ b for b in kids] + ([position ^ offset] if leaf else [])
            if all(s not in used for s in slots):
                break
            offset += 1
        used.update(slots)
        units[position] = units.get(position, 0) | (offset << 10) | (0x100 if leaf else 0)
        if leaf:
            units[position ^ offset] = 0x80000000 | value[node]
        for b in kids:
            units[position ^ offset ^ b] = b
        for b in kids:
            place(node + bytes([b]), position ^ offset ^ b)

    place(b"", 0)
    size = max(units) + 257
    data = struct.pack("<%dI" % size, *(units.get(i, 0) for i in range(size)))
    return struct.pack("<I", len(data)) + data + texts


def grapheme_sets():
    """Extending, prepended and pictographic characters as the Precompiled normalizer cuts text."""
    normalizer = normalizers.Precompiled(charsmap({b"a": "X", "\u00a9".encode(): "Y"}))
    extend, prepend, pictographic = set(), set(), set()
    assert normalizer.normalize_str("ab\u0301") == "Xb\u0301"
    assert normalizer.normalize_str("a\u0301") == "X"
    for c in SCALARS:
        if c == 0:
            continue
        if normalizer.normalize_str("a" + chr(c)) == "X":
            extend.add(c)
        elif normalizer.normalize_str(chr(c) + "a\u0301").endswith("X\u0301"):
            prepend.add(c)
        elif "\u200d" in normalizer.normalize_str("\u00a9\u200d" + chr(c)):
            pictographic.add(c)
    return extend, prepend, pictographic


def pre_tokenizer_scripts():
    """Labels of the UnicodeScripts pre-tokenizer; -1 is the library's Any."""
    split = pre_tokenizers.UnicodeScripts()
    count = lambda text: len(split.pre_tokenize_str(text))
    known = [c for c in SCALARS if count(chr(c)) > 0]
    text = "".join(map(chr, known))
    clusters = []  # (representative, members)
    for piece, _ in split.pre_tokenize_str(text):
        for representative, members in clusters:
            if count(representative + piece[0]) == 1:
                members.update(map(ord, piece))
                break
        else:
            clusters.append((piece[0], set(map(ord, piece))))
    clusters.sort(key=lambda item: -len(ranges_of(item[1])))
    return [members for _, members in clusters]


def emit_ranges(name, ranges):
    print(f"const CodePointRange {name}_array[] = {{")
    emit_rows("{0x%x, 0x%x}" % (a, b) for a, b in ranges)
    print("};")
    print(f"const std::span<const CodePointRange> {name}({name}_array);\n")


def emit_rows(items):
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > 100:
            print(line)
            line = "   "
        line += f" {item},"
    print(line)


def flat(ranges):
    return list(zip(ranges[::2], ranges[1::2]))


def main():
    probe = json.load(open(sys.argv[1]))
    ranges, maps = probe["ranges"], probe["maps"]
    print("// Generated by unicode_tables.py; do not edit. Unicode data as the tokenizers library 0.23.3\n"
          "// uses it, version by version; unicode_tables.h says what each table is.\n"
          '#include "text/unicode_tables.h"\n\n'
          "// clang-format off\n"
          "namespace shoehorn::unicode {\n")

    print("const LabelRun kGeneralCategory_array[] = {")
    runs = label_runs([regex_set(r"\p{%s}" % c) for c in CATEGORIES])
    emit_rows("{0x%x, %d}" % (c, label if label >= 0 else CATEGORIES.index("Cn")) for c, label in runs)
    print("};\nconst std::span<const LabelRun> kGeneralCategory(kGeneralCategory_array);\n")

    names = []
    sets = []
    for name in SCRIPTS:
        try:
            sets.append(regex_set(r"\p{%s}" % name))
            names.append(name)
        except Exception as error:
            print(f"no script {name}: {error}", file=sys.stderr)
    print("const std::string_view kScriptNames_array[] = {")
    emit_rows('"%s"' % n for n in names)
    print("};\nconst std::span<const std::string_view> kScriptNames(kScriptNames_array);\n")
    runs = label_runs(sets)
    print("const LabelRun kScript_array[] = {")
    emit_rows("{0x%x, %d}" % run for run in runs)
    print("};\nconst std::span<const LabelRun> kScript(kScript_array);\n")

    print("const LabelRun kPreTokenizerScript_array[] = {")
    emit_rows("{0x%x, %d}" % run for run in label_runs(pre_tokenizer_scripts()))
    print("};\nconst std::span<const LabelRun> kPreTokenizerScript(kPreTokenizerScript_array);\n")

    emit_ranges("kAlphabetic", ranges_of(regex_set("[[:alpha:]]")))
    emit_ranges("kUppercase", ranges_of(regex_set("[[:upper:]]")))
    emit_ranges("kLowercase", ranges_of(regex_set("[[:lower:]]")))
    emit_ranges("kRegexWord", flat(ranges[r"regex \w"]))
    emit_ranges("kWord", flat(ranges["added token single_word: word character"]))
    emit_ranges("kNumeric", flat(ranges["Digits numeric"]))
    emit_ranges("kPunctuation", flat(ranges["Punctuation"]))
    emit_ranges("kBertRemoved", flat(ranges["BertNormalizer clean_text removes"]))
    emit_ranges("kBertAccents", flat(ranges["BertNormalizer strip_accents removes"]))
    emit_ranges("kMarks", flat(ranges["StripAccents removes"]))
    for name in EMOJI:
        emit_ranges("k" + name.replace("_", ""), ranges_of(regex_set(r"\p{%s}" % name)))
    extend, prepend, pictographic = grapheme_sets()
    emit_ranges("kGraphemeExtend", ranges_of(extend))
    emit_ranges("kGraphemePrepend", ranges_of(prepend))
    emit_ranges("kPictographic", ranges_of(pictographic))

    orbits = fold_orbits()
    print("const CodePointPair kFoldNext_array[] = {")
    # The next member of the orbit, cyclically: following it visits all that match.
    pairs = []
    for c, members in sorted(orbits.items()):
        ordered = sorted(members)
        pairs.append((c, ordered[(ordered.index(c) + 1) % len(ordered)]))
    emit_rows("{0x%x, 0x%x}" % p for p in pairs)
    print("};\nconst std::span<const CodePointPair> kFoldNext(kFoldNext_array);\n")

    lower = [(c, text) for c, text in maps["Lowercase"]]
    assert [c for c, text in lower if len(text) != 1] == [0x130]
    print("const CodePointPair kLower_array[] = {")
    emit_rows("{0x%x, 0x%x}" % (c, ord(text)) for c, text in lower if len(text) == 1)
    print("};\nconst std::span<const CodePointPair> kLower(kLower_array);\n")

    hangul = range(0xAC00, 0xD7A4)
    canonical = {c: text for c, text in maps["NFD"] if c not in hangul}
    compatible = {c: text for c, text in maps["NFKD"] if c not in hangul and canonical.get(c) != text}
    for name, table in (("kCanonical", canonical), ("kCompatible", compatible)):
        pool = []
        print(f"const Decomposition {name}_array[] = {{")
        rows = []
        for c, text in sorted(table.items()):
            rows.append("{0x%x, %d, %d}" % (c, len(pool), len(text)))
            pool.extend(map(ord, text))
        emit_rows(rows)
        print(f"}};\nconst std::span<const Decomposition> {name}({name}_array);")
        print(f"const char32_t {name}Text_array[] = {{")
        emit_rows("0x%x" % c for c in pool)
        print(f"}};\nconst std::span<const char32_t> {name}Text({name}Text_array);\n")

    marks = {c for a, b in flat(ranges["StripAccents removes"]) for c in range(a, b + 1)}
    print("const LabelRun kCombiningClass_array[] = {")
    classes = [unicodedata.combining(chr(c)) if c in marks else 0 for c in range(0x110000)]
    emit_rows("{0x%x, %d}" % (c, classes[c]) for c in range(0x110000)
              if c == 0 or classes[c] != classes[c - 1])
    print("};\nconst std::span<const LabelRun> kCombiningClass(kCombiningClass_array);\n")

    changed = {c for c, _ in maps["NFC"]}
    compositions = []
    for c in canonical:
        parts = unicodedata.decomposition(chr(c)).split()
        if c not in changed and len(parts) == 2:
            compositions.append((int(parts[0], 16), int(parts[1], 16), c))
    print("const Composition kCompositions_array[] = {")
    emit_rows("{0x%x, 0x%x, 0x%x}" % row for row in sorted(compositions))
    print("};\nconst std::span<const Composition> kCompositions(kCompositions_array);\n")
    print("}  // namespace shoehorn::unicode")


if __name__ == "__main__":
    main()
