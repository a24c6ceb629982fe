"""Other engines, each behind the same two calls, so that compare.py measures all of them alike.

A module of this folder offers
    prepare(model, form, folder) -> Path    what the engine opens: the model's folder itself, or a
                                            conversion written once into `folder` (not timed)
    import_everything(peer)             optional: imports that are no part of loading
    Engine(path, form, limits)              loads it; this is the load time
    Engine.generate(ids, tokens) -> list    feeds the prompt, picks `tokens` tokens greedily whatever they
                                            are, and returns time.perf_counter() as each became known
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    module: str  # in this folder
    package: str  # on PyPI
    forms: tuple[str, ...]  # how it may hold the weights
    default_forms: tuple[str, ...]


PEERS = {
    "transformers": Peer("torch_models", "transformers", ("bf16", "f16", "f32"), ("bf16",)),
    "accelerate": Peer("torch_models", "accelerate", ("bf16", "f16", "f32"), ("bf16",)),
    "bitsandbytes": Peer("torch_models", "bitsandbytes", ("int8", "nf4", "nf4-dq", "fp4"), ("int8", "nf4")),
    "llama-cpp-python": Peer(
        "llama_cpp_engine",
        "llama-cpp-python",
        ("bf16", "f16", "f32", "q8_0", "q4_0", "q4_1", "q4_k", "iq4_nl"),
        ("bf16", "q8_0"),
    ),
    "ctranslate2": Peer("ctranslate2_engine", "ctranslate2", ("f32", "int8"), ("f32", "int8")),
    "openvino-genai": Peer("openvino_engine", "openvino-genai", ("f16", "q8_0", "q4_0"), ("f16", "q8_0")),
}


@dataclass(frozen=True)
class Limits:
    threads: int
    max_tokens: int  # prompt and answer together
    max_memory: str = ""  # as shoehorn's --max-memory; only engines that place weights look at it
    offload_folder: str = ""
