#!/usr/bin/env python3
"""Records what transformers' models look like on the meta device: tests/data/module_trees.json.

    tests/parity/record_module_trees.py tests/data/models/*/config.json > tests/data/module_trees.json

For each config: every module in order of registration with its class, parameters and buffers, the tied
parameters, the classes that are not split and the base model's prefix; and of the model that from_pretrained loads
in 16 bits, where transformers reads the file's weights as they are: what get_memory_footprint() says, and the
parameters and buffers that stay float32 all the same. Needs torch and transformers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import transformers


def module_facts(model: torch.nn.Module) -> list[list]:
    """[[path, class, [[parameter, shape], ...], [[buffer, shape, dtype, persistent], ...]], ...]"""
    facts = []
    for path, module in model.named_modules():
        parameters = [[name, list(p.shape)] for name, p in module._parameters.items() if p is not None]
        buffers = [
            [name, list(b.shape), str(b.dtype)[len("torch.") :], name not in module._non_persistent_buffers_set]
            for name, b in module._buffers.items()
            if b is not None
        ]
        facts.append([path, type(module).__name__, parameters, buffers])
    return facts


def loaded_facts(folder: Path) -> dict:
    facts = {}
    for dtype in (torch.bfloat16, torch.float16):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        tensors = list(model.named_parameters()) + [
            (path, b) for path, b in model.named_buffers() if path in model.state_dict()
        ]
        facts[str(dtype)[len("torch.") :]] = {
            "footprint_bytes": model.get_memory_footprint(),
            "float32": [path for path, tensor in tensors if tensor.dtype == torch.float32],
        }
    return facts


def model_facts(config_file: Path) -> dict:
    config = transformers.AutoConfig.from_pretrained(config_file.parent)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    quantized = getattr(config, "quantization_config", None) is not None
    return {
        "loaded": None if quantized else loaded_facts(config_file.parent),
        "modules": module_facts(model),
        "ties": dict(model._tied_weights_keys or {}) if config.tie_word_embeddings else {},
        "no_split": sorted(model._no_split_modules),
        "base_model_prefix": model.base_model_prefix,
    }


def main() -> None:
    facts = {
        "made with": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "models": {Path(file).parent.name: model_facts(Path(file)) for file in sorted(sys.argv[1:])},
    }
    # One module a line: readable differences, small file.
    text = json.dumps(facts, separators=(",", ":"))
    print(text.replace('["', '\n["', 1).replace('],["', '],\n["'))


if __name__ == "__main__":
    main()
