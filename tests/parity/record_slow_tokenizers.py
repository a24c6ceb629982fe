#!/usr/bin/env python3
"""Makes tests/data/slow-tokenizers: folders without a tokenizer.json, and what transformers makes of them.

    tests/parity/record_slow_tokenizers.py tests/data

Small SentencePiece models are trained on the texts of tests/data/tokenizers; vocab.json with merges.txt and
vocab.txt are taken out of the tokenizers there. cases.json holds texts with the ids of AutoTokenizer with
and without special tokens, and the text that those ids decode to; where SentencePiece's own ids must be the
same, that is checked here. Needs transformers 5.24, sentencepiece 0.2.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import shutil
import tempfile

import sentencepiece
from transformers import AutoTokenizer

import random_text

BOS = {
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
}


def token(content: str, **flags) -> dict:
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    return {"content": content, **plain, **flags}


MODELS = {
    "bpe-bytes": dict(
        model_type="bpe",
        vocab_size=800,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        user_defined_symbols=["<mark>", "==>", "a.b"],
        control_symbols=["<ctl>"],
    ),
    "bpe-plain": dict(model_type="bpe", vocab_size=500, normalization_rule_name="identity"),
    "unigram-map": dict(model_type="unigram", vocab_size=500, pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
    "unigram-bytes": dict(
        model_type="unigram",
        vocab_size=700,
        byte_fallback=True,
        add_dummy_prefix=False,
        user_defined_symbols=["<mark>"],
    ),
}
# A small normalization table: U+2126 and fullwidth letters and digits fold, a soft hyphen vanishes.
RULES = (
    [("2126", "3A9"), ("AD", "")]
    + [(f"{0xFF21 + i:X}", f"{0x41 + i:X}") for i in range(26)]
    + [(f"{0xFF10 + i:X}", f"{0x30 + i:X}") for i in range(10)]
    + [("41 30A", "C5"), ("3000", "20")]
)

# name: (model or fixture, tokenizer_config.json, other files, model_type, whether SentencePiece gives the
# same ids)
FOLDERS = {
    "llama": ("bpe-bytes", {**BOS, "tokenizer_class": "LlamaTokenizer", "legacy": False}, {}, None, False),
    "llama-legacy": (
        "bpe-bytes",
        {
            **BOS,
            "tokenizer_class": "LlamaTokenizer",
            "legacy": True,
            "add_eos_token": True,
            "added_tokens_decoder": {
                "0": token("<unk>", normalized=True),
                "1": token("<s>", normalized=True),
                "800": token("<new>", lstrip=True),
                "801": token("plain", special=False, normalized=True),
            },
        },
        {},
        None,
        False,
    ),
    "code-llama": ("bpe-bytes", {**BOS, "tokenizer_class": "CodeLlamaTokenizer"}, {}, None, False),
    "mistral": ("bpe-bytes", {**BOS, "tokenizer_class": "LlamaTokenizer"}, {}, "mistral", True),
    "phi3": (
        "bpe-bytes",
        {
            **BOS,
            "tokenizer_class": "LlamaTokenizer",
            "eos_token": "<|end|>",
            "added_tokens_decoder": {"3": token("<|user|>", rstrip=True), "800": token("<|end|>")},
        },
        {},
        "phi3",
        False,
    ),
    "gemma": (
        "bpe-bytes",
        {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"},
        {},
        "gemma",
        False,
    ),
    "bpe-alone": ("bpe-plain", None, {}, None, True),
    "unigram-alone": ("unigram-bytes", None, {}, None, True),
    "unigram-map-alone": ("unigram-map", None, {}, None, True),
    "t5": ("unigram-map", {"tokenizer_class": "T5Tokenizer", "extra_ids": 7}, {}, "t5", False),
    "xlm-roberta": ("unigram-map", {"tokenizer_class": "XLMRobertaTokenizer"}, {}, "xlm-roberta", False),
    "gpt2": ("gpt2-bytelevel", None, {}, "gpt2", False),
    "gpt2-old-files": (
        "gpt2-bytelevel",
        {
            "tokenizer_class": "GPT2Tokenizer",
            "add_bos_token": True,
            "add_prefix_space": True,
            "bos_token": "<s>",
            "unk_token": "<unk>",
            "additional_special_tokens": ["<x>"],
            "pad_token": {"__type": "AddedToken", **token("<pad>", lstrip=True, normalized=True)},
        },
        {
            "special_tokens_map.json": {"eos_token": "</s>", "mask_token": token("<mask>", lstrip=True)},
            "added_tokens.json": {"<tool>": 1600, "<bar>": 1502, "<x>": 7000},
        },
        None,
        False,
    ),
    "qwen2": (
        "qwen2-nfc",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "unk_token": None,
            "pad_token": "<|endoftext|>",
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "added_tokens_decoder": {
                "1000": token("<|endoftext|>"),
                "1001": token("<|im_start|>", rstrip=True),
                "1002": token("<tool>", special=False, normalized=True),
            },
        },
        {},
        "qwen2",
        False,
    ),
    "gpt-neox": ("gpt2-bytelevel", {"tokenizer_class": "GPTNeoXTokenizer"}, {}, "gpt_neox", False),
    "codegen": ("gpt2-bytelevel", {"tokenizer_class": "CodeGenTokenizer"}, {}, "codegen", False),
    "cohere": (
        "gpt2-bytelevel",
        {"tokenizer_class": "CohereTokenizer", "add_bos_token": True},
        {},
        "cohere",
        False,
    ),
    "roberta": ("roberta-prefix-space", {"tokenizer_class": "RobertaTokenizer"}, {}, "roberta", False),
    "bert": ("bert-uncased", None, {}, "bert", False),
    "bert-cased": (
        "bert-cased",
        {
            "tokenizer_class": "DistilBertTokenizer",
            "do_lower_case": False,
            "strip_accents": True,
            "tokenize_chinese_chars": False,
        },
        {},
        "distilbert",
        False,
    ),
}
SPECIAL = [
    "<s>",
    "</s>",
    "<unk>",
    "<mark>",
    "==>",
    "a.b",
    "<ctl>",
    "<new>",
    "plain",
    "<|user|>",
    "<|end|>",
    "<extra_id_3>",
    "<|endoftext|>",
    "<|im_start|>",
    "<tool>",
    "<x>",
    "<mask>",
    "<pad>",
    "[SEP]",
    "[MASK]",
    "\u2581",
    "\u2581\u2581",
    "<bar>",
    "<BOS_TOKEN>",
    "\u2581<PRE>",
    "  ",
    "\uff21\uff11",
    "A\u030a",
    "\u00ad",
    "\u2126",
]


def corpus(data: pathlib.Path) -> list[str]:
    lines = []
    for name in ("smollm2-135m", "minilm-l6-bert"):
        lines += [
            row["text"] for row in json.loads((data / "tokenizers" / name / "cases_real.json").read_text())
        ]
    for name in ("llama2-legacy", "gpt2-bytelevel", "unigram-t5"):
        lines += [row["text"] for row in json.loads((data / "tokenizers" / name / "cases.json").read_text())]
    lines = [line.replace("\x00", "").replace("\n", " ") for line in lines]
    return [
        line for line in lines if line.strip() and max(map(ord, line)) < 0x500 and min(map(ord, line)) >= 0x20
    ]


def train(data: pathlib.Path, folder: pathlib.Path) -> None:
    (folder / "corpus.txt").write_text("\n".join(corpus(data) * 3))
    (folder / "rules.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in RULES))
    for name, options in MODELS.items():
        if name.startswith("unigram"):
            options = {
                **options,
                "hard_vocab_limit": False,
                "normalization_rule_tsv": str(folder / "rules.tsv"),
            }
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "corpus.txt"),
            model_prefix=str(folder / name),
            num_threads=1,
            minloglevel=2,
            character_coverage=1.0,
            **options,
        )


def write_words(tokenizer: dict, folder: pathlib.Path) -> None:
    model = tokenizer["model"]
    if model["type"] == "WordPiece":
        tokens = sorted(model["vocab"], key=model["vocab"].get)
        (folder / "vocab.txt").write_text("".join(f"{t}\n" for t in tokens))
        return
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{m}\n" for m in merges))


def texts(data: pathlib.Path) -> list[str]:
    rng = random.Random(7)
    fixed = [
        "",
        " ",
        "  ",
        "hello",
        " hello",
        "  hello  world  ",
        "Hello<s>world",
        "<s> hi </s>",
        "a<mark>b <mark> c",
        "x==>y",
        "\n",
        "a\n\nb",
        "Caf\u00e9 caf\u00e9",
        "12345",
        "\u2581x",
        "\u2581\u2581",
        "don't I'LL",
        "a a.b ab",
        "\U0001f600 \u4e16\u754c",
        "\x00\x01",
        "tab\there",
    ]
    rows = fixed + [
        json.loads((data / "tokenizers" / "llama2-legacy" / "cases.json").read_text())[i]["text"]
        for i in range(0, 120, 12)
    ]
    return rows + [random_text.line(rng, SPECIAL)[:90] for _ in range(30)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=pathlib.Path)
    args = parser.parse_args()
    root = args.data / "slow-tokenizers"
    rows = texts(args.data)
    with tempfile.TemporaryDirectory() as temporary:
        trained = pathlib.Path(temporary)
        train(args.data, trained)
        for name, (source, settings, files, model_type, same) in FOLDERS.items():
            folder = root / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            if source in MODELS:
                file = "spiece.model" if name == "t5" else "tokenizer.model"
                file = "sentencepiece.bpe.model" if name == "xlm-roberta" else file
                shutil.copy(trained / f"{source}.model", folder / file)
            else:
                write_words(
                    json.loads((args.data / "tokenizers" / source / "tokenizer.json").read_text()), folder
                )
            if settings is not None:
                (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
            if model_type is not None:
                (folder / "config.json").write_text(json.dumps({"model_type": model_type}) + "\n")
            for file, content in files.items():
                (folder / file).write_text(json.dumps(content, indent=1) + "\n")
            backend = AutoTokenizer.from_pretrained(folder).backend_tokenizer
            cases = []
            for text in rows:
                ids = backend.encode(text).ids
                plain = backend.encode(text, add_special_tokens=False).ids
                cases.append(
                    {
                        "text": text,
                        "ids": ids,
                        "ids_no_special": plain,
                        "decoded": backend.decode(ids, skip_special_tokens=False),
                    }
                )
            if same:
                check = sentencepiece.SentencePieceProcessor(model_file=str(next(folder.glob("*.model"))))
                for case in cases:
                    if any(s in case["text"] for s in SPECIAL if s.startswith("<")) or "\x00" in case["text"]:
                        continue  # SentencePiece reads control pieces as text
                    if check.encode(case["text"]) != case["ids_no_special"]:
                        print(f"{name}: SentencePiece differs on {case['text']!r}")
            rows_text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
            (folder / "cases.json").write_text(f"[{rows_text}]\n")
            print(name, len(cases), sum(f.stat().st_size for f in folder.iterdir()) // 1024, "KiB")


if __name__ == "__main__":
    main()
