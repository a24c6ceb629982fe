#!/usr/bin/env python3
"""Records the sizes of full-size models on the meta device: tests/data/full_size_trees.json.

    tests/parity/record_full_size_trees.py > tests/data/full_size_trees.json

The configs are those of the released checkpoints, as far as shapes go. For each: parameters (tied ones once);
accelerate's compute_module_sizes in the stored type of every module, layers that are alike once, as
{first-last}; what `accelerate estimate-memory` counts, the base model in float32 and its largest layer; and a
device map of infer_auto_device_map for 80 GiB on 0 and 200 GiB of host memory. Needs torch, transformers and
accelerate; no weights.
"""

from __future__ import annotations

import json
import re

import accelerate
import reference
import torch
import transformers
from accelerate.utils import calculate_maximum_sizes, compute_module_sizes

YARN_V3 = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 40,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 4096,
    "type": "yarn",
}
LLAMA3 = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
YARN_OSS = {
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "factor": 32.0,
    "original_max_position_embeddings": 4096,
    "rope_type": "yarn",
    "truncate": False,
}

CONFIGS = {
    "bloom-176b": {
        "architectures": ["BloomForCausalLM"],
        "model_type": "bloom",
        "hidden_size": 14336,
        "n_layer": 70,
        "num_attention_heads": 112,
        "vocab_size": 250880,
        "layer_norm_epsilon": 1e-05,
        "seq_length": 2048,
        "torch_dtype": "bfloat16",
    },
    "llama-3.1-405b": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 16384,
        "intermediate_size": 53248,
        "num_hidden_layers": 126,
        "num_attention_heads": 128,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0,
        "rope_scaling": LLAMA3,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    },
    "deepseek-v3": {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "n_group": 8,
        "topk_group": 4,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "moe_layer_freq": 1,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "vocab_size": 129280,
        "max_position_embeddings": 163840,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000,
        "rope_scaling": YARN_V3,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "num_nextn_predict_layers": 1,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    },
    "qwen3-235b-a22b": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "moe_intermediate_size": 1536,
        "num_hidden_layers": 94,
        "num_attention_heads": 64,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "rope_scaling": None,
        "max_window_layers": 94,
        "sliding_window": None,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    },
    "gpt-oss-120b": {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
        "experts_per_token": 4,
        "vocab_size": 201088,
        "max_position_embeddings": 131072,
        "initial_context_length": 4096,
        "rms_norm_eps": 1e-05,
        "rope_theta": 150000,
        "rope_scaling": YARN_OSS,
        "sliding_window": 128,
        "layer_types": ["sliding_attention", "full_attention"] * 18,
        "attention_bias": True,
        "swiglu_limit": 7.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    },
}

BUDGET = {0: 80 << 30, "cpu": 200 << 30}


def config_of(settings: dict):
    settings = {key: value for key, value in settings.items() if key != "architectures"}
    return transformers.AutoConfig.for_model(**settings)


def on_meta(auto_class, config, dtype: torch.dtype) -> torch.nn.Module:
    with torch.device("meta"):
        return auto_class.from_config(config, dtype=dtype)


def grouped(sizes: dict[str, int], classes: dict[str, str]) -> list[list]:
    """[[path, class, bytes], ...], runs of equal numbered layers as one path with {first-last}."""
    entries: list[list] = []
    runs: dict[tuple, list[int]] = {}
    for path, name in classes.items():
        size = sizes.get(path, 0)
        layer = re.match(r"(.*?\.)(\d+)(\..*)?$", path)
        if layer is None:
            entries.append([path, name, size])
            continue
        key = (layer[1], layer[3] or "", name, size)
        number = int(layer[2])
        if key in runs and runs[key][-1] == number - 1:
            runs[key][-1] = number
        elif key in runs:
            raise SystemExit(f"{path}: layers that are alike do not follow each other")
        else:
            runs[key] = [number, number]
            entries.append([key, name, size])
    for entry in entries:
        if isinstance(entry[0], tuple):
            first, last = runs[entry[0]]
            entry[0] = f"{entry[0][0]}{{{first}-{last}}}{entry[0][1]}"
    return entries


def facts(settings: dict) -> dict:
    config = config_of(settings)
    model = on_meta(transformers.AutoModelForCausalLM, config, torch.bfloat16)
    model.tie_weights()
    classes = {path: type(module).__name__ for path, module in model.named_modules()}
    sizes = compute_module_sizes(model)
    base = on_meta(transformers.AutoModel, config, torch.float32)
    total, largest = calculate_maximum_sizes(base)
    device_map = accelerate.infer_auto_device_map(
        model, max_memory=dict(BUDGET), no_split_module_classes=sorted(model._no_split_modules)
    )
    return {
        "config": settings,
        "parameters": sum(p.numel() for p in model.parameters()),
        "footprint_bytes": model.get_memory_footprint(),
        "modules": grouped(sizes, classes),
        "estimate_total_bytes": total,
        "estimate_largest_layer_bytes": largest[0],
        "device_map": [[k, str(v)] for k, v in device_map.items()],
    }


def main() -> None:
    made = reference.versions() | {"accelerate": accelerate.__version__}
    models = []
    for name, settings in CONFIGS.items():
        text = json.dumps(facts(settings), separators=(",", ":"))
        models.append(f'"{name}":' + text.replace('],["', '],\n["'))
    body = ",\n".join(models)
    budget = {str(key): value for key, value in BUDGET.items()}
    print(f'{{"made with":{json.dumps(made)},"max_memory":{json.dumps(budget)},"models":{{\n{body}\n}}}}')


if __name__ == "__main__":
    main()
