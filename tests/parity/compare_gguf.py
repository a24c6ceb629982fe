#!/usr/bin/env python3
"""Holds shoehorn on GGUF files of random small models against llama.cpp and transformers.

    tests/parity/compare_gguf.py --draws 3 --seed 1              # every architecture, F32, F16, Q8_0
    tests/parity/compare_gguf.py --only falcon,gpt2 --kinds f32,q4_k_m
    tests/parity/compare_gguf.py --tokenizers tests/data/tokenizers
    tests/parity/compare_gguf.py --golden tests/data/gguf/tiny

Each draw writes random weights as a GGUF file (tiny_gguf.py) and compares float32 logits of one row:
with llama.cpp's (llama_cpp_side.py says through what), and with transformers', which
gets the float32 model itself for F32 files, and for every file the folder that `shoehorn convert`
makes of it. Kinds with a K are made by llama.cpp out of the F32 file, with wider models. The exit code is 1
where a distance passes its limit: 5e-5 of the largest logit from transformers; on F32 files 2e-4 from
llama.cpp, 1e-2 where a model has a gelu, which is a table in half precision there. On other files the
distance from llama.cpp is printed and not held: its products round activations to the type of the
weights, 8 bits for blocks, which random weights carry far, and a router may choose other experts. Needs torch, transformers, gguf,
numpy, safetensors and what llama_cpp_side.py says.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import compare_logits
import gguf_tokenizers
import llama_cpp_side
import reference
import safetensors.torch
import shoehorn_side
import tiny_gguf
import tokenizers
import torch
import transformers

EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}
VOCAB = 288
LENGTH = 40
TOLERANCE = 5e-5  # from transformers
# From llama.cpp on F32 files: with gelu, without.
GELU_LIMIT, LIMIT = 1e-2, 2e-4
GELU = ("gemma", "gemma2", "gemma3_text", "starcoder2", "gpt2", "falcon")


def sizes(draw: random.Random, step: int, widths: tuple[int, ...] = (8, 12, 16)) -> dict:
    """`step`: what widths are multiples of, 0 for any."""
    kv, group = draw.choice([1, 2, 3]), draw.choice([1, 2, 4])
    if step:
        kv, group, widths = draw.choice([1, 2]), draw.choice([2, 4]), (64,)
        if step > 64 and kv * group < 4:
            group = 4
    count, width = kv * group, draw.choice(widths)
    return {
        "num_attention_heads": count,
        "num_key_value_heads": kv,
        "hidden_size": count * width,
        "intermediate_size": draw.choice([step, 2 * step, 3 * step] if step else [24, 40, 63]),
        "num_hidden_layers": draw.choice([1, 2, 7]),
        "vocab_size": VOCAB,
        "max_position_embeddings": 256,
        "tie_word_embeddings": draw.choice([True, False]),
    }


def with_head_dim(draw: random.Random, shape: dict, step: int) -> dict:
    width = shape["hidden_size"] // shape["num_attention_heads"]
    return shape | {"head_dim": draw.choice([width, 2 * width] if step else [width, 12, 20])}


def rope(draw: random.Random, kinds: tuple[str, ...] = ("default", "linear", "llama3", "yarn")) -> dict:
    kind = draw.choice(kinds)
    parameters: dict = {"rope_type": kind, "rope_theta": draw.choice([500.0, 10000.0, 1e6])}
    if kind != "default":
        parameters["factor"] = draw.choice([2.0, 4.5])
    if kind == "llama3":
        parameters |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    if kind == "yarn":
        parameters["original_max_position_embeddings"] = 32
    return {"rope_parameters": parameters}


def flags(draw: random.Random, *names: str) -> dict:
    return {name: draw.choice([True, False]) for name in names}


def gemma(draw: random.Random, step: int) -> dict:
    return with_head_dim(draw, sizes(draw, step), step) | {"tie_word_embeddings": True}


def gemma2(draw: random.Random, step: int) -> dict:
    shape = gemma(draw, step)
    return shape | {
        "query_pre_attn_scalar": shape["head_dim"],  # the file has no key for it
        "sliding_window": draw.choice([3, 9]),
        "final_logit_softcapping": draw.choice([2.0, 5.0]),
        "attn_logit_softcapping": draw.choice([1.0, 3.0]),
    }


def gemma3(draw: random.Random, step: int) -> dict:
    shape = gemma2(draw, step)
    full = rope(draw, ("default", "linear"))["rope_parameters"]
    local = {"rope_type": "default", "rope_theta": 10000.0}
    return shape | {
        "final_logit_softcapping": None,
        "attn_logit_softcapping": None,
        "rope_parameters": {"full_attention": full, "sliding_attention": local},
    }


def phi3(draw: random.Random, step: int) -> dict:
    shape = sizes(draw, step, (8, 16)) | {"pad_token_id": 0, "sliding_window": None}
    width = shape["hidden_size"] // shape["num_attention_heads"]
    partial = draw.choice([1.0, 0.5])
    parameters: dict = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": partial}
    if draw.random() < 0.7:
        # llama.cpp takes a context of 256 here: beyond 16, within 256.
        original = draw.choice([16, 256])
        half = int(width * partial) // 2
        parameters |= {
            "rope_type": "longrope",
            "original_max_position_embeddings": original,
            "factor": 512 / original,
            "long_factor": [1.0 + draw.random() * 8 for _ in range(half)],
            "short_factor": [1.0 + draw.random() for _ in range(half)],
        }
        shape |= {"max_position_embeddings": 512, "original_max_position_embeddings": original}
    return shape | {"rope_parameters": parameters}


def gpt2(draw: random.Random, step: int) -> dict:
    shape = sizes(draw, step)
    return {
        "n_head": shape["num_attention_heads"],
        "n_embd": shape["hidden_size"],
        "n_layer": draw.choice([1, 2, 4]),
        "n_inner": draw.choice([None, shape["intermediate_size"]]),
        "n_positions": 256,
        "vocab_size": VOCAB,
        "tie_word_embeddings": shape["tie_word_embeddings"],
        "layer_norm_epsilon": draw.choice([1e-5, 1e-3]),
    }


def falcon(draw: random.Random, step: int) -> dict:
    shape = sizes(draw, step)
    kv = shape.pop("num_key_value_heads")
    del shape["intermediate_size"]
    shape |= {"bias": False, "alibi": False, "parallel_attn": True}
    if draw.random() < 0.4:
        return shape | {"multi_query": True, "new_decoder_architecture": False}
    # One group with one norm is the other layout; a file does not say which.
    norms = draw.choice([1, 2]) if kv > 1 else 2
    return shape | {"new_decoder_architecture": True, "num_kv_heads": kv, "num_ln_in_parallel_attn": norms}


DRAWS = {
    "llama": lambda d, s: with_head_dim(d, sizes(d, s), s) | rope(d) | flags(d, "attention_bias", "mlp_bias"),
    "mixtral": lambda d, s: with_head_dim(d, sizes(d, s), s)
    | rope(d)
    | {"num_local_experts": d.choice([3, 4]), "num_experts_per_tok": d.choice([1, 2]), "sliding_window": None},
    "qwen2": lambda d, s: sizes(d, s) | rope(d, ("default", "linear", "yarn")),
    "qwen3": lambda d, s: with_head_dim(d, sizes(d, s), s) | rope(d, ("default", "linear", "yarn")),
    "gemma": lambda d, s: gemma(d, s) | rope(d, ("default", "linear")),
    "gemma2": lambda d, s: gemma2(d, s) | rope(d, ("default", "linear")),
    "gemma3_text": gemma3,
    "phi3": phi3,
    "starcoder2": lambda d, s: sizes(d, s) | rope(d, ("default", "linear")) | {"use_bias": True},
    "gpt2": gpt2,
    "falcon": falcon,
}


def make_model(name: str, settings: dict, seed: int):
    """The model in memory, its values as files of that kind can hold them."""
    settings = {"pad_token_id": None} | settings
    config = transformers.AutoConfig.for_model(name, **settings)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, **EAGER)
    with torch.no_grad():
        for parameter in model.float().parameters():
            spread = 0.5 if parameter.dim() == 1 else 1.5 / parameter.shape[-1] ** 0.5
            parameter.copy_(torch.randn_like(parameter) * spread + (parameter.dim() == 1) * 0.7)
    return model.eval()


def converted_logits(args: argparse.Namespace, file: Path, ids: torch.Tensor) -> torch.Tensor:
    """transformers' logits of the folder that `shoehorn convert` makes of the file."""
    folder = file.with_suffix(".converted")
    command = [args.shoehorn, "convert", file, folder, "--dtype", "float32"]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, **EAGER
    )
    return reference.logits(model.eval(), ids)[0]


