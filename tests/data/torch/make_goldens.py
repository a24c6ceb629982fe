"""Files that torch.save wrote, and what torch reads from them as safetensors of contiguous tensors;
one tiny model as PyTorch files of every form and as accelerate offloads it.

Run with torch 2.x, transformers, accelerate and safetensors; rewrites the files beside it."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import torch
from accelerate.utils import offload_state_dict
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent


def tensors() -> collections.OrderedDict:
    torch.manual_seed(6)
    base = torch.randn(6, 8)
    cube = torch.randn(3, 4, 5)
    return collections.OrderedDict(
        float32=torch.randn(4, 3),
        float64=torch.randn(3, dtype=torch.float64),
        bfloat16=torch.randn(2, 3).bfloat16(),
        float16=torch.randn(5).half(),
        int64=torch.arange(4),
        bools=torch.tensor([True, False, True]),
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 4),
        shared=base,
        transposed=base.t(),
        sliced_rows=base[1:5:2],
        sliced_columns=base[:, 2:5],
        every_other=base[:, ::2],
        permuted=cube.permute(2, 0, 1),
        expanded=base[0, :4].expand(3, 4),
        flipped_out=base.flatten()[40:],
    )


def write(name: str, state: dict, **how) -> None:
    torch.save(state, HERE / f"{name}.bin", **how)
    read = torch.load(HERE / f"{name}.bin", weights_only=False)  # of our own making
    plain = {k: v.detach().contiguous().clone() for k, v in read.items()}
    save_file(plain, HERE / f"{name}.safetensors")


def write_model() -> None:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    plain = HERE / "tiny-safetensors"
    shutil.rmtree(plain, ignore_errors=True)
    model.save_pretrained(plain)
    state = model.state_dict()  # both names of what is tied, as transformers used to save it
    transposed = {k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in state.items()}

    def folder(name: str) -> Path:
        path = HERE / f"tiny-{name}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        shutil.copy(plain / "config.json", path)
        return path

    torch.save(state, folder("zip") / "pytorch_model.bin")
    torch.save(transposed, folder("transposed") / "pytorch_model.bin")
    torch.save(
        state, folder("legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False
    )
    for form, zipped in (("sharded", True), ("legacy-sharded", False)):
        sharded = folder(form)
        keys = list(state)
        weight_map = {}
        for i, part in enumerate((keys[: len(keys) // 2], keys[len(keys) // 2 :])):
            name = f"pytorch_model-{i + 1:05}-of-00002.bin"
            shard = {k: state[k] for k in part}
            torch.save(shard, sharded / name, _use_new_zipfile_serialization=zipped)
            weight_map |= {k: name for k in part}
        index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
        (sharded / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2))
    offload_state_dict(folder("offload"), state)


def main() -> None:
    write_model()
    write("zip", tensors())
    write("zip-protocol4", tensors(), pickle_protocol=4)
    write("legacy", tensors(), _use_new_zipfile_serialization=False)
    # A module's own state_dict carries _metadata; parameters may be saved as such.
    linear = torch.nn.Linear(3, 2)
    state = linear.state_dict()
    state["parameter"] = torch.nn.Parameter(torch.randn(2, 2))
    state["float8"] = torch.randn(2, 4).to(torch.float8_e4m3fn)
    write("parameters", state)


if __name__ == "__main__":
    main()
