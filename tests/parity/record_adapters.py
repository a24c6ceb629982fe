#!/usr/bin/env python3
"""Records tests/data/adapters: LoRA adapters as PEFT saves them, and what PEFT computes with them.

    tests/parity/record_adapters.py

Each folder is an adapter of tests/data/models/llama-tied-bias with random weights; goldens.safetensors has
the float32 logits of one prompt for each, for two of them together, and for one at half its strength.
Needs torch, transformers and peft; the versions are in the file's metadata.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

DATA = Path(__file__).resolve().parents[1] / "data"
BASE = DATA / "models" / "llama-tied-bias"
OUT = DATA / "adapters"
IDS = [1, 17, 42, 5, 99, 63, 7, 30, 11, 2, 54, 18]

ADAPTERS = {
    "list": {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj", "gate_proj"]},
    "patterns": {
        "r": 3,
        "lora_alpha": 5,
        "use_rslora": True,
        "target_modules": r"model\.layers\.\d+\.(self_attn\.(k|v|o)_proj|mlp\.up_proj)",
        "rank_pattern": {r"layers\.0\.self_attn\.[kv]_proj": 2, "up_proj": 5},
        "alpha_pattern": {r"layers\.1\..*": 9, "model.layers.0.mlp.up_proj": 1.5},
    },
    "biases": {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "up_proj"], "bias": "all"},
    "lora-bias": {"r": 2, "lora_alpha": 4, "target_modules": ["v_proj", "o_proj"], "lora_bias": True},
    "head": {"r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]},
    "old-bin": {"r": 2, "lora_alpha": 3, "target_modules": "all-linear", "fan_in_fan_out": False},
}


def base():
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, attn_implementation="eager").eval()


def make(name: str, options: dict) -> None:
    model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", **options))
    torch.manual_seed(sum(name.encode()))
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.requires_grad:
                value.add_(0.15 * torch.randn_like(value))
    folder = OUT / name
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "../../models/llama-tied-bias"
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (folder / "README.md").unlink(missing_ok=True)
    if name == "old-bin":
        torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
        (folder / "adapter_model.safetensors").unlink()


@torch.no_grad()
def logits(names: list[str], strength: float = 1.0) -> torch.Tensor:
    model = PeftModel.from_pretrained(base(), OUT / names[0], adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(OUT / name, adapter_name=name)
    model.base_model.set_adapter(names)
    if strength != 1.0:
        for module in model.modules():
            if hasattr(module, "scale_layer"):
                module.scale_layer(strength)
    return model.eval()(torch.tensor([IDS])).logits[0].float().contiguous()


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    for name, options in ADAPTERS.items():
        make(name, options)
    tensors = {"input_ids": torch.tensor([IDS])}
    tensors["base"] = base()(torch.tensor([IDS])).logits[0].detach().contiguous()
    for name in ADAPTERS:
        tensors[name] = logits([name])
    tensors["list+patterns"] = logits(["list", "patterns"])
    tensors["list=0.5"] = logits(["list"], 0.5)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft")}
    save_file(tensors, OUT / "goldens.safetensors", metadata=versions)


if __name__ == "__main__":
    main()