def limit_of(name: str, kind: str) -> float:
    """Of the distance from llama.cpp."""
    if kind != "f32":
        return float("inf")
    return GELU_LIMIT if name in GELU else LIMIT


def compare(args: argparse.Namespace, name: str, kind: str, seed: int) -> dict[str, float]:
    """Distances from llama.cpp, transformers, and transformers on the converted folder."""
    draw = random.Random(f"{name} {seed}")
    step = 256 if kind in llama_cpp_side.FILE_TYPES else 32 if kind.startswith(("q", "iq")) else 0
    settings = DRAWS[name](draw, step)
    model = make_model(name, settings, seed)
    one_by_one = name == "mixtral" and args.one_by_one
    ids = torch.randint(0, 256, (1, LENGTH), generator=torch.Generator().manual_seed(seed))
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "tiny.gguf"
        written = "f32" if kind in llama_cpp_side.FILE_TYPES else kind
        tiny_gguf.write_gguf(model, file, written, gguf_tokenizers.small_byte_level, one_by_one)
        if kind in llama_cpp_side.FILE_TYPES:
            whole, file = file, Path(temporary) / "quantized.gguf"
            llama_cpp_side.quantize(whole, file, kind)
        args.model, args.options = file, args.float_options
        ours = compare_logits.shoehorn_logits(args, {"input_ids": ids})[0]
        found = {"converted": compare_logits.distance(ours, converted_logits(args, file, ids))}
        if kind == "f32":
            found["transformers"] = compare_logits.distance(ours, reference.logits(model, ids)[0])
        if not args.without_llama and not one_by_one:
            found["llama.cpp"] = compare_logits.distance(
                ours, torch.from_numpy(llama_cpp_side.logits(file, ids[0].tolist()))
            )
    args.settings = settings
    return found


