"""Makes the golden data of the GGUF tests: quantized blocks with what they mean, and small files.

`make_goldens.py [TOKENIZER_FIXTURES]`; made with Python 3.11, numpy 2.4.6, gguf 0.19.0 and
sentencepiece 0.2.3 (PyPI). `gguf.quants` is the reference for blocks (K and IQ types it cannot
quantize: random bytes with chosen scales).
"""

import json
import pathlib
import sys
import tempfile

import gguf
import numpy as np

HERE = pathlib.Path(__file__).parent
TYPES = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4".split()

# Where the binary16 scales of a block lie (byte offsets).
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
    "MXFP4": [],
}

# Zero, minus zero, least and largest subnormal, least normal, one, largest, infinities, a NaN.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]


def random_blocks(rng, name, count, tame):
    """`count` blocks of random bytes; scales random, or tame ones around 2^-6."""
    dtype = gguf.GGMLQuantizationType[name]
    size = gguf.GGML_QUANT_SIZES[dtype][1]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in SCALES[name]:
        if tame:
            scales = (rng.standard_normal(count) / 64).astype(np.float16)
        else:
            scales = rng.integers(0, 0x7C00, count).astype(np.uint16)
            scales |= (rng.integers(0, 2, count) << 15).astype(np.uint16)
            scales = scales.view(np.float16)
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(count, 2)
    if name == "MXFP4" and tame:
        blocks[:, 0] = rng.integers(118, 124, count)
    return blocks


def write_blocks():
    rng = np.random.default_rng(7)
    for name in TYPES:
        dtype = gguf.GGMLQuantizationType[name]
        small = gguf.GGML_QUANT_SIZES[dtype][0] == 32
        blocks = random_blocks(rng, name, 40 if small else 8, tame=False)
        extremes = random_blocks(rng, name, len(EXTREMES), tame=False)
        for row, bits in enumerate(EXTREMES):
            for at, offset in enumerate(SCALES[name]):
                pick = EXTREMES[(row + 3 * at) % len(EXTREMES)]
                extremes[row, offset:offset + 2] = np.array([pick], np.uint16).view(np.uint8)
        if name == "MXFP4":
            extremes[:, 0] = [0, 1, 2, 3, 126, 127, 128, 252, 253, 254, 255]
        blocks = np.concatenate([blocks, extremes])
        with np.errstate(all="ignore"):
            values = gguf.quants.dequantize(blocks.reshape(1, -1), dtype)
        (HERE / "blocks" / f"{name}.blocks").write_bytes(blocks.tobytes())
        (HERE / "blocks" / f"{name}.f32").write_bytes(values.astype(np.float32).tobytes())


def interleave(weight, heads):
    """What llama.cpp's converter does to the rows of q and k (GGUF specification, LLaMA)."""
    shape = weight.shape
    pairs = weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:])
    return pairs.swapaxes(1, 2).reshape(shape)


def llama3_divisors(head_dim, theta, factor, low, high, original):
    """rope_freqs.weight as the converter computes it, in float32."""
    freqs = 1.0 / (theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim))
    divisors = []
    for wavelen in 2 * np.pi / freqs:
        if wavelen < original / high:
            divisors.append(1)
        elif wavelen > original / low:
            divisors.append(factor)
        else:
            smooth = (original / wavelen - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, dtype=np.float32)


