#!/usr/bin/env python3
"""Times transformers, with bitsandbytes' layers for int8 and nf4, on a CUDA card: gpu.py starts it.

    gpu_peer.py bf16|int8|nf4 --shape llama-3-8b --prompt-tokens 2048 --gen-tokens 64
        -> {"prefill_tok_s", "decode_tok_s", "memory_bytes", "versions"}

The weights are made on the card, after the rule by which shoehorn makes its own (`--synthetic`): six
features of every layer are lifted over LLM.int8()'s threshold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
import transformers

from llama_shape import SHAPES, LlamaShape
from make_checkpoint import OUTLIER_WEIGHT, standard_deviation
from tensor_spec import TensorSpec

FEATURES = 6
NARROWED = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight")


@torch.no_grad()
def fill(model: torch.nn.Module, shape: LlamaShape) -> None:
    features = torch.tensor([(2 * i + 1) * shape.hidden_size // (2 * FEATURES) for i in range(FEATURES)])
    features = features.unique().to("cuda")
    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            weight.normal_(1, 0.1)
            if name.endswith("layernorm.weight"):
                weight[features] *= OUTLIER_WEIGHT
            continue
        weight.normal_(0, standard_deviation(TensorSpec(name, tuple(weight.shape)), shape))
        if name.endswith(NARROWED):
            weight[:, features] /= OUTLIER_WEIGHT
        if name.endswith("up_proj.weight"):
            weight /= 2
        if name.endswith("down_proj.weight"):
            weight *= 2


def quantize(model: torch.nn.Module, form: str) -> None:
    """Puts bitsandbytes' layers in the place of every Linear but the head, as transformers does."""
    import bitsandbytes as bnb

    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        parent = model.get_submodule(name.rpartition(".")[0])
        size = (module.in_features, module.out_features)
        # Quantized on the way from the host to the card: its layers know no other way.
        weight = module.weight.data.to("cpu")
        if form == "int8":
            layer = bnb.nn.Linear8bitLt(*size, bias=False, has_fp16_weights=False, threshold=6.0)
            layer.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
        else:
            layer = bnb.nn.Linear4bit(*size, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
            layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
        setattr(parent, name.rpartition(".")[2], layer.to("cuda"))
        module.weight = None
    torch.cuda.empty_cache()


@torch.inference_mode()
def run_once(model: torch.nn.Module, ids: torch.Tensor, gen_tokens: int) -> tuple[float, float]:
    """(seconds of the prompt, seconds of the other tokens)"""
    torch.cuda.synchronize()
    start = time.perf_counter()
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    step = out.logits[:, -1].argmax(-1, keepdim=True)
    step.tolist()  # the token is known
    first = time.perf_counter()
    for _ in range(gen_tokens - 1):
        out = model(input_ids=step, past_key_values=out.past_key_values, use_cache=True)
        step = out.logits[:, -1].argmax(-1, keepdim=True)
        step.tolist()
    return first - start, time.perf_counter() - first


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("form", choices=("bf16", "int8", "nf4"))
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--prompt-tokens", type=int, required=True)
    parser.add_argument("--gen-tokens", type=int, required=True)
    parser.add_argument("--repetitions", type=int, default=2)
    args = parser.parse_args()
    shape = SHAPES[args.shape]
    config = transformers.LlamaConfig(**shape.config("bf16"))
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = transformers.LlamaForCausalLM(config).eval()
    fill(model, shape)
    if args.form != "bf16":
        quantize(model, args.form)
    ids = torch.randint(16, shape.vocab_size, (1, args.prompt_tokens), device="cuda")
    runs = [run_once(model, ids, args.gen_tokens) for _ in range(args.repetitions + 1)][1:]
    prefill = statistics.median(run[0] for run in runs)
    decode = statistics.median(run[1] for run in runs)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    if args.form != "bf16":
        import bitsandbytes

        versions["bitsandbytes"] = bitsandbytes.__version__
    result = {
        "prefill_tok_s": args.prompt_tokens / prefill,
        "decode_tok_s": (args.gen_tokens - 1) / decode,
        "memory_bytes": torch.cuda.max_memory_allocated(),
        "attention": model.config._attn_implementation,
        "versions": versions,
    }
    print("\n" + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
