#!/usr/bin/env python3
"""Counts the outlier columns that LLM.int8() finds in a model: features of a linear layer's input that
reach the threshold in any token.

    bench/count_outliers.py FOLDER [--tokens 512] [--threshold 6]

Runs transformers in bfloat16 on random ids, as compare.py feeds them; prints the mean over layers of
each kind of linear module, for the whole prompt and for one token alone. Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path

import torch
import transformers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threshold", type=float, default=6.0)
    args = parser.parse_args()
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16).eval()
    counts: dict[str, list[tuple[int, float]]] = defaultdict(list)

    def hook(kind: str):
        def look(module, inputs):
            over = inputs[0].detach().flatten(0, -2).to(torch.float16).abs() >= args.threshold
            counts[kind].append((int(over.any(0).sum()), float(over.sum(1).float().mean())))

        return look

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
            module.register_forward_pre_hook(hook(name.rsplit(".", 1)[-1]))
    draw = random.Random(1)
    ids = [draw.randrange(16, model.config.vocab_size) for _ in range(args.tokens)]
    with torch.inference_mode():
        model(torch.tensor([ids]))
    for kind, seen in counts.items():
        whole, single = (sum(values) / len(seen) for values in zip(*seen, strict=True))
        print(f"{kind:12} {whole:8.1f} columns in {args.tokens} tokens, {single:6.2f} in one token")


if __name__ == "__main__":
    main()
