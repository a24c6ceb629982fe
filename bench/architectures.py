#!/usr/bin/env python3
"""How fast each architecture is beside a Llama that multiplies as many weights for a token.

    bench/architectures.py                                   # all, a Markdown table on stdout
    bench/architectures.py --only gpt2,mixtral --rounds 5 --json rates.json

Models of about 110 M parameters, bfloat16, made up in memory (`bench --synthetic`): 8 layers, 1024 wide, 16
heads of 64. The Llama beside each has the same layers, width, heads, key/value heads and vocabulary, and an
intermediate size that makes the weights which a token meets as many (of mixtures: those of the experts it
chooses; embeddings that are looked up do not count). The two run in turn, each in a process of its own; a rate
is the best of a run's repetitions, a ratio is taken within a round, and the median over rounds is reported.
Needs Python alone; run it where nothing else does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, LAYERS, HEADS, VOCAB = 1024, 8, 16, 16384

BASE = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "intermediate_size": 2816,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
GPT = {
    "vocab_size": VOCAB,
    "n_embd": WIDTH,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": 2048,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
WIDE = {"intermediate_size": 4 * WIDTH}
EXPERTS = {"moe_intermediate_size": 512, "num_experts_per_tok": 2, "norm_topk_prob": True}

# What differs from BASE or GPT.
MODELS = {
    "mistral": BASE | {"num_key_value_heads": 4, "sliding_window": None},
    "qwen2": BASE | {"num_key_value_heads": 4},
    "qwen3": BASE | {"num_key_value_heads": 4, "head_dim": 64},
    "gemma": BASE | {"head_dim": 64},
    "gemma2": BASE | {"head_dim": 64, "num_key_value_heads": 4, "query_pre_attn_scalar": 64},
    "gemma3_text": BASE | {"head_dim": 64, "num_key_value_heads": 4, "query_pre_attn_scalar": 64},
    "phi": BASE | WIDE,
    "phi3": BASE | {"sliding_window": None},
    "stablelm": BASE,
    "starcoder2": BASE | WIDE | {"num_key_value_heads": 4},
    "olmo2": BASE,
    "cohere": BASE | {"logit_scale": 0.0625},
    "granite": BASE | {"num_key_value_heads": 4},
    "glm4": BASE | {"head_dim": 64, "num_key_value_heads": 4, "attention_bias": True},
    "smollm3": BASE | {"num_key_value_heads": 4},
    "gpt2": GPT,
    "gptj": GPT | {"rotary_dim": 64},
    "gpt_neox": BASE | WIDE,
    "opt": BASE | {"ffn_dim": 4 * WIDTH, "word_embed_proj_dim": WIDTH},
    "bloom": BASE | {"n_layer": LAYERS, "n_head": HEADS},
    "falcon": BASE | {"multi_query": True},
    "mixtral": BASE | {"num_key_value_heads": 4, "intermediate_size": 1024, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": BASE | EXPERTS | {"num_key_value_heads": 4, "head_dim": 64, "num_experts": 8},
    "gpt_oss": BASE
    | {"num_key_value_heads": 4, "head_dim": 64, "intermediate_size": 1024, "num_local_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": BASE
    | EXPERTS
    | {
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "n_group": 2,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "q_lora_rank": 384,
        "kv_lora_rank": 128,
        "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
    },
}
LOOKED_UP = ("embed_tokens", "wte", "wpe", "embed_in", "word_embeddings", "embed_positions")


def call(shoehorn: Path, *arguments: object) -> dict:
    done = subprocess.run([str(shoehorn), *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"shoehorn {' '.join(map(str, arguments))}: {done.stderr}")
    return json.loads(done.stdout)


def weights_met(tree: dict, config: dict, path: str = "") -> float:
    """Parameters of matrices that a token is multiplied with."""
    total = 0.0
    for name, parameter in tree.get("parameters", {}).items():
        if path.rsplit(".", 1)[-1] in LOOKED_UP:
            continue
        count = 1
        for size in parameter["shape"]:
            count *= size
        if len(parameter["shape"]) == 3:
            count *= config["num_experts_per_tok"] / parameter["shape"][0]
        total += count if len(parameter["shape"]) > 1 else 0
    for name, child in tree.get("children", {}).items():
        total += weights_met(child, config, f"{path}.{name}" if path else name)
    return total


def write(folder: Path, config: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def twin(met: float, model: dict) -> dict:
    """A Llama that multiplies as many weights."""
    kv = model.get("num_key_value_heads", HEADS)
    if model["model_type"] in ("deepseek_v3", "falcon"):
        kv = HEADS if model["model_type"] == "deepseek_v3" else 1
    attention = WIDTH * WIDTH * 2 + 2 * WIDTH * WIDTH * kv // HEADS
    left = met - VOCAB * WIDTH - LAYERS * attention
    return BASE | {
        "model_type": "llama",
        "num_key_value_heads": kv,
        "intermediate_size": max(64, round(left / LAYERS / 3 / WIDTH / 32) * 32),
    }


def measure(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    found = call(
        args.shoehorn, "bench", "--synthetic", folder, "--prompt-tokens", args.prompt_tokens, "--gen-tokens",
        args.gen_tokens, "--repetitions", args.repetitions, "--no-probe", "--json", "--max-context", 1024,
        "--device-map", "cpu",
    )  # fmt: skip
    return {"prefill": found["prefill_tok_s"], "decode": found["decode_tok_s"]}


def compare(args: argparse.Namespace, name: str, folder: Path) -> dict:
    config = {"model_type": name} | MODELS[name]
    model = write(folder / name, config)
    met = weights_met(call(args.shoehorn, "inspect", "--synthetic", model, "--json")["tree"], config)
    llama_config = twin(met, config)
    llama = write(folder / f"{name}-llama", llama_config)
    llama_met = weights_met(call(args.shoehorn, "inspect", "--synthetic", llama, "--json")["tree"], llama_config)
    rounds = []
    for number in range(args.rounds):
        order = (model, llama) if number % 2 == 0 else (llama, model)
        rates = {path: measure(args, path) for path in order}
        rounds.append({"model": rates[model], "llama": rates[llama]})
    facts: dict = {"weights": met, "llama_weights": llama_met, "rounds": rounds}
    for rate in ("prefill", "decode"):
        facts[rate] = statistics.median(r["model"][rate] for r in rounds)
        ratios = [r["model"][rate] / r["llama"][rate] for r in rounds]
        # Per weight: the twin's intermediate size is a multiple of 32.
        facts[f"{rate}_ratio"] = statistics.median(ratios) * met / llama_met
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shoehorn", type=Path, default=ROOT / "build/release/shoehorn")
    parser.add_argument("--only", default="", help="architectures, separated by commas (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--gen-tokens", type=int, default=33)
    parser.add_argument("--json", type=Path, help="every round, written here")
    args = parser.parse_args()
    results = {}
    print("| | weights a token meets | prefill tok/s | of Llama's | decode tok/s | of Llama's |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.only.split(",") if args.only else MODELS:
            r = results[name] = compare(args, name, Path(temporary))
            print(
                f"| {name} | {r['weights'] / 1e6:.0f} M | {r['prefill']:.0f} | {r['prefill_ratio']:.2f} "
                f"| {r['decode']:.1f} | {r['decode_ratio']:.2f} |",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    slow = [name for name, r in results.items() if min(r["prefill_ratio"], r["decode_ratio"]) < 0.9]
    if slow:
        print(f"more than 10 % below: {', '.join(slow)}", file=sys.stderr)


if __name__ == "__main__":
    main()
