"""Makes the golden data of the GGUF tests: quantized blocks with what they mean, and small files.

Run in this folder; made with Python 3.11, numpy 2.4.6 and gguf 0.19.0 (PyPI). `gguf.quants` is the
reference for blocks (K and IQ types it cannot quantize: random bytes with chosen scales).
"""

import json
import pathlib

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


if __name__ == "__main__":
    write_blocks()
