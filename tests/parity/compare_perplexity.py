#!/usr/bin/env python3
"""Holds the perplexity of `shoehorn eval` against transformers in float32 over the same windows.

    tests/parity/compare_perplexity.py MODEL --text FILE
    tests/parity/compare_perplexity.py MODEL --text FILE --max-tokens 4096 --dtype bfloat16 \\
        --options "--dtype bfloat16" --tolerance 0.01

Windows of --context tokens begin every --stride tokens; each token but the first is scored once, in the
first window that holds it, with all that stands before it there. The text is encoded once, special
tokens included, by the tokenizer.json of the reference folder. The exit code is 1 where the perplexities differ by
more than --tolerance, relatively, or the number of scored tokens differs. Needs torch, transformers,
tokenizers (and gguf, numpy for a .gguf file).
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import reference
import shoehorn_side
import tokenizers
import torch


def windows(tokens: int, context: int, stride: int):
    """(begin, end, first scored token) of each window."""
    done = 1
    for begin in range(0, tokens, stride):
        end = min(begin + context, tokens)
        yield begin, end, done
        done = end
        if end == tokens:
            return


@torch.inference_mode()
def perplexity(model, ids: list[int], context: int, stride: int) -> tuple[float, int]:
    total, scored = 0.0, 0
    for begin, end, first in windows(len(ids), context, stride):
        logits = reference.logits(model, torch.tensor([ids[begin:end]]))[0]
        targets = torch.tensor(ids[first:end])
        rows = logits[first - begin - 1 : end - begin - 1]
        total += torch.nn.functional.cross_entropy(rows.double(), targets, reduction="sum").item()
        scored += len(targets)
        if sys.stderr.isatty():
            print(f"\r{end} of {len(ids)}: {math.exp(total / scored):.4f}", end="", file=sys.stderr)
    return math.exp(total / scored), scored


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shoehorn_side.add_options(parser)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--stride", type=int, default=512)
    parser.add_argument("--max-tokens", type=int, default=8192)
    parser.add_argument("--dtype", default="float32", help="of transformers' weights and arithmetic")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    if not 0 < args.stride < args.context:
        parser.error("--stride has to be less than --context: each window scores what follows the one before")
    with shoehorn_side.reference_folder(args) as folder:
        model = reference.load(folder, args.dtype)
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode(args.text.read_text(encoding="utf-8")).ids[: args.max_tokens]
    theirs, scored = perplexity(model, ids, args.context, args.stride)
    lengths = ("--context", args.context, "--stride", args.stride, "--max-tokens", args.max_tokens)
    ours = shoehorn_side.call_json(args, "eval", "--text", args.text, *lengths)
    away = ours["perplexity"] / theirs - 1
    passed = abs(away) <= args.tolerance and ours["tokens"] == scored
    print(
        f"{'ok  ' if passed else 'FAIL'} perplexity {ours['perplexity']:.6f} over {ours['tokens']} tokens, "
        f"transformers {theirs:.6f} over {scored}: {away:+.2e} (limit {args.tolerance:.0e})"
    )
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
