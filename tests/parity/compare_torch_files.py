#!/usr/bin/env python3
"""Holds shoehorn against transformers on pytorch_model.bin files: zip and older form, sharded, odd storages.

    tests/parity/compare_torch_files.py --draws 3

Each draw writes a random small model (compare_architectures.py) as `.bin` files in every combination of
    form      zip, older (_use_new_zipfile_serialization=False), zip of pickle protocol 4
    files     one, or two with an index
    type      float32, float64, bfloat16, float16, or a random one of them for every tensor
    storage   one each, one for all of a file (views at offsets), transposed (strides turned), every second element
and compares float32 logits with those of transformers reading the same folder, but for protocol 4, which torch.load
refuses with weights_only. The largest distance is printed; the exit code is 1 where one passes 5e-5 of the largest
logit, or a model in another form gives other bits than the zip.
Needs torch, transformers, safetensors.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import compare_architectures
import compare_logits
import reference
import shoehorn_side
import torch

FORMS = {
    "zip": {},
    "older": {"_use_new_zipfile_serialization": False},
    "zip-protocol4": {"pickle_protocol": 4},
}
TYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
STORAGES = ("own", "shared", "transposed", "strided")
MODELS = ("llama", "gpt2", "opt", "qwen2")
TOLERANCE = 5e-5


def stored(tensors: dict[str, torch.Tensor], storage: str) -> dict[str, torch.Tensor]:
    """The same values, laid out as `storage` says."""
    if storage == "own":
        return {name: value.clone() for name, value in tensors.items()}
    if storage == "transposed":
        return {n: v.t().contiguous().t() if v.dim() == 2 else v.clone() for n, v in tensors.items()}
    if storage == "strided":
        return {n: torch.stack([v, torch.full_like(v, 7)], dim=-1)[..., 0] for n, v in tensors.items()}
    flat: dict[torch.dtype, torch.Tensor] = {}
    for kind in {value.dtype for value in tensors.values()}:
        parts = [value.flatten() for value in tensors.values() if value.dtype == kind]
        flat[kind] = torch.cat([torch.full((5,), 7, dtype=kind), *parts])
    offsets = dict.fromkeys(flat, 5)
    views = {}
    for name, value in tensors.items():
        start = offsets[value.dtype]
        offsets[value.dtype] += value.numel()
        views[name] = flat[value.dtype][start : start + value.numel()].view(value.shape)
    return views


def write(state: dict[str, torch.Tensor], folder: Path, form: str, parts: int, storage: str) -> None:
    names = list(state)
    shards = [names] if parts == 1 else [names[: len(names) // 2], names[len(names) // 2 :]]
    weight_map = {}
    for i, shard in enumerate(shards):
        file = "pytorch_model.bin" if parts == 1 else f"pytorch_model-{i + 1:05}-of-{parts:05}.bin"
        torch.save(stored({name: state[name] for name in shard}, storage), folder / file, **FORMS[form])
        weight_map |= dict.fromkeys(shard, file)
    if parts > 1:
        index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def logits(args: argparse.Namespace, folder: Path, ids: torch.Tensor) -> torch.Tensor:
    args.model, args.options = folder, "--dtype float32"
    return compare_logits.shoehorn_logits(args, {"input_ids": ids})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shoehorn", type=Path, default=shoehorn_side.ROOT / "build/release/shoehorn")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    worst: dict[str, float] = dict.fromkeys(FORMS, 0.0)
    failed = count = 0
    for seed in range(args.seed, args.seed + args.draws):
        draw = random.Random(seed)
        name = MODELS[seed % len(MODELS)]
        with tempfile.TemporaryDirectory() as temporary:
            plain = Path(temporary) / "plain"
            compare_architectures.write_model(name, compare_architectures.DRAWS[name](draw), plain, seed)
            state = reference.load(plain).state_dict()  # both names of what is tied, as once was usual
            ids = torch.randint(3, compare_architectures.VOCAB, (2, 24), generator=torch.Generator().manual_seed(seed))
            for kind, parts, storage in itertools.product([*TYPES, "mixed"], (1, 2), STORAGES):
                typed = {n: v.to(TYPES[draw.choice(list(TYPES)) if kind == "mixed" else kind]) for n, v in state.items()}
                results = {}
                for form in FORMS:
                    folder = Path(temporary) / "bin"
                    folder.mkdir()
                    for file in plain.glob("*.json"):
                        shutil.copy(file, folder)
                    write(typed, folder, form, parts, storage)
                    results[form] = logits(args, folder, ids)
                    found = 0.0
                    if form != "zip-protocol4":  # which torch.load refuses with weights_only
                        theirs = reference.logits(reference.load(folder), ids)
                        found = compare_logits.distance(results[form], theirs)
                    worst[form] = max(worst[form], found)
                    count += 1
                    if found > TOLERANCE or not torch.equal(results[form], results["zip"]):
                        failed += 1
                        print(f"FAIL {name} seed {seed}: {form}, {kind}, {parts} files, {storage}: {found:.2e}")
                    shutil.rmtree(folder)
        print(f"seed {seed} ({name}) done", flush=True)
    print(f"{count} folders, {failed} fail; largest distances", {k: f"{v:.1e}" for k, v in worst.items()})
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
