"""Writes and reads safetensors files with numpy alone, a piece of a tensor at a time.

The format: an 8-byte little-endian header length, a JSON header (name -> dtype, shape, offsets), then
the tensors' bytes one after the other. numpy has no bfloat16, so a bfloat16 value travels as the upper
half of a float32's bits, in uint16.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tensor_spec import TensorSpec

# safetensors' name, bytes a value, the numpy type whose bytes are in the file
DTYPES = {
    "f32": ("F32", 4, np.dtype("<f4")),
    "f16": ("F16", 2, np.dtype("<f2")),
    "bf16": ("BF16", 2, np.dtype("<u2")),
}


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values as the stored type: float16 and bfloat16 round to nearest, ties to even."""
    values = np.ascontiguousarray(values, dtype="<f4")
    if dtype == "f32":
        return values
    if dtype == "f16":
        return values.astype("<f2")
    bits = values.view("<u4")
    # Adding 0x7FFF, plus one where the kept part is odd, carries into it exactly when it must round up.
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype("<u2")
    nan = np.isnan(values)
    if nan.any():  # the carry could turn a NaN into an infinity
        rounded[nan] = 0x7FC0
    return rounded


def decode(raw: bytes | np.ndarray, stored: str) -> np.ndarray:
    """Bytes of an F32, F16 or BF16 tensor as float32 values, one-dimensional."""
    raw = np.frombuffer(raw, dtype=np.uint8)
    if stored == "F32":
        return raw.view("<f4")
    if stored == "F16":
        return raw.view("<f2").astype(np.float32)
    if stored == "BF16":
        return (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    raise ValueError(f"dtype {stored}: only F32, F16 and BF16 are read here")


class Writer:
    """One file: the header goes out at once, then append() fills the tensors in the order of specs."""

    def __init__(self, path: Path, specs: Iterable[TensorSpec], dtype: str, metadata: dict[str, str]):
        self.specs = list(specs)
        self.dtype = dtype
        name, size, _ = DTYPES[dtype]
        header: dict = {"__metadata__": {"format": "pt", **metadata}}
        offset = 0
        for spec in self.specs:
            end = offset + spec.values * size
            header[spec.name] = {"dtype": name, "shape": list(spec.shape), "data_offsets": [offset, end]}
            offset = end
        self.left_bytes = offset
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # keeps the data on an 8-byte boundary
        self._file: BinaryIO = open(path, "wb")
        self._file.write(struct.pack("<Q", len(text)) + text)

    def append(self, values: np.ndarray) -> None:
        data = encode(values, self.dtype)
        self.left_bytes -= data.nbytes
        if self.left_bytes < 0:
            raise ValueError("more values than the header announced")
        self._file.write(data.data)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind, *_) -> None:
        self._file.close()
        if kind is None and self.left_bytes:
            raise ValueError(f"{self.left_bytes} bytes announced in the header were not written")


def split_into_shards(specs: list[TensorSpec], dtype: str, max_bytes: int) -> list[list[TensorSpec]]:
    """Whole tensors, in order, each shard at most max_bytes unless one tensor alone is more."""
    size = DTYPES[dtype][1]
    shards: list[list[TensorSpec]] = [[]]
    used = 0
    for spec in specs:
        nbytes = spec.values * size
        if shards[-1] and used + nbytes > max_bytes:
            shards.append([])
            used = 0
        shards[-1].append(spec)
        used += nbytes
    return shards


def write_folder(
    folder: Path,
    specs: list[TensorSpec],
    dtype: str,
    pieces,
    max_shard_bytes: int,
    metadata: dict[str, str] | None = None,
    progress=None,
) -> None:
    """Writes model.safetensors, or shards with model.safetensors.index.json as Hugging Face names them.

    pieces(spec) yields float32 arrays that joined are the tensor in row-major order."""
    shards = split_into_shards(specs, dtype, max_shard_bytes)
    size = DTYPES[dtype][1]
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        name = (
            "model.safetensors"
            if len(shards) == 1
            else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        )
        with Writer(folder / name, shard, dtype, metadata or {}) as writer:
            for spec in shard:
                weight_map[spec.name] = name
                for piece in pieces(spec):
                    writer.append(piece)
                if progress:
                    progress(spec)
    if len(shards) > 1:
        total = sum(spec.values for spec in specs) * size
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


@dataclass(frozen=True)
class StoredTensor:
    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    def float32(self) -> np.ndarray:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return decode(file.read(self.nbytes), self.dtype).reshape(self.shape)


def read_folder(folder: Path) -> Iterator[tuple[str, StoredTensor]]:
    """Every tensor of a checkpoint folder that this module or Hugging Face wrote, headers only."""
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            yield (
                name,
                StoredTensor(path, entry["dtype"], tuple(entry["shape"]), 8 + length + begin, end - begin),
            )
