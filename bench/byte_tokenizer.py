"""A byte-level BPE tokenizer.json of any vocabulary size, made from nothing, for synthetic checkpoints.

Ids 0 to 2 are <unk>, <s>, </s>; 3 to 258 the bytes; the rest are letter runs of growing length, each one
merge away from a shorter one, so that every id stands for text and every reader of the format loads it.
"""

from __future__ import annotations

import itertools
import json
import string
from pathlib import Path

SPECIALS = ("<unk>", "<s>", "</s>")
MIN_VOCAB_SIZE = len(SPECIALS) + 256


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte, by byte value."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = itertools.count(256)
    return [chr(b) if b in printable else chr(next(rest)) for b in range(256)]


def letter_runs():
    """(left, right) of every merge: letter pairs, the same behind a space, then threes, and so on."""
    space = byte_symbols()[ord(" ")]
    for length in itertools.count(2):
        for prefix in ("", space):
            for letters in itertools.product(string.ascii_lowercase, repeat=length - len(prefix)):
                word = prefix + "".join(letters)
                yield word[:-1], word[-1]


def tokenizer_json(vocab_size: int) -> dict:
    if vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"vocab_size {vocab_size}: a byte-level tokenizer needs at least {MIN_VOCAB_SIZE}")
    merges = [list(pair) for pair in itertools.islice(letter_runs(), vocab_size - MIN_VOCAB_SIZE)]
    tokens = [*SPECIALS, *byte_symbols(), *(left + right for left, right in merges)]
    added = [
        {
            "id": i,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, token in enumerate(SPECIALS)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def write(folder: Path, vocab_size: int, model_max_length: int) -> None:
    """tokenizer.json and the tokenizer_config.json that makes transformers read it."""
    text = json.dumps(tokenizer_json(vocab_size), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": model_max_length,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
