#!/usr/bin/env python3
"""Holds shoehorn's logits and greedy ids against transformers in float32, on any model and prompt.

    tests/parity/compare_logits.py MODEL                       # two random rows, then the same padded
    tests/parity/compare_logits.py MODEL --ids 1,2,3 --new-tokens 32
    tests/parity/compare_logits.py FILE.gguf --options "--device-map disk"
    tests/parity/compare_logits.py MODEL --options "--dtype bfloat16" --tolerance 0.03

MODEL is a checkpoint folder or a .gguf file, which transformers gets decoded to float32. The distance is
max |difference| over max |logit|; the exit code is 1 where it passes --tolerance or greedy ids differ
(the smallest lead of a pick is printed: one below the distance explains it). Needs torch, transformers, safetensors (and gguf, numpy).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import reference
import safetensors.torch
import shoehorn_side
import torch


def shoehorn_logits(args: argparse.Namespace, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """inputs as `logits --ids-file` reads them -> float32 [B, T, vocab]."""
    with tempfile.TemporaryDirectory() as temporary:
        ids_file, out = Path(temporary) / "ids.safetensors", Path(temporary) / "logits.safetensors"
        safetensors.torch.save_file(inputs, ids_file)
        shoehorn_side.call(args, "logits", "--ids-file", ids_file, "--out", out)
        return safetensors.torch.load_file(out)["logits"]


def padded(ids: torch.Tensor, pads: list[int]) -> dict[str, torch.Tensor]:
    """Left-pads row b with pads[b] zeros, cutting it at its end; positions as generate() numbers them."""
    rows = [
        torch.cat([torch.zeros(n, dtype=ids.dtype), row[: len(row) - n]])
        for n, row in zip(pads, ids, strict=True)
    ]
    mask = torch.ones_like(ids)
    for row, n in zip(mask, pads, strict=True):
        row[:n] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {"input_ids": torch.stack(rows), "attention_mask": mask, "position_ids": positions}


def distance(ours: torch.Tensor, theirs: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """max |ours - theirs| over max |theirs|, where the mask is 1."""
    if ours.shape != theirs.shape:
        raise SystemExit(f"shoehorn's logits are {list(ours.shape)}, transformers' {list(theirs.shape)}")
    if mask is not None:
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    if not torch.isfinite(ours).all():
        return float("inf")
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def check(what: str, found: float, tolerance: float) -> bool:
    passed = found <= tolerance
    print(f"{'ok  ' if passed else 'FAIL'} {what}: {found:.2e} of the largest logit (limit {tolerance:.0e})")
    return passed


def check_greedy(args: argparse.Namespace, model, ids: list[int]) -> bool:
    theirs, lead = reference.greedy(model, ids, args.new_tokens)
    text = ",".join(map(str, ids))
    options = ("--ids", text, "--max-new-tokens", args.new_tokens, "--ignore-eos", "--do-sample", "false")
    ours = shoehorn_side.call_json(args, "run", *options)["ids"][-args.new_tokens :]
    same = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    if same is None and len(ours) == len(theirs):
        print(f"ok   greedy: {len(ours)} ids equal (smallest lead {lead:.3g})")
        return True
    print(f"FAIL greedy: differ at {same}: {ours} and transformers' {theirs} (smallest lead {lead:.3g})")
    return False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shoehorn_side.add_options(parser)
    parser.add_argument("--ids", help="a prompt, as 1,2,3 (default: two random rows)")
    parser.add_argument("--length", type=int, default=48, help="of the random rows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--new-tokens", type=int, default=16, help="0: no greedy continuation")
    parser.add_argument("--tolerance", type=float, default=5e-5)
    args = parser.parse_args()
    with shoehorn_side.reference_folder(args) as folder:
        model = reference.load(folder)
    if args.ids:
        ids = torch.tensor([[int(i) for i in args.ids.split(",")]])
    else:
        draw = torch.Generator().manual_seed(args.seed)
        ids = torch.randint(3, model.config.vocab_size, (2, args.length), generator=draw)
    passed = check(
        "logits",
        distance(shoehorn_logits(args, {"input_ids": ids}), reference.logits(model, ids)),
        args.tolerance,
    )
    if len(ids) > 1 and ids.shape[1] > 8:
        inputs = padded(ids, [5, 2])
        theirs = reference.logits(
            model,
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            position_ids=inputs["position_ids"],
        )
        found = distance(shoehorn_logits(args, inputs), theirs, inputs["attention_mask"])
        passed &= check("padded batch", found, args.tolerance)
    if args.new_tokens:
        passed &= check_greedy(args, model, ids[0].tolist())
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
