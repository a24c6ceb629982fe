#!/usr/bin/env python3
"""Records tests/data/smollm2/goldens.json: what transformers computes from SmolLM2's Q4_1 GGUF.

    tests/parity/record_smollm2_goldens.py SmolLM2-135M-Instruct.Q4_1.gguf [OUT]

The file is decoded to float32 by PyPI's gguf (bench/gguf_to_hf.py) and run in float32 with eager
attention. Needs torch, transformers, tokenizers, gguf, numpy; the versions used are in the output.
Prompts are encoded by the rule of the GGUF's metadata, which splits digits one by one.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tokenizers
import torch

import reference

# Chosen so that every greedy pick leads by 0.06 or more: float32 in another order of summation picks the same.
PROMPTS = [
    "Once upon a time",
    "def fibonacci(n):",
    "<|im_start|>user\nWhat is 12 + 30?<|im_end|>\n<|im_start|>assistant\n",
]
NEW_TOKENS = 32
TOP = 5
ROOT = Path(__file__).resolve().parents[2]


def record(model, tokenizer: tokenizers.Tokenizer, text: str) -> dict:
    ids = tokenizer.encode(text).ids
    last = reference.logits(model, torch.tensor([ids]))[0, -1]
    top = last.topk(TOP)
    greedy_ids, lead = reference.greedy(model, ids, NEW_TOKENS)
    return {
        "text": text,
        "input_ids": ids,
        "greedy_ids": greedy_ids,
        "greedy_text": tokenizer.decode(greedy_ids, skip_special_tokens=False),
        "smallest_lead": round(lead, 4),
        "last_logits": {
            "top_ids": top.indices.tolist(),
            "top_values": [round(v, 5) for v in top.values.tolist()],
            "max_abs": round(last.abs().max().item(), 5),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gguf", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "tests/data/smollm2/goldens.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        convert = ROOT / "bench/gguf_to_hf.py"
        subprocess.run([sys.executable, convert, args.gguf, folder, "--dtype", "f32"], check=True)
        model = reference.load(folder)
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        prompts = [record(model, tokenizer, text) for text in PROMPTS]
    goldens = {
        "recipe": "tests/parity/record_smollm2_goldens.py",
        "versions": {
            **reference.versions(),
            **{name: importlib.metadata.version(name) for name in ("gguf", "numpy", "tokenizers")},
        },
        "gguf": {
            "name": args.gguf.name,
            "bytes": args.gguf.stat().st_size,
            "sha256": hashlib.sha256(args.gguf.read_bytes()).hexdigest(),
        },
        "compute": "blocks decoded to float32, float32 arithmetic, eager attention, end tokens ignored",
        "prompts": prompts,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(goldens, indent=1)
    text = re.sub(
        r"\[\s+([^][{}]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", text
    )  # a list a line
    args.out.write_text(text + "\n")
    print(f"{args.out}: {len(prompts)} prompts, smallest lead {min(p['smallest_lead'] for p in prompts)}")


if __name__ == "__main__":
    main()
