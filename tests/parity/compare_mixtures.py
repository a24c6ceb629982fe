#!/usr/bin/env python3
"""Holds shoehorn against transformers on drawn mixtures of experts: other sizes, flags and ways to store experts.

    tests/parity/compare_mixtures.py --draws 5
    tests/parity/compare_mixtures.py --draws 1 --only gpt_oss:mxfp4 --keep /tmp/models

Prints a line a kind with the largest distance, max |difference| over max |logit|; a draw in which a router's
choice is so close that rounding decides it (the distance then is that of another expert) shows as a FAIL with
its seed. The exit code is 1 where a distance passes --tolerance. Needs torch, transformers, safetensors.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import compare_logits
import mixture_models
import reference
import shoehorn_side
import torch


def compare(args: argparse.Namespace, folder: Path, model, seed: int) -> float:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, model.config.vocab_size, (2, args.length), generator=draw)
    args.model = folder
    ours = compare_logits.shoehorn_logits(args, {"input_ids": ids})
    return compare_logits.distance(ours, reference.logits(model, ids))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shoehorn", type=Path, default=shoehorn_side.ROOT / "build/release/shoehorn")
    parser.add_argument("--options", default="--dtype float32")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the first draw")
    parser.add_argument("--length", type=int, default=24)
    parser.add_argument("--only", help="TYPE:STORAGE")
    parser.add_argument("--keep", type=Path, help="writes the models here and leaves them")
    parser.add_argument("--tolerance", type=float, default=5e-5)
    args = parser.parse_args()
    passed = True
    with tempfile.TemporaryDirectory() as temporary:
        for model_type, storage in mixture_models.kinds():
            if args.only and args.only != f"{model_type}:{storage}":
                continue
            distances = []
            for seed in range(args.seed, args.seed + args.draws):
                folder = (args.keep or Path(temporary)) / f"{model_type}-{storage}-{seed}"
                model = mixture_models.make(folder, model_type, storage, seed)
                distances.append(compare(args, folder, model, seed))
                if distances[-1] > args.tolerance:
                    print(f"FAIL {model_type}:{storage} seed {seed}: {distances[-1]:.2e}")
                    passed = False
            print(f"{model_type:12} {storage:11} {len(distances)} draws, largest distance {max(distances):.1e}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
