#!/usr/bin/env python3
"""Writes python_case_tables.cc: what Python's str.upper() and str.title() make of each character.

Lower-casing is in unicode_tables.cc. Python 3.11 has Unicode 14; the characters that got their case
since then (Garay and a few Latin and Cyrillic letters of Unicode 16) are not in it.

    python_case_tables.py > python_case_tables.cc
"""
import unicodedata

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def literal(text):
    return ", ".join("0x%X" % ord(c) for c in text)


def table(name, convert, leave_out):
    rows = [(c, convert(chr(c))) for c in SCALARS]
    rows = [(c, to) for c, to in rows if to != leave_out(chr(c))]
    lines = [f"constexpr std::array<CaseMapping, {len(rows)}> {name}Table = {{{{"]
    lines += ["    {0x%X, {%s}}," % (c, literal(to)) for c, to in rows]
    lines += ["}};", f"const std::span<const CaseMapping> {name} = {name}Table;"]
    return "\n".join(lines)


print(f"""// Written by python_case_tables.py from Python's Unicode {unicodedata.unidata_version}; do not edit.
// clang-format off
#include "text/python_case_tables.h"

#include <array>

// The tables are constants: NOLINTBEGIN(readability-identifier-naming)
namespace shoehorn::unicode {{
""")
print(table("kPythonUpper", str.upper, lambda c: c))
print()
print(table("kPythonTitle", str.title, str.upper))
print("""
}  // namespace shoehorn::unicode
// NOLINTEND(readability-identifier-naming)""")
