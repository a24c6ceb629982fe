#!/usr/bin/env python3
"""Records what transformers' models look like on the meta device: tests/data/module_trees.json.

    tests/parity/record_module_trees.py tests/data/models/*/config.json > tests/data/module_trees.json

For each config: every module in order of registration with its class, parameters and buffers, the tied
parameters, the classes that are not split and the base model's prefix. Needs torch and transformers.
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


def model_facts(config_file: Path) -> dict:
    config = transformers.AutoConfig.from_pretrained(config_file.parent)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return {
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
