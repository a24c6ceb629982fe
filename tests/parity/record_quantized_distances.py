#!/usr/bin/env python3
"""Records how far from float32 transformers is in 16 bits, and with bitsandbytes in 8 and 4: tests/data/quantized_distances.json.

    tests/parity/record_quantized_distances.py > tests/data/quantized_distances.json

For every model of tests/data/models, over the two recorded prompts: `mean`, the mean |difference| of logits from the
recorded float32 ones over their mean magnitude, `median`, that of the median position (which a router's choice that
rounding turns does not move), and `max`, the largest over the largest, of
    bfloat16                 the model converted to it
    int8_bf16, int8_f32      load_in_8bit, the rest in that type
    nf4_bf16, nf4_f32        load_in_4bit with nf4 and that compute dtype, the rest in that type
transformers leaves some linear weights as they are: those of classes derived from Linear (Falcon's) and the stacked
experts of mixtures. `kept` counts them by class; the distances are of models where bitsandbytes has them too: a
derived Linear is replaced by bitsandbytes' own, an expert's matrix is multiplied by bitsandbytes' own module. Of
mixtures that transformers quantizes, `as_loaded` has the distances without that. Stored MXFP4 and 8-bit floats are
what shoehorn keeps as stored, so they are not here.

Needs torch, transformers, accelerate, bitsandbytes 0.50 or newer, on a CPU.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import bitsandbytes
import reference
import safetensors.torch
import shoehorn_side
import torch
import transformers
from torch.overrides import TorchFunctionMode

MODELS = shoehorn_side.ROOT / "tests/data/models"
MODES = {
    "bfloat16": (torch.bfloat16, None),
    "int8_bf16": (torch.bfloat16, {"load_in_8bit": True}),
    "int8_f32": (torch.float32, {"load_in_8bit": True}),
    "nf4_bf16": (torch.bfloat16, {"load_in_4bit": True}),
    "nf4_f32": (torch.float32, {"load_in_4bit": True}),
}


def flatten_rows() -> None:
    """DeepSeek-V3 gives a linear layer four dimensions, which bitsandbytes' int8 product refuses."""
    product = bitsandbytes.matmul

    def matmul(x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        return product(x.flatten(0, -2), *args, **kwargs).unflatten(0, x.shape[:-1])

    bitsandbytes.matmul = matmul


def quantized_linear(weight: torch.Tensor, bias: torch.Tensor | None, mode: str) -> torch.nn.Module:
    """bitsandbytes' layer of a weight [out, in]."""
    n, k = weight.shape
    dtype = weight.dtype
    if mode.startswith("int8"):
        layer = bitsandbytes.nn.Linear8bitLt(k, n, bias is not None, has_fp16_weights=False, threshold=6.0)
        layer.weight = bitsandbytes.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        layer = bitsandbytes.nn.Linear4bit(k, n, bias is not None, dtype, compress_statistics=False, quant_type="nf4")
        layer.weight = bitsandbytes.nn.Params4bit(
            weight, requires_grad=False, compress_statistics=False, quant_type="nf4"
        )
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias.detach(), requires_grad=False)
    return layer.to("cpu").eval()  # while it trains, the int8 layer decodes its weights on a CPU


class ExpertProducts(TorchFunctionMode):
    """Products with matrices of stacked experts go through bitsandbytes' layers of them."""

    def __init__(self, model: torch.nn.Module, mode: str):
        super().__init__()
        self.layers = {}
        gpt_oss = model.config.model_type == "gpt_oss"
        for name, stack in model.named_parameters():
            if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
                continue
            for matrix in stack.detach():
                # gpt-oss: x @ matrix; the others: linear(x, matrix). The product of the fused two is in two.
                weight = matrix.T.contiguous() if gpt_oss else matrix
                self.layers[matrix.data_ptr()] = quantized_linear(weight, None, mode)
        self.used = set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.nn.functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__):
            x, weight = args[:2]
            layer = self.layers.get(weight.data_ptr())
            if layer is not None and weight.dim() == 2:
                self.used.add(weight.data_ptr())
                return layer(x)
        return function(*args, **(kwargs or {}))


def replace_derived(model: torch.nn.Module, mode: str) -> None:
    """Linear layers that transformers passed over for their class, the head apart."""
    for path, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and type(module).__module__.startswith("transformers"):
            model.set_submodule(path, quantized_linear(module.weight.detach(), module.bias, mode))


def kept(model: torch.nn.Module) -> dict[str, int]:
    """Linear weights that are not quantized, by what holds them, the head apart."""
    found = Counter()
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and type(module).__module__.startswith(("transformers", "torch")):
            if not path.endswith("lm_head"):
                found[type(module).__name__] += 1
        for name, parameter in module.named_parameters(recurse=False):
            if path.endswith("experts") and parameter.dim() == 3:
                found[f"{type(module).__name__}.{name}"] += 1
    return dict(found)


def load(folder: Path, mode: str) -> torch.nn.Module:
    dtype, width = MODES[mode]
    options = {}
    if width is not None:
        four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype} if "load_in_4bit" in width else {}
        options["quantization_config"] = transformers.BitsAndBytesConfig(**width, **four)
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="sdpa" if folder.name == "falcon-rw" else "eager",
        experts_implementation="eager",
        **options,
    ).eval()


def distances(got: torch.Tensor, want: torch.Tensor) -> dict[str, float]:
    difference = (got.double() - want.double()).abs()
    size = want.double().abs().mean()
    return {
        "mean": float(f"{difference.mean() / size:.5g}"),
        "median": float(f"{difference.mean(-1).quantile(0.5) / size:.5g}"),
        "max": float(f"{difference.max() / want.double().abs().max():.5g}"),
    }


def measure(folder: Path) -> dict:
    golden = safetensors.torch.load_file(folder / "logits.safetensors")
    ids, want = golden["input_ids"], golden["logits"]
    # One prompt at a time, as the tests do: LLM.int8() finds its outlier columns over a batch.
    run = lambda model: torch.cat([reference.logits(model, row[None]) for row in ids])
    facts: dict = {}
    for mode, (_, width) in MODES.items():
        model = load(folder, mode)
        if width is None:
            facts[mode] = distances(run(model), want)
            continue
        left = kept(model)
        if left:
            facts["kept"] = left
            facts.setdefault("as_loaded", {})[mode] = distances(run(model), want)
            replace_derived(model, mode)
        with ExpertProducts(model, mode) as products:
            facts[mode] = distances(run(model), want)
        if len(products.used) != len(products.layers):
            raise SystemExit(f"{folder.name}: {len(products.used)} of {len(products.layers)} matrices were used")
    return facts


def main() -> None:
    torch.set_num_threads(1)
    flatten_rows()
    models = {}
    for folder in sorted(MODELS.iterdir()):
        config = json.loads((folder / "config.json").read_text())
        if "quantization_config" in config or (sys.argv[1:] and folder.name not in sys.argv[1:]):
            continue
        models[folder.name] = measure(folder)
        print(folder.name, models[folder.name], file=sys.stderr, flush=True)
    made = reference.versions() | {"bitsandbytes": bitsandbytes.__version__}
    lines = ",\n".join(f"{json.dumps(name)}:{json.dumps(facts)}" for name, facts in models.items())
    print(f'{{"made with":{json.dumps(made)},"models":{{\n{lines}\n}}}}')


if __name__ == "__main__":
    main()
