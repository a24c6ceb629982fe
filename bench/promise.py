#!/usr/bin/env python3
"""Does a plan keep its promise? Makes random models, plans each under random limits, contexts, batches
and types, runs the plan inside a memory control group of exactly that limit, and compares what was
predicted with what was measured.

    bench/promise.py --plans 200                      # about a quarter of an hour
    bench/promise.py --plans 60 --seconds 300 --json promise.jsonl
    bench/promise.py --plans 100 --no-time            # memory alone: the machine may be busy
    bench/promise.py --plans 200 --read-rate 400      # the drive held to 400 MB/s
    bench/promise.py --plans 200 --seconds 300 --json promise.jsonl --resume    # again and again, in slices

Of every plan it says: was the process killed; how far apart predicted and measured peak are (held to 2 %
of the limit + 64 MiB, both ways); how far the measured time of a decode pass is from the predicted one
(held to 25 % for 90 % of the plans); small models generate more tokens, and short runs are repeated, so that
there is something to measure. A shared drive whose rate changes from second to second breaks any prediction
of time: --read-rate has the group hold it to a rate that it always has. It has not in the seconds after a
gigabyte was written, so after making a model, and after a plan that wrote converted weights, the benchmark
waits (--settle). Half of the models have 0.5 GiB of weights or more. Models are made in a temporary folder and
removed. Needs a writable memory cgroup (v1 or v2, as root); where there is none
the process gets an RLIMIT_DATA of that size, and its recorded peak is what counts. Exit status 1 where a
promise was broken.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from cgroup import Cgroup
from llama_shape import LlamaShape

MIB = 1 << 20
LARGE = 512 * MIB
BLOCK = 8 * MIB
FORMS = [
    [],
    [],
    ["--dtype", "float32"],
    ["--load-in-8bit"],
    ["--load-in-4bit", "--bnb-4bit-quant-type", "nf4"],
    ["--load-in-4bit", "--bnb-4bit-quant-type", "fp4", "--bnb-4bit-use-double-quant"],
    ["--tier-dtype", "disk=nf4,cpu=int8"],
    ["--tier-dtype", "disk=int8"],
]


def random_shape(rng, large):
    """A model of the Llama family: from 10 to 300 MiB in bfloat16, or from 0.5 to 1.2 GiB."""
    while True:
        head_dim = rng.choice([64, 64, 96, 128])
        kv_heads = rng.choice([1, 2, 4, 8])
        heads = kv_heads * rng.choice([1, 2, 4, 8])
        shape = LlamaShape(
            hidden_size=heads * head_dim,
            intermediate_size=64 * round(heads * head_dim * rng.uniform(2, 4) / 64),
            num_hidden_layers=rng.randint(4, 40),
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            vocab_size=128 * rng.randint(20, 500),
            head_dim=head_dim,
            tie_word_embeddings=rng.random() < 0.4,
            max_position_embeddings=4096,
        )
        size = 2 * sum(dims(spec) for spec in shape.tensors())
        if (LARGE <= size <= 1.2 * (1 << 30)) if large else (10 * MIB <= size <= 300 * MIB):
            return shape, size


def dims(spec):
    count = 1
    for size in spec.shape:
        count *= size
    return count


def write_checkpoint(folder, shape, rng):
    """bfloat16 values between 1/128 and 1/64, of either sign: quick to make, never too large."""
    folder.mkdir(parents=True)
    high = rng.randbytes(BLOCK // 2).translate(bytes(0x3C if i < 128 else 0xBC for i in range(256)))
    block = bytearray(rng.randbytes(BLOCK))
    block[1::2] = high
    header, at = {}, 0
    for spec in shape.tensors():
        end = at + 2 * dims(spec)
        header[spec.name] = {"dtype": "BF16", "shape": list(spec.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for first in range(0, at, BLOCK):
            file.write(block[: min(BLOCK, at - first)])
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    config = dataclasses.asdict(shape) | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))


class Limit:
    """A control group of that size, or where none can be made an RLIMIT_DATA."""

    def __init__(self, limit, read_rate, path):
        self.limit = limit
        try:
            self.group = Cgroup(limit, read_rate, path)
        except OSError:
            if read_rate:
                raise
            self.group = None

    def __enter__(self):
        return self

    def enter(self):
        if self.group:
            self.group.enter()
        else:
            resource.setrlimit(resource.RLIMIT_DATA, (self.limit, self.limit))

    def __exit__(self, *_):
        if not self.group:
            return
        for _ in range(50):  # the last process of it may still be on its way out
            try:
                return self.group.__exit__()
            except OSError:
                time.sleep(0.1)


def call(arguments, limit=None, read_rate=None, path="."):
    """The command's JSON, and what went wrong where there is none."""
    if limit is None:
        result = subprocess.run(arguments, capture_output=True, text=True)
    else:
        with Limit(limit, read_rate, path) as held:
            result = subprocess.run(arguments, capture_output=True, text=True, preexec_fn=held.enter)
    if result.returncode != 0:
        return None, f"exit {result.returncode}: {result.stderr.strip()[-400:]}"
    return json.loads(result.stdout), None