def compare_models(args: argparse.Namespace) -> int:
    failed = 0
    for name in args.only.split(",") if args.only else DRAWS:
        for kind in args.kinds.split(","):
            worst: dict[str, float] = {}
            for draw in range(args.draws):
                seed = args.seed * 1000 + draw
                found = compare(args, name, kind, seed)
                for who, distance in found.items():
                    worst[who] = max(worst.get(who, 0.0), distance)
                    limit = limit_of(name, kind) if who == "llama.cpp" else TOLERANCE
                    if not distance <= limit:
                        failed += 1
                        print(f"FAIL {name} {kind} draw {seed}: {distance:.2e} from {who}: {args.settings}")
            text = ", ".join(f"{distance:.1e} from {who}" for who, distance in worst.items())
            print(f"{name} {kind}: {args.draws} draws, worst {text}", flush=True)
    return failed


# Fixture: how its vocabulary is embedded, and what `pre` names its rule.
BYTE_LEVEL = {
    "gpt2-bytelevel": "gpt-2",
    "llama3-split": "llama-bpe",
    "llama3-no-ignore-merges": "smaug-bpe",
    "qwen2-nfc": "qwen2",
    "falcon-digits3": "falcon",
    "starcoder-digits": "starcoder",
    "deepseek-v3-splits": "deepseek-v3",
    "o200k-case": "gpt-4o",
}
SENTENCEPIECE = {
    "llama2-legacy": ({"unk": 0, "bos": 1, "eos": 2}, True),
    "gemma-style": ({"unk": 3, "bos": 2, "eos": 1}, False),
}


def compare_tokenizers(args: argparse.Namespace) -> int:
    """Ids of the fixtures' own cases, from GGUF and from PyPI's tokenizers, no special tokens added."""
    failed = 0
    for name in [*BYTE_LEVEL, *SENTENCEPIECE]:
        folder = args.tokenizers / name
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        texts = [case["text"] for case in json.loads((folder / "cases.json").read_text(encoding="utf-8"))]

        def add(writer, size, name=name, tokenizer=tokenizer):
            if name in BYTE_LEVEL:
                gguf_tokenizers.add_byte_level(writer, tokenizer, BYTE_LEVEL[name])
            else:
                gguf_tokenizers.add_sentencepiece(writer, tokenizer, *SENTENCEPIECE[name])

        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "vocabulary.gguf"
            settings = DRAWS["llama"](random.Random(0), 0) | {"vocab_size": theirs.get_vocab_size()}
            tiny_gguf.write_gguf(make_model("llama", settings, 0), file, "f32", add)
            lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
            command = [str(args.shoehorn), "tokenize", str(file), "--jsonl", "--no-special"]
            others = llama_cpp_side.encode(file, texts)
            done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True)
        ours = [json.loads(line)["ids"] for line in done.stdout.splitlines()]
        expected = [theirs.encode(text, add_special_tokens=False).ids for text in texts]
        different = [i for i, pair in enumerate(zip(ours, expected, strict=True)) if pair[0] != pair[1]]
        failed += len(different)
        away = sum(a != b for a, b in zip(ours, others, strict=True))
        print(f"{name}: {len(texts)} texts, {len(different)} with other ids, {away} other than llama.cpp's")
        for i in different[:3]:
            print(f"  {texts[i]!r}: {ours[i]} and {expected[i]}")
    return failed


