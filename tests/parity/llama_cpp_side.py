"""llama.cpp's side of a comparison: logits, ids of text, and files of other types.

Through PyPI's llama-cpp-python, or where that is not installed llama-cpp-py-sync, whose wheels bring the
compiled library (for glibc 2.38 or newer) along. The key-value cache is float32 and attention is not fused, so that what is left
of llama.cpp's own rounding is its tables and the type that its products give activations.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FLOAT32 = 0  # enum ggml_type
CONTEXT = 256
FILE_TYPES = {"q2_k": 10, "q3_k_m": 12, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}  # enum llama_ftype

try:
    import llama_cpp

    VERSION = f"llama-cpp-python {llama_cpp.__version__}"
except ImportError:
    llama_cpp = None
    from llama_cpp_py_sync import __llama_cpp_tag__
    from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

    VERSION = f"llama.cpp {__llama_cpp_tag__} of llama-cpp-py-sync"
    ffi, lib = get_ffi(), get_lib()
    quiet = ffi.callback("void(int, char *, void *)", lambda level, text, data: None)
    lib.llama_log_set(ffi.cast("ggml_log_callback", quiet), ffi.NULL)
    lib.llama_backend_init()


class SyncModel:
    """A file opened through llama-cpp-py-sync."""

    def __init__(self, file: Path, vocab_only: bool = False):
        params = lib.llama_model_default_params()
        params.n_gpu_layers, params.vocab_only = 0, vocab_only
        self.model = lib.llama_model_load_from_file(str(file).encode(), params)
        if self.model == ffi.NULL:
            raise SystemExit(f"llama.cpp does not open {file}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        lib.llama_model_free(self.model)

    def logits(self, ids: list[int]) -> np.ndarray:
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT
        params.n_seq_max, params.n_outputs_max = 1, CONTEXT
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = FLOAT32
        params.flash_attn_type = 0
        params.swa_full, params.no_perf = True, True
        context = lib.llama_init_from_model(self.model, params)
        if context == ffi.NULL:
            raise SystemExit("llama.cpp makes no context")
        batch = lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for at, token in enumerate(ids):
            batch.token[at], batch.pos[at], batch.logits[at] = token, at, 1
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
        if lib.llama_decode(context, batch):
            raise SystemExit("llama.cpp does not decode")
        vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        raw = ffi.buffer(lib.llama_get_logits(context), len(ids) * vocab * 4)
        logits = np.frombuffer(raw, np.float32).reshape(len(ids), vocab).copy()
        lib.llama_batch_free(batch)
        lib.llama_free(context)
        return logits

    def encode(self, text: str) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        ids = ffi.new("llama_token[]", room)
        vocab = lib.llama_model_get_vocab(self.model)
        count = lib.llama_tokenize(vocab, data, len(data), ids, room, False, True)
        return [ids[i] for i in range(count)]


def logits(file: Path, ids: list[int]) -> np.ndarray:
    """float32 [T, vocab] of all positions, computed in one batch."""
    if llama_cpp is None:
        with SyncModel(file) as model:
            return model.logits(ids)
    model = llama_cpp.Llama(
        str(file), n_ctx=CONTEXT, n_batch=CONTEXT, n_ubatch=CONTEXT, n_threads=1, verbose=False,
        logits_all=True, type_k=FLOAT32, type_v=FLOAT32, flash_attn=False,
    )  # fmt: skip
    model.eval(ids)
    found = np.array(model.scores[: len(ids)], np.float32)
    model.close()
    return found


def encode(file: Path, texts: list[str]) -> list[list[int]]:
    """Ids without special tokens added, those in the text read as what they are."""
    if llama_cpp is None:
        with SyncModel(file, vocab_only=True) as model:
            return [model.encode(text) for text in texts]
    model = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    return [model.tokenize(text.encode(), add_bos=False, special=True) for text in texts]


def quantize(file: Path, out: Path, kind: str) -> None:
    """What llama.cpp makes of a float file; `kind` is one of FILE_TYPES."""
    if llama_cpp is None:
        params = ffi.new("llama_model_quantize_params *", lib.llama_model_quantize_default_params())
        params.ftype, params.nthread = FILE_TYPES[kind], 1
        failed = lib.llama_model_quantize(str(file).encode(), str(out).encode(), params)
    else:
        import ctypes

        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype, params.nthread = FILE_TYPES[kind], 1
        failed = llama_cpp.llama_model_quantize(str(file).encode(), str(out).encode(), ctypes.byref(params))
    if failed:
        raise SystemExit(f"llama.cpp does not quantize {file}")