def byte_characters():
    """GPT-2's printable character for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def add_gpt2_tokenizer(writer):
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    merges = ["\u0120 t", "h e", "\u0120t he", "i n", "1 2", "\u0120 \\"]
    tokens = specials + byte_characters() + [merge.replace(" ", "") for merge in merges] + ["<tool>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 4) + [4])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    return len(tokens)


def add_sentencepiece_tokenizer(writer):
    pieces = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3)]
    pieces += [(f"<0x{byte:02X}>", 0, 6) for byte in range(256)]
    words = ["\u2581t", "he", "\u2581the", "in", "ing", "aa", "aaa", "\u2581\u2581", "t\u00e9"]
    pieces += [(word, -rank, 1) for rank, word in enumerate(words)]
    letters = "\u2581abcdefghijklmnopqrstuvwxyz\u00e9"
    pieces += [(letter, -len(words) - rank, 1) for rank, letter in enumerate(letters)]
    pieces += [("<tool>", -1000, 4)]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece for piece, _, _ in pieces])
    writer.add_token_scores([float(score) for _, score, _ in pieces])
    writer.add_token_types([kind for _, _, kind in pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return len(pieces)


def add_config(writer, hidden, ffn, heads, kv_heads, layers):
    writer.add_name("tiny")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(hidden // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)


def fnv1a(data):
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


class TinyModel:
    """Adds tensors to a writer and remembers what a reader should find."""

    def __init__(self, writer):
        self.writer = writer
        self.expected = {}
        self.rng = np.random.default_rng(11)

    def add(self, gguf_name, name, shape, dtype="F32", heads=0, values=None):
        kind = gguf.GGMLQuantizationType[dtype]
        if values is None:
            values = (self.rng.standard_normal(shape) / 8).astype(np.float32)
        if heads:
            values = interleave(values, heads)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        if dtype == "F32":
            data = values
        elif dtype == "F16":
            data = values.astype(np.float16)
        elif dtype in ("BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
            data = gguf.quants.quantize(values, kind)
        else:
            count = values.size // block
            data = random_blocks(self.rng, dtype, count, tame=True)
            data = data.reshape(shape[0], shape[1] // block * size)
        raw = None if dtype in ("F32", "F16") else kind
        self.writer.add_tensor(gguf_name, data, raw_dtype=raw)
        self.expected[name] = {"dtype": dtype, "shape": list(shape), "heads": heads,
                               "fnv1a": fnv1a(data.tobytes())}

    def add_layer(self, i, hidden, ffn, heads, kv_heads, types):
        kv = hidden // heads * kv_heads
        at, to = f"blk.{i}.", f"model.layers.{i}."
        self.add(at + "attn_norm.weight", to + "input_layernorm.weight", (hidden,))
        for gguf_name, name, shape, swapped in [
                ("attn_q", "self_attn.q_proj", (hidden, hidden), heads),
                ("attn_k", "self_attn.k_proj", (kv, hidden), kv_heads),
                ("attn_v", "self_attn.v_proj", (kv, hidden), 0),
                ("attn_output", "self_attn.o_proj", (hidden, hidden), 0),
                ("ffn_gate", "mlp.gate_proj", (ffn, hidden), 0),
                ("ffn_up", "mlp.up_proj", (ffn, hidden), 0),
                ("ffn_down", "mlp.down_proj", (hidden, ffn), 0)]:
            self.add(at + gguf_name + ".weight", to + name + ".weight", shape,
                     types.get(gguf_name, "F32"), swapped)
        self.add(at + "ffn_norm.weight", to + "post_attention_layernorm.weight", (hidden,))

    def finish(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        return self.expected


def write_quantized_model():
    """Byte-level tokenizer, tied embedding, every layer in other types."""
    writer = gguf.GGUFWriter(HERE / "tiny-quantized.gguf", "llama")
    hidden, ffn, heads, kv_heads = 256, 256, 4, 2
    add_config(writer, hidden, ffn, heads, kv_heads, 2)
    vocab = add_gpt2_tokenizer(writer)
    model = TinyModel(writer)
    model.add("token_embd.weight", "model.embed_tokens.weight", (vocab, hidden), "Q8_0")
    model.add_layer(0, hidden, ffn, heads, kv_heads, {
        "attn_q": "Q4_K", "attn_k": "Q4_0", "attn_v": "Q6_K", "attn_output": "Q5_K",
        "ffn_gate": "Q4_1", "ffn_up": "IQ4_NL", "ffn_down": "Q3_K"})
    model.add_layer(1, hidden, ffn, heads, kv_heads, {
        "attn_q": "Q5_0", "attn_k": "F16", "attn_v": "BF16", "attn_output": "Q2_K",
        "ffn_gate": "IQ4_XS", "ffn_up": "MXFP4", "ffn_down": "Q5_1"})
    model.add("output_norm.weight", "model.norm.weight", (hidden,))
    return model.finish()


def write_float_model():
    """SentencePiece tokenizer, untied head, biases, llama3 RoPE scaling; alignment 64."""
    writer = gguf.GGUFWriter(HERE / "tiny-f32.gguf", "llama")
    writer.add_custom_alignment(64)
    hidden, ffn, heads, kv_heads = 32, 48, 4, 2
    add_config(writer, hidden, ffn, heads, kv_heads, 1)
    vocab = add_sentencepiece_tokenizer(writer)
    model = TinyModel(writer)
    model.add("token_embd.weight", "model.embed_tokens.weight", (vocab, hidden))
    model.add_layer(0, hidden, ffn, heads, kv_heads, {})
    # Biases that say which row they are: what row order means can be read off them.
    model.add("blk.0.attn_q.bias", "model.layers.0.self_attn.q_proj.bias", (hidden,), heads=heads,
              values=np.arange(hidden, dtype=np.float32))
    model.add("blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias", (16,), heads=kv_heads,
              values=np.arange(16, dtype=np.float32))
    model.add("blk.0.attn_v.bias", "model.layers.0.self_attn.v_proj.bias", (16,))
    model.add("blk.0.attn_output.bias", "model.layers.0.self_attn.o_proj.bias", (hidden,))
    model.add("output_norm.weight", "model.norm.weight", (hidden,))
    model.add("output.weight", "lm_head.weight", (vocab, hidden))
    writer.add_tensor("rope_freqs.weight", llama3_divisors(8, 10000.0, 8.0, 1.0, 4.0, 64))
    return model.finish()


def write_split_model():
    """Three files, as llama.cpp's gguf-split names them."""
    writer = gguf.GGUFWriter(HERE / "tiny-split.gguf", "llama", split_max_tensors=5)
    add_config(writer, 32, 48, 4, 2, 1)
    vocab = add_gpt2_tokenizer(writer)
    model = TinyModel(writer)
    model.add("token_embd.weight", "model.embed_tokens.weight", (vocab, 32), "F16")
    model.add_layer(0, 32, 48, 4, 2, {"attn_q": "F16", "ffn_gate": "Q8_0"})
    model.add("output_norm.weight", "model.norm.weight", (32,))
    return model.finish()


