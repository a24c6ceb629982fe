"""Small random mixtures of experts, as transformers makes them, and the ways in which files store experts.

A model is written as `per-expert` tensors or `stacked` (the names transformers 5 has in memory), its experts
or linear layers perhaps in `mxfp4` (gpt-oss) or `fp8`. Of quantized files the reference is the model whose
weights are what transformers' own functions make of the stored bytes.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import reference  # sets HF_HUB_OFFLINE before transformers is there
import safetensors.torch
import torch
import transformers
from transformers.integrations import finegrained_fp8, mxfp4

FP4_VALUES = torch.tensor(mxfp4.FP4_VALUES)


def draw_config(model_type: str, pick: random.Random, mxfp4_sizes: bool = False):
    """A config of that type whose sizes and flags are drawn."""
    heads = pick.choice([2, 3, 4, 6])
    common = {
        "vocab_size": pick.choice([160, 256, 384]),
        "hidden_size": pick.choice([64, 96]) if mxfp4_sizes else pick.choice([48, 64, 80]),
        "num_hidden_layers": pick.choice([2, 3]),
        "num_attention_heads": heads,
        "num_key_value_heads": pick.choice([n for n in range(1, heads + 1) if heads % n == 0]),
        "max_position_embeddings": 256,
        "rms_norm_eps": pick.choice([1e-6, 1e-5, 2e-3]),
        "tie_word_embeddings": pick.random() < 0.3,
        "num_experts_per_tok": pick.choice([1, 2, 3]),
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    inner = pick.choice([32, 64]) if mxfp4_sizes else pick.choice([24, 40, 56])
    head_dim = pick.choice([8, 16, 20])
    experts = pick.choice([3, 4, 6, 9])
    theta = pick.choice([10000.0, 150000.0, 1e6])
    if model_type == "mixtral":
        return transformers.MixtralConfig(
            **common,
            head_dim=head_dim,
            intermediate_size=inner,
            num_local_experts=experts,
            sliding_window=pick.choice([None, 5]),
            rope_parameters={"rope_type": "default", "rope_theta": theta},
        )
    if model_type == "qwen3_moe":
        return transformers.Qwen3MoeConfig(
            **common,
            head_dim=head_dim,
            intermediate_size=pick.choice([64, 72]),
            moe_intermediate_size=inner,
            num_experts=experts,
            norm_topk_prob=pick.random() < 0.5,
            decoder_sparse_step=pick.choice([1, 1, 2]),
            mlp_only_layers=pick.choice([[], [0]]),
            attention_bias=pick.random() < 0.5,
            use_sliding_window=(window := pick.random() < 0.3),
            sliding_window=5 if window else None,
            rope_parameters={"rope_type": "default", "rope_theta": theta},
        )
    if model_type == "gpt_oss":
        layers = common["num_hidden_layers"]
        kinds = ["sliding_attention", "full_attention"]
        return transformers.GptOssConfig(
            **common,
            head_dim=pick.choice([8, 16]),
            intermediate_size=inner,
            num_local_experts=experts,
            sliding_window=pick.choice([4, 7]),
            layer_types=[pick.choice(kinds) for _ in range(layers)],
            attention_bias=pick.random() < 0.8,
            swiglu_limit=pick.choice([0.5, 1.75, 7.0]),
            swiglu_alpha=pick.choice([1.0, 1.702]),
        )
    if model_type == "deepseek_v3":
        groups = pick.choice([1, 2, 4])
        common |= {"num_key_value_heads": heads, "num_experts_per_tok": pick.choice([1, 2, 3])}
        yarn = {
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "mscale": pick.choice([0.7, 1.0]),
            "mscale_all_dim": pick.choice([0.0, 1.0]),
        }
        plain = {"rope_type": "default", "rope_theta": theta}
        return transformers.DeepseekV3Config(
            **common,
            intermediate_size=pick.choice([64, 72]),
            moe_intermediate_size=inner,
            n_routed_experts=groups * pick.choice([3, 4]),
            n_shared_experts=pick.choice([1, 2]),
            n_group=groups,
            topk_group=pick.randint(1, groups),
            norm_topk_prob=pick.random() < 0.5,
            routed_scaling_factor=pick.choice([1.0, 2.5]),
            first_k_dense_replace=pick.choice([0, 1]),
            q_lora_rank=pick.choice([None, 24]),
            kv_lora_rank=pick.choice([16, 20]),
            qk_nope_head_dim=pick.choice([8, 16]),
            qk_rope_head_dim=pick.choice([4, 8]),
            v_head_dim=pick.choice([8, 12, 32]),
            rope_interleave=pick.random() < 0.5,
            attention_bias=pick.random() < 0.3,
            rope_parameters=pick.choice([plain, yarn]),
        )
    raise ValueError(model_type)


@torch.no_grad()
def draw_model(config, seed: int):
    """A float32 model with weights of a size at which every part matters."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if name.endswith("e_score_correction_bias"):
            tensor.copy_(torch.rand_like(tensor) * 0.5)
        elif "inv_freq" in name:
            continue
        elif tensor.dim() == 1 and "norm" in name:
            tensor.copy_(0.5 + torch.rand_like(tensor))
        elif tensor.dim() == 1 or name.endswith("_bias"):
            tensor.copy_(torch.randn_like(tensor) * 0.3)
        else:
            fan_in = tensor.shape[-2] if transposed(model, name) else tensor.shape[-1]
            tensor.copy_(torch.randn_like(tensor) * (1.0 if "embed" in name else 1.3 * fan_in**-0.5))
    return model


