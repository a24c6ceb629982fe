"""llama.cpp through llama-cpp-python, on a GGUF file made of the same weights."""

from __future__ import annotations

import os
import time
from pathlib import Path

import llama_cpp

from hf_to_gguf import TYPES, convert
from peers import Limits

# Types that gguf cannot encode: llama.cpp quantizes them itself, every matrix alike.
QUANTIZED_BY_LLAMA = {
    "q4_k": (llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_S, llama_cpp.GGML_TYPE_Q4_K),
    "iq4_nl": (llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_NL, llama_cpp.GGML_TYPE_IQ4_NL),
}


def prepare(model: Path, form: str, folder: Path) -> Path:
    if model.suffix == ".gguf":
        return model
    out = folder / f"model-{form}.gguf"
    if out.exists():
        return out
    folder.mkdir(parents=True, exist_ok=True)
    if form in TYPES:
        convert(model, out, form)
        return out
    source = folder / "model-f16.gguf"
    if not source.exists():
        convert(model, source, "f16")
    ftype, kind = QUANTIZED_BY_LLAMA[form]
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype, options.pure = ftype, True
    options.output_tensor_type = options.token_embedding_type = kind
    partial = out.with_name(out.name + ".partial")
    if llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(partial), options):
        raise RuntimeError(f"llama.cpp cannot quantize {source} to {form}")
    partial.rename(out)
    return out


class Engine:
    def __init__(self, path: Path, form: str, limits: Limits):
        self.model = llama_cpp.Llama(
            str(path),
            n_ctx=limits.max_tokens + 8,
            n_batch=2048,
            n_ubatch=512,
            n_threads=limits.threads,
            n_threads_batch=limits.threads,
            verbose=False,
        )
        info = llama_cpp.llama_print_system_info().decode()
        features = [
            part.split("=")[0].strip() for part in info.removeprefix("CPU :").split("|") if "= 1" in part
        ]
        self.notes = "f16 KV cache; built with " + " ".join(features)

    def generate(self, ids: list[int], tokens: int) -> list[float]:
        self.model.reset()
        times, step = [], ids
        for _ in range(tokens):
            self.model.eval(step)
            step = [self.model.sample(top_k=1, temp=0.0)]
            times.append(time.perf_counter())
        return times
