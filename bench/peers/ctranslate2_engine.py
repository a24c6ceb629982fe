"""CTranslate2, on a conversion of the same folder by its own converter."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import ctranslate2

from peers import Limits

COMPUTE_TYPES = {"f32": "float32", "int8": "int8"}


def prepare(model: Path, form: str, folder: Path) -> Path:
    from ctranslate2.converters import TransformersConverter

    out = folder / f"ctranslate2-{form}"
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        TransformersConverter(str(model), low_cpu_mem_usage=True).convert(
            str(partial), quantization=COMPUTE_TYPES[form], force=True
        )
        partial.rename(out)
    return out


class Engine:
    def __init__(self, path: Path, form: str, limits: Limits):
        self.generator = ctranslate2.Generator(
            str(path),
            device="cpu",
            inter_threads=1,
            intra_threads=limits.threads,
            compute_type=COMPUTE_TYPES[form],
        )
        self.tokens = json.loads((path / "vocabulary.json").read_text(encoding="utf-8"))
        self.notes = f"compute type {self.generator.compute_type}"

    def generate(self, ids: list[int], tokens: int) -> list[float]:
        times: list[float] = []

        def step(result) -> bool:
            times.append(time.perf_counter())
            return False

        self.generator.generate_batch(
            [[self.tokens[i] for i in ids]],
            max_length=tokens,
            min_length=tokens,
            sampling_topk=1,
            beam_size=1,
            include_prompt_in_result=False,
            end_token=[],
            callback=step,
        )
        return times