def write_goldens(args: argparse.Namespace) -> None:
    """A file of some KB a draw of SMALL, and llama.cpp's logits of a few tokens beside them."""
    args.golden.mkdir(parents=True, exist_ok=True)
    ids = list(range(40, 64))
    recorded = {"ids": torch.tensor(ids)}
    for file_name, (name, kind, settings) in SMALL.items():
        file = args.golden / f"{file_name}.gguf"
        model = make_model(name, SHARED | settings, 7)
        tiny_gguf.write_gguf(model, file, kind, gguf_tokenizers.small_byte_level)
        recorded[file_name] = torch.from_numpy(llama_cpp_side.logits(file, ids))
        print(f"{file}: {file.stat().st_size} bytes")
    metadata = {"made by": f"tests/parity/compare_gguf.py --golden, {llama_cpp_side.VERSION}"}
    safetensors.torch.save_file(recorded, args.golden / "llama_cpp_logits.safetensors", metadata)


SHARED = {"vocab_size": 260, "max_position_embeddings": 256, "tie_word_embeddings": True}
HEADS = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
}
LLAMA = HEADS | {"num_hidden_layers": 2, "head_dim": 8}
GEMMA = LLAMA | {"query_pre_attn_scalar": 8, "sliding_window": 5}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0,
    "original_max_position_embeddings": 16,
    "factor": 32.0,
    "long_factor": [1.5, 3.0],
    "short_factor": [1.0, 1.25],
}
FALCON = {"num_attention_heads": 4, "hidden_size": 16, "num_hidden_layers": 1}
# File: model_type, type of the matrices, config.
SMALL = {
    "llama": ("llama", "f32", LLAMA | {"attention_bias": True, "tie_word_embeddings": False}),
    "mixtral": ("mixtral", "f32", HEADS | {"num_local_experts": 3, "num_experts_per_tok": 2}),
    "mixtral-q8_0": (
        "mixtral",
        "q8_0",
        HEADS | {"hidden_size": 32, "intermediate_size": 32, "num_local_experts": 3, "num_experts_per_tok": 2},
    ),
    "qwen2": ("qwen2", "f32", HEADS),
    "qwen3": ("qwen3", "f32", HEADS | {"head_dim": 6}),
    "gemma": ("gemma", "f32", HEADS | {"head_dim": 8}),
    "gemma2": ("gemma2", "f32", GEMMA | {"attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0}),
    "gemma3": ("gemma3_text", "f32", GEMMA | {"num_hidden_layers": 6}),
    "phi3": (
        "phi3",
        "f32",
        HEADS
        | {
            "pad_token_id": 0,
            "max_position_embeddings": 512,
            "original_max_position_embeddings": 16,
            "rope_parameters": LONGROPE,
            "sliding_window": None,
        },
    ),
    "starcoder2": ("starcoder2", "f32", HEADS | {"use_bias": True}),
    "gpt2": ("gpt2", "f32", {"n_head": 4, "n_embd": 16, "n_inner": 40, "n_layer": 2, "n_positions": 32}),
    "gpt2-q8_0": ("gpt2", "q8_0", {"n_head": 4, "n_embd": 32, "n_inner": 64, "n_layer": 1, "n_positions": 32}),
    "falcon-7b": ("falcon", "f32", FALCON | {"multi_query": True, "parallel_attn": True}),
    "falcon-40b": (
        "falcon",
        "f32",
        FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 2},
    ),
    "falcon-11b": (
        "falcon",
        "f32",
        FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shoehorn", type=Path, default=shoehorn_side.ROOT / "build/release/shoehorn")
    parser.add_argument("--only", default="", help="architectures, separated by commas (default: all)")
    parser.add_argument("--kinds", default="f32,f16,q8_0", help="f32, f16, bf16, q8_0, q4_0, ..., q4_k_m")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one-by-one", action="store_true", help="Mixtral: a tensor an expert (no llama.cpp)")
    parser.add_argument("--without-llama", action="store_true", help="transformers alone")
    parser.add_argument("--float-options", default="--dtype float32", help="given to shoehorn")
    parser.add_argument("--tokenizers", type=Path, help="compare the tokenizer fixtures of that folder instead")
    parser.add_argument("--golden", type=Path, help="write the files of the test instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.golden:
        write_goldens(args)
        return
    failed = compare_tokenizers(args) if args.tokenizers else compare_models(args)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