# tokenizer.ggml.pre and the tokenizer fixture that has its rule.
PRE_TOKENIZERS = {
    "gpt-2": "gpt2-bytelevel", "llama-bpe": "llama3-split", "smaug-bpe": "llama3-no-ignore-merges",
    "qwen2": "qwen2-nfc", "deepseek-v3": "deepseek-v3-splits", "falcon": "falcon-digits3",
    "starcoder": "starcoder-digits", "gpt-4o": "o200k-case",
}


def write_pre_tokenizers(fixtures):
    golden = {}
    for name, fixture in PRE_TOKENIZERS.items():
        tokenizer = json.loads((fixtures / fixture / "tokenizer.json").read_text())
        normalizer = tokenizer["normalizer"]
        if normalizer == {"type": "Sequence", "normalizers": []}:
            normalizer = None
        golden[name] = {"normalizer": normalizer, "pre_tokenizer": tokenizer["pre_tokenizer"],
                        "ignore_merges": tokenizer["model"]["ignore_merges"]}
    # The fixture keeps the matches by dropping the gaps; isolating both is the same where the
    # pattern leaves no gap, as this one.
    golden["gpt-4o"]["pre_tokenizer"]["pretokenizers"][0] |= {"behavior": "Isolated", "invert": False}
    (HERE / "pre_tokenizers.json").write_text(json.dumps(golden, indent=1) + "\n")


def write_vocabulary(path, add_tokenizer):
    """A GGUF file with a tokenizer and no tensors."""
    writer = gguf.GGUFWriter(path, "llama")
    add_config(writer, 32, 48, 4, 2, 1)
    writer.add_vocab_size(1)
    add_tokenizer(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_byte_level_ids(fixtures):
    """A tokenizer fixture as GGUF metadata, with the ids that the tokenizers library gave."""
    folder = fixtures / "starcoder-digits"
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens = dict(tokenizer["model"]["vocab"])
    special = {token["content"]: token["special"] for token in tokenizer["added_tokens"]}

    def add(writer):
        texts = sorted(tokens, key=tokens.get)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("starcoder")
        writer.add_token_list(texts)
        writer.add_token_types([{None: 1, True: 3, False: 4}[special.get(t)] for t in texts])
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m)
                                 for m in tokenizer["model"]["merges"]])
        writer.add_eos_token_id(0)

    write_vocabulary(HERE / "byte-level.gguf", add)
    cases = json.loads((folder / "cases.json").read_text())
    return [{"text": case["text"], "ids": case["ids"]} for case in cases[::3]]


def write_sentencepiece_ids(fixtures):
    """A SentencePiece model trained on the fixtures' texts, with the ids that the library gives."""
    import sentencepiece

    texts = [case["text"] for name in ("llama2-legacy", "gemma-style", "o200k-case")
             for case in json.loads((fixtures / name / "cases.json").read_text())]
    lines = [line for text in texts for line in text.splitlines() if line]
    with tempfile.TemporaryDirectory() as folder:
        prefix = folder + "/model"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_prefix=prefix, vocab_size=1600, model_type="bpe",
            byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity",
            remove_extra_whitespaces=False, split_digits=True, user_defined_symbols=["<tool>"],
            allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2)
        model = sentencepiece.SentencePieceProcessor(prefix + ".model")

    def kind(i):
        flags = [(model.is_unknown(i), 2), (model.is_control(i), 3), (model.is_byte(i), 6),
                 (model.id_to_piece(i) == "<tool>", 4)]
        return next((number for flag, number in flags if flag), 1)

    def add(writer):
        ids = range(model.get_piece_size())
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([model.id_to_piece(i) for i in ids])
        writer.add_token_scores([model.get_score(i) for i in ids])
        writer.add_token_types([kind(i) for i in ids])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)

    write_vocabulary(HERE / "sentencepiece.gguf", add)
    # SentencePiece reads no control tokens out of text; files made for chat do.
    plain = [text for text in texts if not any(t in text for t in ("<s>", "</s>", "<unk>"))]
    return [{"text": text, "ids": [1, *model.encode(text)]} for text in plain[::5]]


if __name__ == "__main__":
    if len(sys.argv) > 1:  # the folder of tokenizer fixtures
        root = pathlib.Path(sys.argv[1])
        write_pre_tokenizers(root)
        ids = {"byte-level": write_byte_level_ids(root), "sentencepiece": write_sentencepiece_ids(root)}
        (HERE / "ids.json").write_text(json.dumps(ids) + "\n")
    write_blocks()
    expected = {"tiny-quantized": write_quantized_model(), "tiny-f32": write_float_model(),
                "tiny-split": write_split_model()}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
