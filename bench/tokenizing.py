#!/usr/bin/env python3
"""Times shoehorn's tokenizers against PyPI's, on one thread each, and how long a large file takes to open.

    bench/tokenizing.py build/release/shoehorn HANDBOOK/html [--megabytes 10] [--folder DIR]

The text is The Debian Administrator's Handbook (handbook_text.py says where it comes from): its English
edition repeated, and all its editions one after the other ("mixed": Latin, Cyrillic, Greek, Arabic, Han,
kana, Hangul). The tokenizers: SmolLM2's and MiniLM's real ones out of tests/data, and two that are trained
here on the text: Unigram and BPE in SentencePiece's style, 16,000 tokens. `large` has 262,144 tokens and
514,906 merges, as Gemma 3's file, made from nothing. Both sides encode one string of all the text; numbers
of tokens are compared. Times are processor time of the one thread (of shoehorn: what a run takes beyond one
with an empty text), which other programs on the machine disturb less than the clock; the best of
`--repetitions` counts. Writes a table in Markdown. Needs tokenizers 0.23.
"""

from __future__ import annotations

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import argparse
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers


HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "tests" / "data" / "tokenizers"


def edition_text(folder: pathlib.Path) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / "handbook_text.py"), str(folder), "/dev/stdout"],
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def cut(text: str, size: int) -> str:
    data = text.encode()
    data = data * (size // len(data) + 1)
    return data[:size].decode("utf-8", "ignore")


def train(folder: pathlib.Path, kind: str, lines: list[str]) -> None:
    if (folder / "tokenizer.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "unigram":
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=16000, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
        )
    else:
        tokenizer = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        specials = ["<unk>"] + [f"<0x{i:02X}>" for i in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=16000, special_tokens=specials, show_progress=False, limit_alphabet=4000
        )
    tokenizer.train_from_iterator(lines, trainer)
    saved = json.loads(tokenizer.to_str())
    if kind != "unigram":  # as Llama 2's: the whole text is one piece
        saved["added_tokens"] = saved["added_tokens"][:1]
        saved["pre_tokenizer"] = None
        replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
        saved["normalizer"] = {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace],
        }
    (folder / "tokenizer.json").write_text(json.dumps(saved, ensure_ascii=False))


def make_large(folder: pathlib.Path) -> None:
    """262,144 tokens, 514,906 merges, pretty-printed to about 33 MB, like Gemma 3's file."""
    if (folder / "tokenizer.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(3)
    letters = ["\u2581", *map(chr, [*range(0x61, 0x7B), *range(0x430, 0x43D), *range(0x4E00, 0x4E28)])]
    tokens = [f"<0x{i:02X}>" for i in range(256)] + letters + [a + b for a in letters for b in letters]
    # Of three and four letters, each of which joins in two ways or three.
    triples = rng.sample([a + b for a in letters for b in tokens[256 + len(letters) :]], 240_000)
    known = set(tokens) | set(triples)
    tokens += triples
    longer = (triple + letter for triple in triples for letter in letters if triple[1:] + letter in known)
    tokens += [next(longer) for _ in range(262_144 - len(tokens))]
    vocab = {token: i for i, token in enumerate(tokens)}
    merges = []
    for token in tokens[256 + len(letters) :]:
        merges += [
            [token[:i], token[i:]] for i in range(1, len(token)) if token[:i] in vocab and token[i:] in vocab
        ]
    del merges[514_906:]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    saved = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": replace,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(saved, indent=2, ensure_ascii=False))


def run_seconds(program: str, folder: pathlib.Path, text: str) -> tuple[float, dict]:
    """Processor time of a whole run, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [program, "tokenize", str(folder), "--file", text, "--count"], capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, json.loads(done.stdout)


def ours(program: str, folder: pathlib.Path, text: pathlib.Path, repetitions: int) -> tuple[float, int]:
    empty = min(run_seconds(program, folder, "/dev/null")[0] for _ in range(repetitions))
    runs = [run_seconds(program, folder, str(text)) for _ in range(repetitions)]
    return min(seconds for seconds, _ in runs) - empty, runs[0][1]["tokens"]


def theirs(folder: pathlib.Path, text: str, repetitions: int) -> tuple[float, int]:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    best, count = 1e9, 0
    for _ in range(repetitions):
        start = time.process_time()
        count = len(tokenizer.encode(text).ids)
        best = min(best, time.process_time() - start)
    return best, count


def their_load(folder: pathlib.Path) -> float:
    start = time.process_time()
    tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("html", type=pathlib.Path)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--folder",
        type=pathlib.Path,
        default=pathlib.Path(tempfile.gettempdir()) / "shoehorn-bench" / "tokenizers",
    )
    parser.add_argument("--prepare", action="store_true", help="make the text and the tokenizers, and stop")
    parser.add_argument("--only", help="one of the tokenizers")
    args = parser.parse_args()
    size = int(args.megabytes * 1e6)
    args.folder.mkdir(parents=True, exist_ok=True)
    files = {name: args.folder / f"{name}-{args.megabytes:g}.txt" for name in ("english", "mixed")}
    if not all(file.exists() for file in files.values()):
        editions = {path.name: edition_text(path) for path in sorted(args.html.iterdir()) if path.is_dir()}
        files["english"].write_text(cut(editions["en-US"], size))
        rest = [text.splitlines() for text in editions.values()]
        mixed = "\n".join(row for rows in zip(*rest) for row in rows)  # a paragraph of each language in turn
        files["mixed"].write_text(cut(mixed, size))
    lines = files["mixed"].read_text()[:3_000_000].splitlines()
    train(args.folder / "unigram-16k", "unigram", lines)
    train(args.folder / "spm-bpe-16k", "bpe", lines)
    make_large(args.folder / "large")
    if args.prepare:
        return
    kinds = {
        "SmolLM2 (byte-level BPE)": FIXTURES / "smollm2-135m",
        "MiniLM (WordPiece)": FIXTURES / "minilm-l6-bert",
        "Unigram": args.folder / "unigram-16k",
        "SentencePiece-style BPE": args.folder / "spm-bpe-16k",
    }
    print(
        f"tokenizers {tokenizers.__version__}, {args.megabytes:g} MB of text, one thread, best of {args.repetitions}\n"
    )
    print(
        "| tokenizer | text | tokens | tokenizers MB/s | shoehorn MB/s | ratio |\n|---|---|---|---|---|---|"
    )
    for kind, folder in kinds.items():
        if args.only and args.only not in kind:
            continue
        for name, file in files.items():
            mine, mine_count = ours(args.program, folder, file, args.repetitions)
            other, count = theirs(folder, file.read_text(), args.repetitions)
            if mine_count != count:
                print(f"{kind}: {mine_count} and {count} tokens", file=sys.stderr)
            print(
                f"| {kind} | {name} | {count:,} | {size / other / 1e6:.1f} | {size / mine / 1e6:.1f} | {other / mine:.1f} |",
                flush=True,
            )
    if args.only:
        return
    loads = [run_seconds(args.program, args.folder / "large", "/dev/null") for _ in range(10)]
    seconds, clock = min(run[0] for run in loads), min(run[1]["load_s"] for run in loads)
    other = min(their_load(args.folder / "large") for _ in range(2))
    size = (args.folder / "large" / "tokenizer.json").stat().st_size
    print(
        f"\nA tokenizer.json of {size / 1e6:.1f} MB: a whole run takes {seconds * 1e3:.0f} ms of processor time, the file is "
        f"ready {clock * 1e3:.0f} ms by the clock after its start (tokenizers: {other * 1e3:.0f} ms of processor time)."
    )


if __name__ == "__main__":
    main()
