#!/usr/bin/env python3
"""Makes a Llama checkpoint of a real shape with seeded random weights, as a Hugging Face folder.

    bench/make_checkpoint.py --shape llama-1.1b                 # TinyLlama's shape, bfloat16, 2.2 GB
    bench/make_checkpoint.py --shape llama-7b --dtype f16
    bench/make_checkpoint.py --shape llama-1.1b --num-hidden-layers 4 --out /tmp/short

Needs numpy. Memory stays under 400 MB whatever the shape: weights are drawn and written a piece at a
time. The same options give the same bytes. Without --out the folder goes to
${TMPDIR:-/tmp}/shoehorn-bench/NAME; a folder that is already there with the same options is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
import zlib
from pathlib import Path

import numpy as np

import byte_tokenizer
from llama_shape import SHAPES, LlamaShape
from machine import bench_folder
from safetensors_stream import DTYPES, TensorSpec, write_folder

PIECE_VALUES = 1 << 24  # 64 MB as float32
RECIPE = "recipe.json"  # the options, so that a second call knows what is there
RECIPE_VERSION = 1
OUTLIER_WEIGHT = 16.0  # of a norm: a feature passes LLM.int8()'s threshold of 6 in most tokens


def standard_deviation(spec: TensorSpec, shape: LlamaShape) -> float:
    """Keeps activations near one all the way: a Linear preserves the size of its input, each of the
    2 x layers additions to the residual stream adds a share of it, logits come out a few units wide."""
    fan_in = spec.shape[-1]
    if spec.name == "model.embed_tokens.weight":
        # A tied embedding is the head too.
        return 2.5 * fan_in**-0.5 if shape.tie_word_embeddings else 1.0
    if spec.name == "lm_head.weight":
        return 2.5 * fan_in**-0.5
    if spec.name.endswith(("o_proj.weight", "down_proj.weight")):
        return (fan_in * 2 * shape.num_hidden_layers) ** -0.5
    return fan_in**-0.5


def with_outliers(spec: TensorSpec, pieces, shape: LlamaShape, outlier_features: int):
    """The norms lift the same few features of every layer, as in trained models (arXiv:2208.07339), and
    the weights that meet them are smaller there, so that what comes out keeps its size. The input of
    down_proj is halved: the product of gate and up would have tails of its own beyond the threshold."""
    features = np.linspace(7, shape.hidden_size - 9, outlier_features).astype(int)
    for piece in pieces:
        if spec.name.endswith("layernorm.weight"):
            piece[features] = OUTLIER_WEIGHT
        elif spec.name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight")):
            piece.reshape(-1, shape.hidden_size)[:, features] /= OUTLIER_WEIGHT
        elif spec.name.endswith("up_proj.weight"):
            piece.reshape(-1, shape.hidden_size)[:, features] /= OUTLIER_WEIGHT
            piece /= 2
        elif spec.name.endswith("down_proj.weight"):
            piece *= 2
        yield piece


def draw(spec: TensorSpec, shape: LlamaShape, seed: int, outlier_features: int = 0):
    """Yields the tensor's values. Its stream depends on the seed and its name alone."""
    if outlier_features:
        yield from with_outliers(spec, draw(spec, shape, seed), shape, outlier_features)
        return
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(spec.name.encode())]))
    is_norm = len(spec.shape) == 1
    scale = np.float32(0.1 if is_norm else standard_deviation(spec, shape))
    for begin in range(0, spec.values, PIECE_VALUES):
        piece = rng.standard_normal(min(PIECE_VALUES, spec.values - begin), dtype=np.float32)
        piece *= scale
        yield piece + np.float32(1) if is_norm else piece


def make(
    shape: LlamaShape, dtype: str, seed: int, max_shard_bytes: int, out: Path, outlier_features: int = 0
) -> bool:
    """Writes the folder under a temporary name and renames it; False where it is already there."""
    recipe = {
        "version": RECIPE_VERSION,
        "dtype": dtype,
        "seed": seed,
        "max_shard_bytes": max_shard_bytes,
        "shape": dataclasses.asdict(shape),
    }
    if outlier_features:
        recipe["outliers"] = [outlier_features, OUTLIER_WEIGHT, 2]  # and the version of with_outliers
    if (out / RECIPE).exists() and json.loads((out / RECIPE).read_text()) == recipe:
        return False
    if out.exists() and any(out.iterdir()) and not (out / RECIPE).exists():
        raise SystemExit(f"{out}: not empty and not made by this script, so it is left alone")
    specs = shape.tensors()
    nbytes = sum(spec.values for spec in specs) * DTYPES[dtype][1]
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if nbytes + (1 << 30) > free:
        raise SystemExit(
            f"{out}: needs {nbytes / 1e9:.1f} GB and 1 GB to spare, the disk has {free / 1e9:.1f} GB"
        )
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    done = 0

    def progress(spec: TensorSpec) -> None:
        nonlocal done
        done += spec.values * DTYPES[dtype][1]
        if sys.stderr.isatty():
            print(f"\r{done / 1e9:6.2f} of {nbytes / 1e9:.2f} GB", end="", file=sys.stderr)

    write_folder(
        partial,
        specs,
        dtype,
        lambda spec: draw(spec, shape, seed, outlier_features),
        max_shard_bytes,
        progress=progress,
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    byte_tokenizer.write(partial, shape.vocab_size, shape.max_position_embeddings)
    (partial / "config.json").write_text(json.dumps(shape.config(dtype), indent=2) + "\n")
    generation = {"bos_token_id": 1, "eos_token_id": 2, "do_sample": False}
    (partial / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    (partial / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return True


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape", choices=SHAPES, default="llama-1.1b", help="where the options below start from"
    )
    for field in dataclasses.fields(LlamaShape):
        option = "--" + field.name.replace("_", "-")
        if field.type == "bool":
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=None)
        else:
            parser.add_argument(option, type={"int": int, "float": float}[field.type], default=None)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--outlier-features",
        type=int,
        default=0,
        help="so many features whose norm weights lift them over LLM.int8()'s threshold",
    )
    parser.add_argument(
        "--max-shard-gb", type=float, default=5.0, help="larger checkpoints are split (default 5)"
    )
    parser.add_argument("--out", type=Path, help="folder to write")
    return parser.parse_args(argv)


def main() -> None:
    args = parse()
    changes = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(LlamaShape)
        if getattr(args, field.name) is not None
    }
    base = SHAPES[args.shape]
    if {"hidden_size", "num_attention_heads"} & changes.keys():
        changes.setdefault("head_dim", 0)
    try:
        shape = dataclasses.replace(base, **changes)
        byte_tokenizer.tokenizer_json(max(shape.vocab_size, 0))
    except ValueError as error:
        raise SystemExit(str(error)) from None
    suffix = "" if shape == base else f"-{zlib.crc32(repr(shape).encode()):08x}"
    out = args.out or bench_folder() / f"{args.shape}-{args.dtype}{suffix}"
    start = time.perf_counter()
    made = make(shape, args.dtype, args.seed, int(args.max_shard_gb * 1e9), out, args.outlier_features)
    what = f"made in {time.perf_counter() - start:.1f} s" if made else "already there"
    print(f"{out}: {sum(spec.values for spec in shape.tensors()) / 1e6:.1f} M parameters, {what}")


if __name__ == "__main__":
    main()
