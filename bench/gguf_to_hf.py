#!/usr/bin/env python3
"""Decodes a llama GGUF file into a Hugging Face folder that transformers and shoehorn open alike.

    bench/gguf_to_hf.py SmolLM2-135M-Instruct.Q4_1.gguf OUT                  # bfloat16
    bench/gguf_to_hf.py SmolLM2-135M-Instruct.Q4_1.gguf OUT --dtype f32      # exactly the decoded values

Needs numpy and PyPI's gguf, whose dequantize is the reference for what the blocks mean. The rows of q
and k, which llama.cpp's converter interleaves, are put back. tokenizer.json is made from the file's
metadata (byte-level BPE of the smollm kind), or copied from the folder given by --tokenizer.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

import gguf
import numpy as np

from llama_shape import LlamaShape
from safetensors_stream import DTYPES, TensorSpec, write_folder

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
CONTROL_TOKEN = 3  # tokenizer.ggml.token_type


def hf_name(name: str) -> str:
    """token_embd.weight -> model.embed_tokens.weight, blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if not match or match[2] not in LAYER_NAMES:
        raise SystemExit(f"{name}: no tensor of a plain llama model; only those are converted")
    return f"model.layers.{match[1]}.{LAYER_NAMES[match[2]]}.weight"


def undo_interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp stores row i of a head of d rows at 2i, row i + d/2 at 2i + 1. values [rows, columns]."""
    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def metadata(reader: gguf.GGUFReader) -> dict:
    return {name: field.contents() for name, field in reader.fields.items()}


def shape_of(meta: dict, names: set[str]) -> LlamaShape:
    if meta["general.architecture"] != "llama":
        raise SystemExit(f"general.architecture is {meta['general.architecture']}: only llama is converted")
    if meta.get("llama.rope.scaling.type", "none") != "none" or "rope_freqs.weight" in names:
        raise SystemExit("the file scales its rotary frequencies, which this script does not convert")
    heads = int(meta["llama.attention.head_count"])
    hidden = int(meta["llama.embedding_length"])
    # The metadata holds 1e-5 as the float32 nearest to it: the shortest decimal is what was meant.
    eps = float(str(np.float32(meta["llama.attention.layer_norm_rms_epsilon"])))
    return LlamaShape(
        hidden_size=hidden,
        intermediate_size=int(meta["llama.feed_forward_length"]),
        num_hidden_layers=int(meta["llama.block_count"]),
        num_attention_heads=heads,
        num_key_value_heads=int(meta.get("llama.attention.head_count_kv", heads)),
        vocab_size=len(meta["tokenizer.ggml.tokens"]),
        head_dim=int(meta.get("llama.attention.key_length", hidden // heads)),
        tie_word_embeddings="output.weight" not in names,
        max_position_embeddings=int(meta["llama.context_length"]),
        rope_theta=float(meta.get("llama.rope.freq_base", 10000.0)),
        rms_norm_eps=eps,
    )


def tokenizer_json(meta: dict) -> dict:
    """The byte-level BPE of tokenizer.ggml.*: digits one by one, then GPT-2's splits."""
    kind = (meta["tokenizer.ggml.model"], meta.get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise SystemExit(f"tokenizer.ggml.model, pre are {kind}: only gpt2, smollm; give --tokenizer FOLDER")
    tokens = meta["tokenizer.ggml.tokens"]
    added = [
        {
            "id": i,
            "content": tokens[i],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, kind in enumerate(meta["tokenizer.ggml.token_type"])
        if kind == CONTROL_TOKEN
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in meta["tokenizer.ggml.merges"]],
        },
    }


def write_tokenizer(meta: dict, shape: LlamaShape, source: Path | None, out: Path) -> None:
    if source:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            if (source / name).exists():
                shutil.copy(source / name, out / name)
    else:
        text = json.dumps(tokenizer_json(meta), ensure_ascii=False)
        (out / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
    if not (out / "tokenizer_config.json").exists():
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_max_length": shape.max_position_embeddings,
        }
        for key, name in (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown")):
            if f"tokenizer.ggml.{name}_token_id" in meta:
                config[key] = meta["tokenizer.ggml.tokens"][meta[f"tokenizer.ggml.{name}_token_id"]]
        if "tokenizer.chat_template" in meta:
            config["chat_template"] = meta["tokenizer.chat_template"]
        (out / "tokenizer_config.json").write_text(
            json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def decoded(tensor: gguf.ReaderTensor, shape: LlamaShape) -> np.ndarray:
    """The tensor in float32, torch's order of dimensions, Hugging Face's order of rows."""
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    values = values.reshape([int(n) for n in reversed(tensor.shape)])
    if tensor.name.endswith("attn_q.weight"):
        values = undo_interleave(values, shape.num_attention_heads)
    elif tensor.name.endswith("attn_k.weight"):
        values = undo_interleave(values, shape.num_key_value_heads)
    return values


def convert(source: Path, out: Path, dtype: str, tokenizer: Path | None = None) -> LlamaShape:
    """Writes the folder under a temporary name, then renames it. One tensor in memory at a time."""
    reader = gguf.GGUFReader(source)
    tensors = {
        hf_name(tensor.name): tensor for tensor in reader.tensors if tensor.name != "rope_freqs.weight"
    }
    meta = metadata(reader)
    shape = shape_of(meta, {tensor.name for tensor in reader.tensors})
    specs = [TensorSpec(name, tuple(int(n) for n in reversed(t.shape))) for name, t in tensors.items()]
    wanted = {(spec.name, spec.shape) for spec in shape.tensors()}
    found = {(spec.name, spec.shape) for spec in specs}
    if wanted != found:
        raise SystemExit(f"{source}: tensors differ from the metadata's shape: {sorted(wanted ^ found)[:6]}")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_folder(partial, specs, dtype, lambda spec: [decoded(tensors[spec.name], shape)], 5_000_000_000)
    config = shape.config(dtype)
    for key, name in (("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")):
        if f"tokenizer.ggml.{name}_token_id" in meta:
            config[key] = int(meta[f"tokenizer.ggml.{name}_token_id"])
    (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {
        key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in config
    }
    (partial / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    write_tokenizer(meta, shape, tokenizer, partial)
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)
    return shape


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gguf", type=Path)
    parser.add_argument("out", type=Path, help="folder to write; must not exist, or be an earlier result")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--tokenizer", type=Path, help="folder whose tokenizer.json is copied instead")
    args = parser.parse_args()
    if args.out.exists() and not (args.out / "config.json").exists():
        raise SystemExit(f"{args.out}: exists and is no checkpoint folder, so it is left alone")
    shape = convert(args.gguf, args.out, args.dtype, args.tokenizer)
    print(f"{args.out}: {sum(spec.values for spec in shape.tensors()) / 1e6:.1f} M parameters, {args.dtype}")


if __name__ == "__main__":
    main()
