#!/usr/bin/env python3
"""Writes tests/data/models/{gpt_oss-mxfp4,deepseek_v3-fp8,qwen3_moe-stacked}: small mixtures in the forms that
no other fixture has, with the logits and greedy ids that transformers computes from the same stored bytes.

    tests/parity/record_mixture_goldens.py

Recorded with transformers 5.24.0, torch 2.15.0; another version may need another SEEDS entry where a greedy
pick is too close, which this script says.
"""

from __future__ import annotations

import mixture_models
import reference
import safetensors.torch
import shoehorn_side
import torch

SEEDS = {("gpt_oss", "mxfp4"): 0, ("deepseek_v3", "fp8"): 0, ("qwen3_moe", "stacked"): 1}
LEAST_LEAD = 0.01


def main() -> None:
    print(reference.versions())
    for (model_type, storage), seed in SEEDS.items():
        folder = shoehorn_side.ROOT / "tests/data/models" / f"{model_type}-{storage}"
        model = mixture_models.make(folder, model_type, storage, seed)
        ids = torch.randint(3, model.config.vocab_size, (2, 24), generator=torch.Generator().manual_seed(seed))
        greedy, lead = reference.greedy(model, ids[0, :8].tolist(), 16)
        if lead < LEAST_LEAD:
            raise SystemExit(f"{folder.name}: a pick leads by {lead:.3g}: take another seed than {seed}")
        golden = {"input_ids": ids, "logits": reference.logits(model, ids), "greedy_ids": torch.tensor(greedy)}
        safetensors.torch.save_file({k: v.contiguous() for k, v in golden.items()}, folder / "logits.safetensors")
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{folder.name}: {size} bytes, smallest lead {lead:.3g}")


if __name__ == "__main__":
    main()
