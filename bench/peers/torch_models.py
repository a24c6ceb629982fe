"""transformers, alone, with accelerate's placement and hooks, and with bitsandbytes' quantized layers."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import torch
import transformers

from peers import Limits

transformers.utils.logging.disable_progress_bar()

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def prepare(model: Path, form: str, folder: Path) -> Path:
    return model


def quantization(form: str) -> transformers.BitsAndBytesConfig | None:
    """What a user of bitsandbytes writes for this form."""
    if form == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    if form in ("nf4", "nf4-dq", "fp4"):
        return transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=form[:3],
            bnb_4bit_use_double_quant=form.endswith("-dq"),
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return None


def max_memory(text: str) -> dict | None:
    """0=10GiB,cpu=6GiB -> {0: "10GiB", "cpu": "6GiB"}"""
    pairs = (item.split("=", 1) for item in text.split(",") if item)
    return {int(key) if key.isdigit() else key: size for key, size in pairs} or None


def import_everything(peer: str) -> None:
    """What from_pretrained would import on its first call: no part of loading a model."""
    importlib.import_module("transformers.models.llama.modeling_llama")
    importlib.import_module(peer)


class Engine:
    def __init__(self, path: Path, form: str, limits: Limits, peer: str = "transformers"):
        torch.set_num_threads(limits.threads)
        options: dict = {"dtype": DTYPES.get(form, torch.bfloat16)}
        if peer == "accelerate":
            options |= {
                "device_map": "auto",
                "max_memory": max_memory(limits.max_memory),
                "offload_folder": limits.offload_folder or None,
            }
        elif peer == "bitsandbytes":
            options |= {"device_map": "cpu", "quantization_config": quantization(form)}
        self.model = transformers.AutoModelForCausalLM.from_pretrained(path, **options).eval()
        self.notes = f"attention: {self.model.config._attn_implementation}"
        placed = getattr(self.model, "hf_device_map", {})
        if "disk" in placed.values():
            self.notes += f"; {sum(device == 'disk' for device in placed.values())} modules on disk"

    @torch.inference_mode()
    def generate(self, ids: list[int], tokens: int) -> list[float]:
        # The bare loop rather than generate(), whose bookkeeping would be counted against the engine.
        step, cache, times = torch.tensor([ids]), None, []
        for _ in range(tokens):
            out = self.model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            step = out.logits[:, -1].argmax(-1, keepdim=True)
            times.append(time.perf_counter())
        return times
