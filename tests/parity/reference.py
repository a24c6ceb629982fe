"""What transformers computes in float32: the other side of every comparison in this folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers

transformers.utils.logging.disable_progress_bar()


def load(folder: Path, dtype: str = "float32", threads: int = 0) -> transformers.PreTrainedModel:
    """The folder's model with weights converted to dtype, eager attention, on the CPU."""
    if threads:
        torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="eager"
    )
    return model.eval()


def versions() -> dict[str, str]:
    return {
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "python": sys.version.split()[0],
    }


@torch.inference_mode()
def logits(model, ids: torch.Tensor, **inputs) -> torch.Tensor:
    """ids [B, T] -> float32 [B, T, vocab], one forward over all positions."""
    return model(input_ids=ids, use_cache=False, **inputs).logits.float()


@torch.inference_mode()
def greedy(model, ids: list[int], new_tokens: int) -> tuple[list[int], float]:
    """The greedy continuation, never stopped by an end token, and the smallest lead of a pick.

    Recomputes nothing: keys and values are cached, as every generating program does."""
    step = torch.tensor([ids])
    cache = None
    picked: list[int] = []
    smallest_lead = float("inf")
    for _ in range(new_tokens):
        out = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        best = out.logits[0, -1].float().topk(2)
        smallest_lead = min(smallest_lead, (best.values[0] - best.values[1]).item())
        picked.append(int(best.indices[0]))
        step = best.indices[:1].reshape(1, 1)
    return picked, smallest_lead
