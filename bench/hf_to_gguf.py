#!/usr/bin/env python3
"""Writes a Llama checkpoint folder as a GGUF file, so that llama.cpp runs the very same weights.

    bench/hf_to_gguf.py FOLDER OUT.gguf                    # matrices in bfloat16
    bench/hf_to_gguf.py FOLDER OUT.gguf --type q8_0        # or f32, f16, q4_0, q4_1, q5_0, q5_1

Needs numpy and PyPI's gguf. Rows of q and k are interleaved as llama.cpp's own converter does; norms are
float32; the embedding and the head get the same type as the other matrices. Types that gguf cannot
encode (q4_k, ...) are made from a float file by llama.cpp itself (bench/peer_llamacpp.py).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

from gguf_to_hf import LAYER_NAMES, OTHER_NAMES
from llama_shape import LlamaShape
from safetensors_stream import StoredTensor, read_folder

TYPES = {
    name: gguf.GGMLQuantizationType[name.upper()]
    for name in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1")
}
FILE_TYPES = {
    "f32": "ALL_F32",
    "f16": "MOSTLY_F16",
    "bf16": "MOSTLY_BF16",
    "q8_0": "MOSTLY_Q8_0",
    "q4_0": "MOSTLY_Q4_0",
    "q4_1": "MOSTLY_Q4_1",
    "q5_0": "MOSTLY_Q5_0",
    "q5_1": "MOSTLY_Q5_1",
}


def gguf_name(name: str) -> str:
    others = {hf: short for short, hf in OTHER_NAMES.items()}
    if name in others:
        return others[name]
    layers = {hf: short for short, hf in LAYER_NAMES.items()}
    _, _, number, rest = name.split(".", 3)
    return f"blk.{number}.{layers[rest.removesuffix('.weight')]}.weight"


def interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of gguf_to_hf.undo_interleave. values [rows, columns]."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def encoded(
    name: str, tensor: StoredTensor, shape: LlamaShape, kind: gguf.GGMLQuantizationType
) -> np.ndarray:
    values = tensor.float32()
    if name.endswith("q_proj.weight"):
        values = interleave(values, shape.num_attention_heads)
    elif name.endswith("k_proj.weight"):
        values = interleave(values, shape.num_key_value_heads)
    if values.ndim == 1 or kind == gguf.GGMLQuantizationType.F32:
        return np.ascontiguousarray(values)
    return gguf.quantize(np.ascontiguousarray(values), kind)


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict, shape: LlamaShape) -> None:
    """Vocabulary and merges of a byte-level BPE tokenizer.json; engines are fed ids, not text."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    by_id = {i: token for token, i in tokenizer["model"]["vocab"].items()}
    special = {added["id"]: added["content"] for added in tokenizer["added_tokens"]}
    by_id.update(special)
    tokens = [by_id.get(i, f"[unused{i}]") for i in range(shape.vocab_size)]
    control, normal, unused = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL, gguf.TokenType.UNUSED
    kinds = [control if i in special else normal if i in by_id else unused for i in range(shape.vocab_size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm" if "<|im_start|>" in special.values() else "gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)


def convert(folder: Path, out: Path, kind: str) -> None:
    """Writes OUT under a temporary name, then renames it. One tensor in memory at a time."""
    config = json.loads((folder / "config.json").read_text())
    shape = LlamaShape.from_config(config)
    wanted = {spec.name: spec.shape for spec in shape.tensors()}
    tensors = dict(read_folder(folder))
    if shape.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wanted != found:
        raise SystemExit(
            f"{folder}: tensors are not those of a plain llama: "
            f"{sorted(set(wanted.items()) ^ set(found.items()))[:6]}"
        )
    partial = out.with_name(out.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[kind]])
    writer.add_name(folder.name)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    if shape.head_dim * shape.num_attention_heads != shape.hidden_size:
        writer.add_key_length(shape.head_dim)
        writer.add_value_length(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(shape.vocab_size)
    add_tokenizer(writer, folder, config, shape)
    order = [spec.name for spec in shape.tensors()]
    for name in order:  # sizes first: the header precedes the data
        is_matrix = len(wanted[name]) == 2
        stored = TYPES[kind] if is_matrix else gguf.GGMLQuantizationType.F32
        block_values, block_bytes = gguf.GGML_QUANT_SIZES[stored]
        nbytes = int(np.prod(wanted[name], dtype=np.int64)) // block_values * block_bytes
        writer.add_tensor_info(gguf_name(name), wanted[name], np.dtype(np.float32), nbytes, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in order:
        writer.write_tensor_data(encoded(name, tensors[name], shape, TYPES[kind]))
    writer.close()
    partial.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, default="bf16")
    args = parser.parse_args()
    convert(args.folder, args.out, args.type)
    print(f"{args.out}: {args.out.stat().st_size / 1e9:.2f} GB, {args.type}")


if __name__ == "__main__":
    main()
