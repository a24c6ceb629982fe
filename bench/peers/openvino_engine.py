"""OpenVINO GenAI, on a GGUF file made of the same weights, which it turns into its own graph."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import openvino
import openvino_genai

from hf_to_gguf import convert
from peers import Limits


def prepare(model: Path, form: str, folder: Path) -> Path:
    if model.suffix == ".gguf":
        return model
    out = folder / f"model-{form}.gguf"
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        convert(model, out, form)
    return out


class Engine:
    def __init__(self, path: Path, form: str, limits: Limits):
        self.pipeline = openvino_genai.LLMPipeline(str(path), "CPU", INFERENCE_NUM_THREADS=limits.threads)
        self.notes = "its own defaults for arithmetic and KV cache"

    def generate(self, ids: list[int], tokens: int) -> list[float]:
        times: list[float] = []

        class Clock(openvino_genai.StreamerBase):
            def write(self, token):
                count = len(token) if isinstance(token, (list, tuple)) else 1
                times.extend([time.perf_counter()] * count)
                return openvino_genai.StreamingStatus.RUNNING

            def end(self):
                pass

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = tokens
        config.ignore_eos, config.do_sample, config.apply_chat_template = True, False, False
        prompt = np.array([ids], dtype=np.int64)
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(prompt), openvino.Tensor(np.ones_like(prompt))
        )
        self.pipeline.generate(inputs, config, Clock())
        return times
