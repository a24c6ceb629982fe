#!/usr/bin/env python3
"""The prose of The Debian Administrator's Handbook as one text, for `shoehorn eval`.

    apt-get download debian-handbook && dpkg -x debian-handbook_*.deb handbook
    bench/handbook_text.py handbook/usr/share/doc/debian-handbook/html/en-US handbook.txt

Takes the paragraphs of the chapters in the order of the book's contents, without code, tables and
headings. The book (Hertzog and Mas, 2022) is free under GPL-2+ or CC-BY-SA-3.0, and a package of Debian.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path

SKIPPED = ("pre", "table", "title", "h1", "h2", "h3", "h4", "script", "style")


class Paragraphs(HTMLParser):
    """Text of <div class="para">, one inside another ending the outer one's text so far."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.divs: list[bool] = []  # of the open ones: is it a paragraph
        self.skipped, self.text, self.found = 0, "", []

    def handle_starttag(self, tag, attributes):
        if tag == "div":
            self.divs.append(dict(attributes).get("class") == "para")
            if self.divs[-1]:
                self.end_paragraph()
        self.skipped += tag in SKIPPED

    def handle_endtag(self, tag):
        self.skipped -= tag in SKIPPED
        if tag == "div" and self.divs and self.divs.pop():
            self.end_paragraph()

    def handle_data(self, data):
        if self.divs and self.divs[-1] and not self.skipped:
            self.text += data

    def end_paragraph(self):
        text = " ".join(self.text.split())
        if len(text) >= 80:  # captions and navigation are shorter
            self.found.append(text)
        self.text = ""


class Contents(HTMLParser):
    """The pages in the order of the table of contents."""

    def __init__(self):
        super().__init__()
        self.pages: list[str] = []

    def handle_starttag(self, tag, attributes):
        page = dict(attributes).get("href", "").split("#")[0]
        if tag == "a" and page.endswith(".html") and "/" not in page and page not in self.pages:
            self.pages.append(page)


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    contents = Contents()
    contents.feed((folder / "index.html").read_text(encoding="utf-8"))
    paragraphs: list[str] = []
    for page in contents.pages:
        if (folder / page).exists():
            reader = Paragraphs()
            reader.feed((folder / page).read_text(encoding="utf-8"))
            paragraphs += reader.found
    out.write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    print(f"{out}: {len(paragraphs)} paragraphs, {sum(len(p.split()) for p in paragraphs)} words")


if __name__ == "__main__":
    main()
