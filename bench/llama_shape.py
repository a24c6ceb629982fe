"""Shapes of Llama models: names and sizes of their tensors, their config.json, and what a pass costs.

The named shapes are those of released models; a checkpoint of such a shape with random weights takes
the same time per token as the real one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tensor_spec import TensorSpec


@dataclass(frozen=True)
class LlamaShape:
    """The members are keys of config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    head_dim: int = 0  # 0: hidden_size / num_attention_heads
    tie_word_embeddings: bool = False
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    def __post_init__(self):
        if not self.head_dim:
            if self.hidden_size % self.num_attention_heads:
                raise ValueError(
                    f"hidden_size {self.hidden_size} is no multiple of num_attention_heads "
                    f"{self.num_attention_heads}: give head_dim"
                )
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )

    def tensors(self) -> list[TensorSpec]:
        """Hugging Face's names; a Linear stores [out_features, in_features]."""
        hidden, inner = self.hidden_size, self.intermediate_size
        q_rows = self.num_attention_heads * self.head_dim
        kv_rows = self.num_key_value_heads * self.head_dim
        specs = [TensorSpec("model.embed_tokens.weight", (self.vocab_size, hidden))]
        for i in range(self.num_hidden_layers):
            layer = f"model.layers.{i}."
            specs += [
                TensorSpec(layer + "input_layernorm.weight", (hidden,)),
                TensorSpec(layer + "self_attn.q_proj.weight", (q_rows, hidden)),
                TensorSpec(layer + "self_attn.k_proj.weight", (kv_rows, hidden)),
                TensorSpec(layer + "self_attn.v_proj.weight", (kv_rows, hidden)),
                TensorSpec(layer + "self_attn.o_proj.weight", (hidden, q_rows)),
                TensorSpec(layer + "post_attention_layernorm.weight", (hidden,)),
                TensorSpec(layer + "mlp.gate_proj.weight", (inner, hidden)),
                TensorSpec(layer + "mlp.up_proj.weight", (inner, hidden)),
                TensorSpec(layer + "mlp.down_proj.weight", (hidden, inner)),
            ]
        specs.append(TensorSpec("model.norm.weight", (hidden,)))
        if not self.tie_word_embeddings:
            specs.append(TensorSpec("lm_head.weight", (self.vocab_size, hidden)))
        return specs

    def config(self, dtype: str) -> dict:
        """config.json in the spelling that transformers 4 and 5, and every other reader, understands."""
        torch_dtype = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype]
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "mlp_bias": False,
            "pretraining_tp": 1,
            "initializer_range": 0.02,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "rope_scaling": None,
            "torch_dtype": torch_dtype,
            "use_cache": True,
            **dataclasses.asdict(self),
        }

    @classmethod
    def from_config(cls, config: dict) -> LlamaShape:
        names = {field.name for field in dataclasses.fields(cls)}
        found = {key: value for key, value in config.items() if key in names and value is not None}
        found.setdefault("num_key_value_heads", config["num_attention_heads"])
        rope = config.get("rope_parameters") or {}
        found.setdefault("rope_theta", rope.get("rope_theta", 10000.0))
        return cls(**found)

    # What a pass must move and compute, the same count for every engine.

    def head_values(self) -> int:
        return self.vocab_size * self.hidden_size

    def layer_values(self) -> int:
        """Values in all decoder layers and the last norm: what each token reads besides the head."""
        return sum(
            spec.values
            for spec in self.tensors()
            if spec.name not in ("model.embed_tokens.weight", "lm_head.weight")
        )

    def decode_bytes(self, bytes_per_value: float = 2, head_bytes_per_value: float | None = None) -> float:
        """Weight bytes read for one token of one sequence: everything but the embedding's other rows."""
        head = bytes_per_value if head_bytes_per_value is None else head_bytes_per_value
        return self.layer_values() * bytes_per_value + self.head_values() * head

    def prefill_flops(self, tokens: int) -> float:
        """Matrix products of a prompt of `tokens`, logits of its last position only.

        Attention counts the causal half: sum of the positions each token sees, for q k^T and p v."""
        linear = 2 * tokens * self.layer_values()
        seen = tokens * (tokens + 1) / 2
        attention = 2 * 2 * seen * self.num_attention_heads * self.head_dim * self.num_hidden_layers
        return linear + attention + 2 * self.head_values()


SHAPES = {
    # TinyLlama-1.1B
    "llama-1.1b": LlamaShape(2048, 5632, 22, 32, 4, 32000),
    # Llama-2-7b
    "llama-7b": LlamaShape(4096, 11008, 32, 32, 32, 32000, max_position_embeddings=4096),
    # SmolLM2-135M
    "smollm2-135m": LlamaShape(
        576,
        1536,
        30,
        9,
        3,
        49152,
        tie_word_embeddings=True,
        max_position_embeddings=8192,
        rope_theta=100000.0,
    ),
    # Llama-2-13b
    "llama-13b": LlamaShape(5120, 13824, 40, 40, 40, 32000, max_position_embeddings=4096),
    # LLaMA 30B
    "llama-30b": LlamaShape(6656, 17920, 60, 52, 52, 32000, rms_norm_eps=1e-6),
    # Meta-Llama-3-8B
    "llama-3-8b": LlamaShape(
        4096, 14336, 32, 32, 8, 128256, max_position_embeddings=8192, rope_theta=500000.0
    ),
    # small enough to try a script in a second
    "llama-tiny": LlamaShape(256, 704, 4, 8, 2, 2048),
}