def draw_options(rng, size):
    prompt = rng.choice([4, 16, 48, 100])
    generate = rng.randint(4, 8) * max(1, LARGE // size)
    context = prompt + generate + rng.choice([0, 0, 200, 1500])
    batch = rng.choice([1, 1, 1, 2, 4])
    return prompt, generate, batch, [
        "--max-context", str(context), "--max-batch", str(batch), *rng.choice(FORMS)]  # fmt: skip


def smallest_limit(options, model, flags):
    """What the plan itself says is the least, in MiB: the message of a refusal."""
    _, problem = call([options.shoehorn, "plan", model, *flags, "--max-memory", "cpu=1MiB"])
    found = re.search(r"--max-memory cpu=(\d+)MiB", problem or "")
    return int(found.group(1)) if found else None


def bytes_in(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def run_plan(options, rng, model, size, cache):
    prompt, generate, batch, flags = draw_options(rng, size)
    flags = [*flags, "--offload-folder", str(cache)]
    least = smallest_limit(options, model, flags)
    if least is None:
        return {"problem": "the refusal names no limit that works"}
    most = max(least + 1, int((size / MIB + least) * 1.1))
    limit_mib = least if rng.random() < 0.15 else rng.randint(least, most)
    arguments = [
        options.shoehorn, "bench", model, *flags, "--max-memory", f"cpu={limit_mib}MiB",
        "--prompt-tokens", str(prompt), "--gen-tokens", str(generate), "--batch", str(batch),
        "--repetitions", "1", "--least-seconds", str(options.least_seconds), "--no-probe", "--json",
        *([] if options.no_time else ["--predict"]),
    ]  # fmt: skip
    read_rate = round(options.read_rate * 1e6) if options.read_rate else None
    result, problem = call(arguments, limit_mib * MIB, read_rate, model)
    line = {"flags": " ".join(flags[:-2]), "limit_mib": limit_mib, "least_mib": least, "batch": batch,
            "prompt": prompt, "size_mib": size // MIB, "problem": problem}  # fmt: skip
    if problem:
        return line
    peak = result["peak_bytes"]
    line |= {"predicted_peak": peak["predicted"], "measured_peak": peak["measured"],
             "apart_mib": (peak["measured"] - peak["predicted"]) / MIB,
             "allowed_mib": 0.02 * limit_mib + 64,
             "streamed_mib": result["disk_bytes_per_token"] * batch / MIB}  # fmt: skip
    line["memory_held"] = abs(line["apart_mib"]) <= line["allowed_mib"] and peak["measured"] <= limit_mib * MIB
    if not options.no_time:
        predicted = result["predicted"]
        line |= {"bound_by": predicted["bound_by"], "predicted_tok_s": predicted["decode_tok_s"],
                 "predicted": predicted, "measured_tok_s": result["decode_tok_s"]}  # fmt: skip
        # Of the time: measured over predicted.
        line["time_ratio"] = predicted["decode_tok_s"] / result["decode_tok_s"]
        line["time_held"] = 0.75 <= line["time_ratio"] <= 1.25
    return line


def text_of(line):
    if line["problem"]:
        return f"FAILED {line}"
    text = (f"{line['size_mib']:5d} MiB in {line['limit_mib']:5d} MiB, streams {line['streamed_mib']:6.0f} MiB: "
            f"peak {line['apart_mib']:+6.1f} MiB of {line['allowed_mib']:.0f}"
            f"{'' if line['memory_held'] else ' BROKEN'}")  # fmt: skip
    if "time_ratio" in line:
        text += f", {line['measured_tok_s']:7.2f} tok/s, took {line['time_ratio']:.2f} of predicted"
        text += f" ({line['bound_by']}){'' if line['time_held'] else ' OFF'}"
    return f"{text}  {line['flags']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plans", type=int, default=200)
    parser.add_argument("--plans-per-model", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--read-rate", type=float, help="MB/s that the drive is held to")
    parser.add_argument("--no-time", action="store_true", help="memory alone")
    parser.add_argument("--least-seconds", type=float, default=1, help="that the runs of a plan take together")
    parser.add_argument("--settle", type=float, default=8, help="seconds to wait after something large was written")
    parser.add_argument("--resume", action="store_true", help="goes on after the plans that --json holds")
    parser.add_argument("--json", help="a line for every plan goes to this file")
    parser.add_argument("--shoehorn", default="build/release/shoehorn")
    options = parser.parse_args()
    if options.resume and not options.json:
        parser.error("--resume needs --json: the file that holds what was run")
    start = time.monotonic()
    lines = []
    if options.resume and os.path.exists(options.json):
        lines = [json.loads(line) for line in pathlib.Path(options.json).read_text().splitlines()]
    work = pathlib.Path(tempfile.mkdtemp(prefix="shoehorn-promise-"))
    try:
        while len(lines) < options.plans and time.monotonic() - start < options.seconds:
            number = len(lines) // options.plans_per_model
            rng = random.Random(f"{options.seed} model {number}")
            shape, size = random_shape(rng, large=number % 2 == 0)
            write_checkpoint(work / "model", shape, rng)
            written = size
            last = min((number + 1) * options.plans_per_model, options.plans)
            while len(lines) < last and time.monotonic() - start < options.seconds:
                # Each plan draws for itself, so that a run that is resumed makes the same ones.
                rng = random.Random(f"{options.seed} plan {len(lines)}")
                if written and not options.no_time:
                    time.sleep(options.settle * min(1, written / LARGE))
                before = bytes_in(work / "cache")
                lines.append(run_plan(options, rng, str(work / "model"), size, work / "cache"))
                written = max(0, bytes_in(work / "cache") - before)
                print(text_of(lines[-1]), flush=True)
                if options.json:
                    with open(options.json, "a") as file:
                        file.write(json.dumps(lines[-1]) + "\n")
            shutil.rmtree(work / "model")
            shutil.rmtree(work / "cache", ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    ran = [line for line in lines if not line["problem"]]
    failed = len(lines) - len(ran)
    held = sum(line["memory_held"] for line in ran)
    print(f"\n{len(lines)} plans ({sum(line.get('size_mib', 0) >= 512 for line in lines)} of 0.5 GiB or more): "
          f"{failed} failed or killed; peak held for {held} of {len(ran)}")  # fmt: skip
    broken = failed > 0 or held < len(ran)
    if not options.no_time and ran:
        timely = sum(line["time_held"] for line in ran)
        print(f"time within 25 % of the predicted for {timely} of {len(ran)} ({100 * timely / len(ran):.0f} %)")
        for name, streams in (("stream", True), ("stream 10 MiB or nothing", False)):
            ratios = sorted(line["time_ratio"] for line in ran if (line["streamed_mib"] > 10) == streams)
            if ratios:
                inside = sum(0.75 <= ratio <= 1.25 for ratio in ratios)
                print(f"  that {name}: {inside} of {len(ratios)}, median {ratios[len(ratios) // 2]:.2f} of predicted "
                      f"({ratios[0]:.2f} to {ratios[-1]:.2f})")  # fmt: skip
        broken = broken or timely < 0.9 * len(ran)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
