#!/usr/bin/env python3
"""Encodes and decodes random text with shoehorn and with PyPI's tokenizers, and prints every difference.

    tests/parity/fuzz_tokenizers.py build/dev/shoehorn tests/data/tokenizers [--megabytes 10] [--seed 1]

For every folder with a tokenizer.json, or with vocabulary files that transformers' AutoTokenizer converts,
below or at the given paths: `--megabytes` of text (random_text.py: 30 scripts, emoji, marks, odd spaces,
long runs without spaces, the tokenizer's own tokens) go through both, line by line, with and without
special tokens, in pairs, and back to text; then a file of the same text with damaged UTF-8 in one piece.
The exit code is 1 where anything differs. Needs tokenizers 0.23, and transformers 5.24 with sentencepiece
for folders without a tokenizer.json.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import tokenizers

import random_text  # beside this file


def shoehorn(program: str, folder: pathlib.Path, lines: list[dict], *flags: str) -> list[dict]:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(
        [program, "tokenize", str(folder), "--jsonl", *flags],
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{folder}: {done.stderr.decode()[-500:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


VOCABULARIES = [
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
]


def load(folder: pathlib.Path) -> tokenizers.Tokenizer:
    if (folder / "tokenizer.json").exists():
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if tokenizer.model.__class__.__name__ == "BPE":
        tokenizer.model.dropout = None
    return tokenizer


class Differences:
    def __init__(self, limit: int):
        self.count = 0
        self.limit = limit

    def check(self, name: str, what: str, text, ours, theirs) -> None:
        if ours == theirs:
            return
        self.count += 1
        if self.count <= self.limit:
            print(f"{name}: {what}: {text!r:.400}\n  shoehorn   {ours!r:.300}\n  tokenizers {theirs!r:.300}")
            at = next(
                (i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs))
            )
            print(f"  first at {at}: {ours[at - 2 : at + 6]!r} {theirs[at - 2 : at + 6]!r}")


def compare(
    program: str, folder: pathlib.Path, megabytes: float, rng: random.Random, out: Differences
) -> int:
    tokenizer = load(folder)
    vocabulary = list(tokenizer.get_vocab())
    added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    tokens = rng.sample(sorted(vocabulary), min(400, len(vocabulary))) + added * 3
    name, total = folder.name, 0
    while total < megabytes * 1e6:
        texts = [random_text.line(rng, tokens) for _ in range(1500)]
        total += sum(len(text.encode()) for text in texts)
        theirs = tokenizer.encode_batch(texts, add_special_tokens=True)
        for text, a, b in zip(texts, shoehorn(program, folder, [{"text": t} for t in texts]), theirs):
            out.check(name, "ids", text, a["ids"], b.ids)
        plain = tokenizer.encode_batch(texts, add_special_tokens=False)
        for text, a, b in zip(
            texts, shoehorn(program, folder, [{"text": t} for t in texts], "--no-special"), plain
        ):
            out.check(name, "ids without special tokens", text, a["ids"], b.ids)
        pairs = list(zip(texts[::10], texts[5::10]))
        both = tokenizer.encode_batch(pairs)
        for pair, a, b in zip(
            pairs, shoehorn(program, folder, [{"text": a, "pair": b} for a, b in pairs]), both
        ):
            out.check(name, "ids of a pair", pair, a["ids"], b.ids)
            out.check(name, "types of a pair", pair, a["type_ids"], b.type_ids)
        ids = [b.ids for b in plain]
        # Parts that are not from any text: every order of tokens must decode.
        ids += [[rng.choice(row) for _ in row] for row in ids[::3] if row]
        decoded = tokenizer.decode_batch(ids, skip_special_tokens=False)
        for row, a, b in zip(
            ids, shoehorn(program, folder, [{"ids": row} for row in ids], "--decode"), decoded
        ):
            out.check(name, "text", row, a["text"], b)
        damaged = random_text.broken(rng, "".join(texts[:300]))
        with tempfile.NamedTemporaryFile() as file:
            file.write(damaged)
            file.flush()
            a = subprocess.run(
                [program, "tokenize", str(folder), "--file", file.name], capture_output=True, check=True
            )
        b = tokenizer.encode(damaged.decode("utf-8", "replace")).ids
        out.check(name, "damaged bytes", damaged[:80], [int(i) for i in a.stdout.split()], b)
        total += len(damaged)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=10, help="differences that are printed")
    args = parser.parse_args()
    found = sorted(
        {path.parent for root in args.folders for name in VOCABULARIES for path in root.rglob(name)}
    )
    if not found:
        parser.error("no tokenizer below the given folders")
    out, total = Differences(args.show), 0
    for folder in found:
        before = out.count
        size = compare(args.program, folder, args.megabytes, random.Random(f"{args.seed} {folder.name}"), out)
        total += size
        print(f"{folder.name}: {size / 1e6:.1f} MB, {out.count - before} differences", flush=True)
    print(
        f"{len(found)} tokenizers, {total / 1e6:.1f} MB, tokenizers {tokenizers.__version__}: {out.count} differences"
    )
    return 1 if out.count else 0


if __name__ == "__main__":
    sys.exit(main())
