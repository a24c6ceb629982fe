"""Writes a transformers model in memory as a GGUF file, as llama.cpp's converter lays it out.

Names, keys and types are those of PyPI's gguf; what happens to the values on the way is in `Layout`.
`write_gguf(model, out, kind)` returns nothing; kinds are f32, f16, bf16 and what gguf.quantize makes.
"""

from __future__ import annotations

import re
from pathlib import Path

import gguf
import numpy as np
import torch

LLAMA = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GEMMA2 = LLAMA | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
PHI3 = LLAMA | {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}
STARCODER2 = LLAMA | {"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
MIXTRAL = LLAMA | {
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.w1": "ffn_gate_exps",
    "mlp.experts.w2": "ffn_down_exps",
    "mlp.experts.w3": "ffn_up_exps",
}
GPT2 = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
FALCON = {
    "input_layernorm": "attn_norm",
    "ln_mlp": "attn_norm",
    "ln_attn": "attn_norm_2",
    "self_attention.query_key_value": "attn_qkv",
    "self_attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}
OTHERS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.word_embeddings": "token_embd",
    "transformer.ln_f": "output_norm",
}
# model_type: general.architecture, names of a layer's modules.
ARCHITECTURES = {
    "llama": ("llama", LLAMA),
    "mixtral": ("llama", MIXTRAL),
    "qwen2": ("qwen2", LLAMA),
    "qwen3": ("qwen3", LLAMA),
    "gemma": ("gemma", LLAMA),
    "gemma2": ("gemma2", GEMMA2),
    "gemma3_text": ("gemma3", GEMMA2),
    "phi3": ("phi3", PHI3),
    "starcoder2": ("starcoder2", STARCODER2),
    "gpt2": ("gpt2", GPT2),
    "falcon": ("falcon", FALCON),
}


def heads_of(config) -> tuple[int, int, int]:
    """Query heads, key-value heads, values of a head."""
    query = config.num_attention_heads
    if config.model_type == "falcon":
        new = config.new_decoder_architecture
        key_value = config.num_kv_heads if new else 1 if config.multi_query else query
    else:
        key_value = getattr(config, "num_key_value_heads", None) or query
    return query, key_value, getattr(config, "head_dim", None) or config.hidden_size // query


def interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """Llama's rows of q and k: the halves of a head take turns."""
    pairs = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def sorted_qkv(values: np.ndarray, config) -> np.ndarray:
    """Falcon's groups of queries, a key and a value as all queries, all keys, all values."""
    query, groups, head_dim = heads_of(config)
    of_group = values.reshape(groups, query // groups + 2, head_dim, -1)
    parts = (of_group[:, :-2], of_group[:, -2], of_group[:, -1])
    return np.concatenate([part.reshape(-1, values.shape[-1]) for part in parts])


def laid_out(name: str, values: np.ndarray, config) -> np.ndarray:
    """The values as the file has them; `name` is Hugging Face's."""
    kind = config.model_type
    query, key_value, _ = heads_of(config)
    if kind in ("llama", "mixtral") and ".q_proj." in name:
        return interleave(values, query)
    if kind in ("llama", "mixtral") and ".k_proj." in name:
        return interleave(values, key_value)
    if kind.startswith("gemma") and name.endswith("norm.weight"):
        return values + 1
    if kind == "gpt2" and re.search(r"\.c_(attn|proj|fc)\.weight", name):
        return values.T
    if kind == "falcon" and ".query_key_value." in name:
        return sorted_qkv(values, config)
    return values


def named_values(model) -> dict[str, np.ndarray]:
    """state_dict, ties once, Mixtral's experts as w1, w2 and w3."""
    config = model.config
    values = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        values.pop("lm_head.weight", None)
    if config.model_type == "mixtral":
        for name in [name for name in values if name.endswith("experts.gate_up_proj")]:
            gate, up = np.split(values.pop(name), 2, axis=1)
            at = name.removesuffix("gate_up_proj")
            values |= {at + "w1.weight": gate, at + "w3.weight": up}
            values[at + "w2.weight"] = values.pop(at + "down_proj")
    return values


def gguf_name(name: str, layer_names: dict[str, str]) -> str:
    module, suffix = name.rsplit(".", 1)
    layer = re.fullmatch(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)", module)
    if layer:
        return f"blk.{layer[1]}.{layer_names[layer[2]]}.{suffix}"
    return f"{OTHERS[module]}.{suffix}"


def add_rope(writer: gguf.GGUFWriter, model) -> None:
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    if config.model_type == "gemma3_text":
        rope = rope["full_attention"]
    kind = rope.get("rope_type", "default")
    writer.add_rope_freq_base(rope["rope_theta"])
    _, _, head_dim = heads_of(config)
    rotary = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    writer.add_rope_dimension_count(rotary)
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind in ("yarn", "longrope"):
        original = rope["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(original)
    if kind == "llama3":
        own = 1.0 / rope["rope_theta"] ** (torch.arange(0, head_dim, 2).float() / head_dim)
        # What transformers made of them, as divisors.
        divisors = own / model.model.rotary_emb.inv_freq.float()
        writer.add_tensor("rope_freqs.weight", divisors.numpy().astype(np.float32))
    if kind == "longrope":
        writer.add_rope_scaling_attn_factors(float(model.model.rotary_emb.attention_scaling))
        for name in ("long", "short"):
            factors = np.array(rope[f"{name}_factor"], np.float32)
            writer.add_tensor(f"rope_factors_{name}.weight", factors)


def add_metadata(writer: gguf.GGUFWriter, model) -> None:
    config = model.config
    kind = config.model_type
    query, key_value, head_dim = heads_of(config)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "ffn_hidden_size", None)
    if kind == "gpt2":
        inner = config.n_inner
    writer.add_feed_forward_length(inner or 4 * config.hidden_size)
    writer.add_head_count(query)
    if kind != "gpt2":
        writer.add_head_count_kv(key_value)
    if kind in ("llama", "mixtral", "qwen3") or kind.startswith("gemma"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if kind in ("gpt2", "falcon", "starcoder2"):
        writer.add_layer_norm_eps(getattr(config, "layer_norm_epsilon", None) or config.norm_epsilon)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if kind not in ("gpt2", "falcon"):
        add_rope(writer, model)
    if kind in ("gemma2", "gemma3_text"):
        writer.add_sliding_window(config.sliding_window)
    if kind == "phi3":
        writer.add_sliding_window(config.sliding_window or 0)
    if kind == "gemma2":
        if config.attn_logit_softcapping:
            writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        if config.final_logit_softcapping:
            writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if kind == "mixtral":
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if kind == "falcon":
        writer.add_tensor_data_layout("jploski")
    writer.add_vocab_size(config.vocab_size)


def add_tensor(writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: str) -> None:
    values = np.ascontiguousarray(values, dtype=np.float32)
    router = name.endswith("ffn_gate_inp.weight")
    if values.ndim < 2 or kind == "f32" or router:
        writer.add_tensor(name, values)
    elif kind == "f16":
        writer.add_tensor(name, values.astype(np.float16))
    else:
        stored = gguf.GGMLQuantizationType[kind.upper()]
        writer.add_tensor(name, gguf.quantize(values, stored), raw_dtype=stored)


def write_gguf(model, out: Path, kind: str = "f32", add_tokenizer=None, one_by_one: bool = False) -> None:
    """`add_tokenizer(writer, vocab_size)` adds a vocabulary; one_by_one: a tensor an expert."""
    config = model.config
    architecture, layer_names = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(out, architecture)
    add_metadata(writer, model)
    if add_tokenizer:
        add_tokenizer(writer, config.vocab_size)
    if config.pad_token_id is not None:
        writer.add_pad_token_id(config.pad_token_id)
    for name, values in named_values(model).items():
        to = gguf_name(name, layer_names)
        values = laid_out(name, values, config)
        if one_by_one and "_exps." in to:
            for expert, matrix in enumerate(values):
                add_tensor(writer, to.replace("_exps.", f".{expert}."), matrix, kind)
        else:
            add_tensor(writer, to, values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