def transposed(model, name: str) -> bool:
    """gpt-oss multiplies rows by its experts' matrices, which are stored [in, out]."""
    return model.config.model_type == "gpt_oss" and ".experts." in name and "bias" not in name


def state(model) -> dict[str, torch.Tensor]:
    """What is saved, under the names of memory."""
    saved = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        saved.pop("lm_head.weight", None)
    return saved


def per_expert(model, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of released files: a tensor a matrix. gpt-oss has none."""
    kind = model.config.model_type
    if kind == "gpt_oss":
        return tensors
    block, names = "mlp", ("gate_proj", "up_proj", "down_proj")
    if kind == "mixtral":
        block, names = "block_sparse_moe", ("w1", "w3", "w2")
    result = {}
    for name, tensor in tensors.items():
        moved = name.replace(".mlp.", f".{block}.") if kind == "mixtral" else name
        if name.endswith(".experts.gate_up_proj"):
            for e, matrix in enumerate(tensor):
                gate, up = matrix.chunk(2)
                stem = moved.removesuffix("gate_up_proj")
                result[f"{stem}{e}.{names[0]}.weight"] = gate.contiguous()
                result[f"{stem}{e}.{names[1]}.weight"] = up.contiguous()
        elif name.endswith(".experts.down_proj"):
            for e, matrix in enumerate(tensor):
                result[f"{moved.removesuffix('down_proj')}{e}.{names[2]}.weight"] = matrix.contiguous()
        else:
            result[moved] = tensor
    return result


def to_mxfp4(matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[E, N, K] -> blocks uint8 [E, N, K / 32, 16] and scales uint8 [E, N, K / 32]."""
    groups = matrices.reshape(*matrices.shape[:-1], -1, 32)
    largest = groups.abs().amax(-1).clamp(min=1e-20)
    exponents = torch.floor(torch.log2(largest)) - 2  # e2m1 reaches 6 = 1.5 * 2^2
    codes = (groups / torch.exp2(exponents)[..., None])[..., None].sub(FP4_VALUES).abs().argmin(-1)
    blocks = (codes[..., 0::2] | codes[..., 1::2] << 4).to(torch.uint8)
    return blocks, (exponents + 127).to(torch.uint8)


@torch.no_grad()
def quantize_mxfp4(model, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Puts a gpt-oss's experts into MXFP4, in the file and, as transformers dequantizes them, in the model."""
    result = {}
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        if not transposed(model, name):
            result[name] = tensor
            continue
        blocks, scales = to_mxfp4(tensor.transpose(1, 2))
        result[f"{name}_blocks"], result[f"{name}_scales"] = blocks, scales
        parameters[name].copy_(mxfp4.convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
    return result


def to_fp8(weight: torch.Tensor, tile: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, K] -> float8_e4m3fn [N, K] and float32 scales, one a tile; the last tiles may be smaller."""
    rows, columns = (-(-size // part) for size, part in zip(weight.shape, tile, strict=True))
    padded = torch.zeros(rows * tile[0], columns * tile[1])
    padded[: weight.shape[0], : weight.shape[1]] = weight
    tiles = padded.reshape(rows, tile[0], columns, tile[1])
    scales = tiles.abs().amax((1, 3)).clamp(min=1e-12) / 448
    codes = (tiles / scales[:, None, :, None]).reshape(padded.shape)[: weight.shape[0], : weight.shape[1]]
    return codes.contiguous().to(torch.float8_e4m3fn), scales.contiguous()


def from_fp8(codes: torch.Tensor, scales: torch.Tensor, tile: tuple[int, int]) -> torch.Tensor:
    """By transformers' Fp8Dequantize where tiles divide the weight, which it asks for; else by the rule."""
    if codes.shape[0] == scales.shape[0] * tile[0] and codes.shape[1] == scales.shape[1] * tile[1]:
        dequantize = finegrained_fp8.Fp8Dequantize(None)
        return dequantize._dequantize_one(codes, scales, output_dtype=torch.float32)
    spread = scales.repeat_interleave(tile[0], 0).repeat_interleave(tile[1], 1)
    return codes.float() * spread[: codes.shape[0], : codes.shape[1]]


@torch.no_grad()
def quantize_fp8(
    model, tensors: dict[str, torch.Tensor], tile: tuple[int, int]
) -> dict[str, torch.Tensor]:
    """Puts the linear layers within decoder layers into 8-bit floats, as DeepSeek-V3 is stored."""
    result, values = {}, {}
    for name, tensor in per_expert(model, tensors).items():
        endings = ("_proj.weight", "kv_a_proj_with_mqa.weight", ".w1.weight", ".w2.weight", ".w3.weight")
        if ".layers." not in name or not name.endswith(endings):
            result[name] = values[name] = tensor
            continue
        codes, scales = to_fp8(tensor, tile)
        result[name], result[f"{name}_scale_inv"] = codes, scales
        values[name] = from_fp8(codes, scales, tile)
    put_per_expert(model, values)
    return result


@torch.no_grad()
def put_per_expert(model, values: dict[str, torch.Tensor]) -> None:
    """The values of per_expert() names into the model."""
    for name, parameter in list(model.named_parameters()) + list(model.named_buffers()):
        single = per_expert(model, {name: parameter})
        if name in single:
            if name in values:
                parameter.copy_(values[name])
            continue
        if len(single) == 1:
            parameter.copy_(values[next(iter(single))])
        elif name.endswith("gate_up_proj"):
            names = list(single)
            parameter.copy_(
                torch.stack(
                    [
                        torch.cat([values[names[i]], values[names[i + 1]]])
                        for i in range(0, len(names), 2)
                    ]
                )
            )
        else:
            parameter.copy_(torch.stack([values[n] for n in single]))


def write(folder: Path, model, tensors: dict[str, torch.Tensor], quantization: dict | None = None) -> None:
    """config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["architectures"] = [type(model).__name__]
    if quantization:
        config["quantization_config"] = quantization
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def make(folder: Path, model_type: str, storage: str, seed: int):
    """Writes a drawn model of that type and storage; the model whose logits it must give."""
    pick = random.Random(f"{model_type} {storage} {seed}")
    config = draw_config(model_type, pick, mxfp4_sizes=storage == "mxfp4")
    model = draw_model(config, seed)
    tensors = state(model)
    if storage == "per-expert":
        write(folder, model, per_expert(model, tensors))
    elif storage == "stacked":
        write(folder, model, tensors)
    elif storage == "bf16":
        tensors = {k: v.to(torch.bfloat16) for k, v in per_expert(model, tensors).items()}
        write(folder, model, tensors)
        put_per_expert(model, {k: v.float() for k, v in tensors.items()})
    elif storage == "mxfp4":
        write(folder, model, quantize_mxfp4(model, tensors), {"quant_method": "mxfp4"})
    elif storage == "fp8":
        tile = pick.choice([(128, 128), (16, 32), (8, 16)])
        quantization = {"quant_method": "fp8", "weight_block_size": list(tile), "activation_scheme": "dynamic"}
        write(folder, model, quantize_fp8(model, tensors, tile), quantization)
    else:
        raise ValueError(storage)
    return model


def kinds() -> list[tuple[str, str]]:
    """Every type with every storage that it has."""
    return [
        (model_type, storage)
        for model_type in ("mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3")
        for storage in ("per-expert", "stacked", "bf16", "fp8", "mxfp4")
        if (storage == "mxfp4") <= (model_type == "gpt_oss")
        and (storage, model_type) not in {("fp8", "gpt_oss"), ("stacked", "gpt_oss")}
    ]


__all__ = ["kinds", "make", "reference"]
