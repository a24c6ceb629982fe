"""Tokenizers as GGUF metadata: those of a tokenizer.json, and small ones of their own.

`add_byte_level` and `add_sentencepiece` put a tokenizer.json into a gguf.GGUFWriter as llama.cpp's
converter does: tokens, types, merges (byte level) or scores (SentencePiece), ids with a role.
"""

from __future__ import annotations

import gguf

NORMAL, UNKNOWN, CONTROL = gguf.TokenType.NORMAL, gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL
USER, UNUSED, BYTE = gguf.TokenType.USER_DEFINED, gguf.TokenType.UNUSED, gguf.TokenType.BYTE


def tokens_of(tokenizer: dict) -> dict[int, str]:
    """A file has every token once: what is added to a vocabulary that has it keeps its first id."""
    vocab = tokenizer["model"]["vocab"]
    by_id = {i: token for token, i in vocab.items()}
    added = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    return by_id | {i: token for i, token in added.items() if vocab.get(token, i) == i}


def types_of(tokenizer: dict, tokens: list[str]) -> list[int]:
    special = {added["content"]: added["special"] for added in tokenizer["added_tokens"]}
    unknown = tokenizer["model"].get("unk_token")
    kinds = []
    for token in tokens:
        if token == unknown:
            kinds.append(UNKNOWN)
        elif token in special:
            kinds.append(CONTROL if special[token] else USER)
        elif token.startswith("[unused"):
            kinds.append(UNUSED)
        elif len(token) == 6 and token.startswith("<0x") and tokenizer["model"].get("byte_fallback"):
            kinds.append(BYTE)
        else:
            kinds.append(NORMAL)
    return kinds


def add_byte_level(writer: gguf.GGUFWriter, tokenizer: dict, pre: str, size: int = 0) -> None:
    """`size` tokens, what the vocabulary lacks filled with unused ones; 0: as many as it has."""
    by_id = tokens_of(tokenizer)
    tokens = [by_id.get(i, f"[unused{i}]") for i in range(max(size, max(by_id) + 1))]
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types_of(tokenizer, tokens))
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_add_bos_token(False)


def add_sentencepiece(
    writer: gguf.GGUFWriter, tokenizer: dict, ids: dict[str, int], prefix: bool, size: int = 0
) -> None:
    """Scores are the negative rank of the merge that makes a token, as SentencePiece's BPE has them."""
    by_id = tokens_of(tokenizer)
    tokens = [by_id.get(i, f"[unused{i}]") for i in range(max(size, max(by_id) + 1))]
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(tokenizer["model"]["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(left + right, rank)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(ranks.get(token, len(ranks) + i)) for i, token in enumerate(tokens)])
    writer.add_token_types(types_of(tokenizer, tokens))
    writer.add_bos_token_id(ids["bos"])
    writer.add_eos_token_id(ids["eos"])
    writer.add_unk_token_id(ids["unk"])
    writer.add_add_space_prefix(prefix)
    writer.add_add_bos_token(True)


def byte_characters() -> list[str]:
    """GPT-2's printable character for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def small_byte_level(writer: gguf.GGUFWriter, size: int, pre: str = "gpt-2") -> None:
    """256 bytes and an end token, at least."""
    merges = [["\u0120", "t"], ["h", "e"], ["\u0120t", "he"]]
    tokens = [*byte_characters(), *("".join(merge) for merge in merges)]
    tokenizer = {
        "model": {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges},
        "added_tokens": [{"id": len(tokens), "content": "<|endoftext|>", "special": True}],
    }
    add_byte_level(writer, tokenizer, pre, size)
    writer.add_bos_token_id(len(tokens))
    writer.add_eos_token_id(len(tokens))
