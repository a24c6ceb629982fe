#!/usr/bin/env python3
"""Runs shoehorn and engines from PyPI on the same weights, side by side, and writes docs/benchmarks.md.

    bench/compare.py llama-1.1b                          # makes the checkpoint, runs everything installed
    bench/compare.py FOLDER --peers transformers,llama-cpp-python:bf16+q4_0 --repetitions 5
    bench/compare.py llama-1.1b --peers none             # shoehorn alone, with its own probes
    bench/compare.py FOLDER --max-memory cpu=1500MiB --peers accelerate     # both stream from disk
    bench/compare.py --render RESULT.json                # writes the section again, runs nothing

MODEL is a checkpoint folder, or a shape that bench/make_checkpoint.py knows. The engines must be
installed in the Python that runs this script, or in the one given by --python:

    pip install torch transformers accelerate bitsandbytes ctranslate2 openvino-genai gguf numpy
    CMAKE_ARGS="-DGGML_NATIVE=ON" pip install llama-cpp-python     # built for this processor

One that is missing, crashes or takes too long gets a row that says so. How it is measured:

  * Every measurement is a process of its own, pinned to the first N cores, N threads. All rows are run
    once, then all again (A B C, A B C, ...), and the table holds medians: a machine that drifts drifts
    for all of them.
  * The files lie in the page cache. Loading is timed without the engine's imports; "start" is the wall
    time from starting the process to the first token after a prompt of two, imports included.
  * Prefill: from feeding P ids to knowing the first token. Decode: the time of G more tokens, picked
    greedily, end tokens ignored, after a prompt of --decode-prompt-tokens. Each after a warm-up with
    the same prompt length.
  * Bytes and operations are counted the same way for all, from the shape (bench/llama_shape.py), and set
    beside the read bandwidth and the f32 FMA peak that `shoehorn bench` probes in the same run.
  * Before each process the script looks whether something else uses the processor; the section says so.

The full record (every repetition, every command) goes to a JSON file, whose name is printed.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
import zlib
from pathlib import Path

import child
import machine
import report
from llama_shape import SHAPES, LlamaShape
from peers import PEERS

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).resolve().parent / "peer_worker.py"

# How shoehorn is asked for each form of the weights; "@isa" behind a form sets SHOEHORN_ISA.
NF4 = ["--load-in-4bit", "--bnb-4bit-quant-type", "nf4"]
SHOEHORN_FORMS = {
    "auto": [],
    "bf16": ["--dtype", "bfloat16"],
    "f16": ["--dtype", "float16"],
    "f32": ["--dtype", "float32"],
    "int8": ["--load-in-8bit"],
    "nf4": [*NF4, "--bnb-4bit-compute-dtype", "int8"],
    "nf4-dq": [*NF4, "--bnb-4bit-use-double-quant", "--bnb-4bit-compute-dtype", "int8"],
    "nf4-float": [*NF4, "--bnb-4bit-compute-dtype", "float32"],
    "nf4-bf16": [*NF4, "--bnb-4bit-compute-dtype", "bfloat16"],
    "fp4": ["--load-in-4bit", "--bnb-4bit-quant-type", "fp4", "--bnb-4bit-compute-dtype", "int8"],
    # the GGUF file that llama.cpp gets, as it is
    "q8_0": [],
    "q4_0": [],
    "q4_1": [],
    "q4_k": [],
}
GGUF_FORMS = ("q8_0", "q4_0", "q4_1", "q4_k")


OUTLIERS = "-outliers"  # behind a shape: norms whose weights make six features of every layer outliers


def find_model(name: str, python: str) -> Path:
    """The folder itself, or the checkpoint of that shape, made if need be."""
    shape = name.removesuffix(OUTLIERS)
    if shape not in SHAPES:
        if not (Path(name) / "config.json").exists():
            raise SystemExit(f"{name}: no checkpoint folder, and no shape of {', '.join(SHAPES)}")
        return Path(name).resolve()
    command = [python, ROOT / "bench/make_checkpoint.py", "--shape", shape]
    if name.endswith(OUTLIERS):
        command += ["--outlier-features", "6", "--out", machine.bench_folder() / f"{name}-bf16"]
    outcome = subprocess.run(list(map(str, command)))
    if outcome.returncode:
        raise SystemExit(f"{name}: the checkpoint could not be made")
    return machine.bench_folder() / f"{name}-bf16"


def fingerprint(model: Path) -> str:
    """Changes when the weights do, so that a conversion of older ones is not used."""
    files = sorted(model.glob("*.safetensors"))
    return (
        f"{zlib.crc32(repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]).encode()):08x}"
    )


def parse_peers(text: str) -> list[tuple[str, str]]:
    """transformers,bitsandbytes:int8+nf4 -> [(transformers, bf16), (bitsandbytes, int8), (bitsandbytes, nf4)]"""
    chosen = []
    for item in [] if text == "none" else (PEERS if text == "all" else text.split(",")):
        name, _, forms = item.partition(":")
        if name not in PEERS:
            raise SystemExit(f"--peers {name}: the engines are {', '.join(PEERS)} (or all, none)")
        for form in forms.split("+") if forms else PEERS[name].default_forms:
            if form not in PEERS[name].forms:
                raise SystemExit(f"--peers {name}:{form}: its forms are {', '.join(PEERS[name].forms)}")
            chosen.append((name, form))
    return chosen


def versions(python: str) -> dict[str, str]:
    """Version of each installed package, in the Python that runs the engines."""
    packages = sorted({*(peer.package for peer in PEERS.values()), "torch", "openvino", "gguf", "numpy"})
    code = (
        "import importlib.metadata as m, json, sys\nfound = {'python': sys.version.split()[0]}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    return child.run([python, "-c", code, *packages], 1, 60).result or {}


class Row:
    """One engine with one form of the weights."""

    def __init__(self, engine: str, form: str, isa: str = ""):
        self.engine, self.form, self.isa = engine, form, isa
        self.problem = ""
        self.notes = ""
        self.commands: list[str] = []
        self.runs: list[dict] = []

    @property
    def label(self) -> str:
        return f"{self.engine} {self.form}" + (f", SHOEHORN_ISA={self.isa}" if self.isa else "")

    def record(self) -> dict:
        return {
            "engine": self.engine,
            "form": self.form,
            "isa": self.isa,
            "label": self.label,
            "problem": self.problem,
            "notes": self.notes,
            "commands": self.commands,
            "runs": self.runs,
        }


def lengths(args: argparse.Namespace) -> list[tuple[int, int]]:
    """(prompt, picked tokens) of each generation: the long prompt, then the one that decodes."""
    decode = (args.decode_prompt_tokens, args.gen_tokens + 1)
    return [decode] if args.decode_prompt_tokens == args.prompt_tokens else [(args.prompt_tokens, 1), decode]


def shoehorn(row: Row, args: argparse.Namespace, model: Path, verb: str, options: str) -> tuple[list, dict]:
    """The command and the environment that give this row's form to `shoehorn VERB MODEL`."""
    command = [args.shoehorn_binary, verb, model, *options.split(), "--threads", args.threads]
    command += SHOEHORN_FORMS[row.form]
    if args.max_memory:
        command += ["--max-memory", args.max_memory]
    return command + ["--json"], {"SHOEHORN_ISA": row.isa} if row.isa else {}


def time_shoehorn_start(row: Row, args: argparse.Namespace, model: Path, log: Path) -> float | None:
    """Wall time of a whole process that answers one token; None where it fails, which the log explains."""
    command, env = shoehorn(row, args, model, "run", "--ids 20,21 --max-new-tokens 1 --max-context 16")
    outcome = child.run(command, args.threads, args.timeout, env, log)
    return outcome.wall_s if outcome.result else None


def run_shoehorn(row: Row, args: argparse.Namespace, model: Path, log: Path) -> dict | None:
    """One call of `shoehorn bench` for each of lengths(), or None with row.problem set.

    It warms up by itself and, like the engines' worker, counts the first token to the prompt."""
    answers, peaks = [], []
    for number, (prompt, picked) in enumerate(lengths(args)):
        options = f"--prompt-tokens {prompt} --gen-tokens {picked} --repetitions 1"
        command, env = shoehorn(row, args, model, "bench", options)
        if len(row.commands) <= number:
            row.commands.append("".join(f"{k}={v} " for k, v in env.items()) + printable(command))
        outcome = child.run(command, args.threads, args.timeout, env, log)
        if outcome.result is None:
            row.problem = outcome.problem
            return None
        answers.append(outcome.result)
        # Its own figure, taken before its probes fill memory.
        peaks.append(outcome.result.get("peak_rss_bytes", outcome.peak_rss_bytes))
    return {
        "load_s": answers[0]["load_s"],
        "start_to_token_s": time_shoehorn_start(row, args, model, log),
        "prefill_tok_s": answers[0]["prefill_tok_s"],
        "decode_tok_s": answers[-1]["decode_tok_s"],
        "peak_rss_bytes": max(peaks),
        "probes": [answer.get("probe", {}) for answer in answers],
        "answers": answers,
    }


def run_peer(row: Row, args: argparse.Namespace, path: Path, shape: LlamaShape, log: Path) -> dict | None:
    command = [
        args.python,
        WORKER,
        "measure",
        row.engine,
        row.form,
        path,
        "--threads",
        args.threads,
        "--prompts",
        ",".join(f"{prompt}+{picked}" for prompt, picked in lengths(args)),
        "--vocab-size",
        shape.vocab_size,
    ]
    if args.max_memory and row.engine == "accelerate":
        command += ["--max-memory", args.max_memory, "--offload-folder", machine.bench_folder() / "offload"]
    if not row.commands:
        row.commands.append(printable(command))
    outcome = child.run(command, args.threads, args.timeout, log=log)
    if outcome.result is None:
        row.problem = outcome.problem
        return None
    row.notes = outcome.result["notes"]
    first, last = outcome.result["runs"][0], outcome.result["runs"][-1]
    return {
        "load_s": outcome.result["load_s"],
        "start_to_token_s": outcome.result["start_to_token_s"],
        "prefill_tok_s": first["prompt_tokens"] / first["first_token_s"],
        "decode_tok_s": last["more_tokens"] / last["more_tokens_s"],
        "peak_rss_bytes": outcome.peak_rss_bytes,
    }


def printable(command: list) -> str:
    """The command as a reader would type it: no path of this machine but the last parts."""
    parts = []
    for part in map(str, command):
        path = Path(part)
        if part == sys.executable or path.name.startswith("python"):
            part, path = "python", Path("python")
        if path.is_absolute():
            part = (
                str(path.relative_to(ROOT))
                if path.is_relative_to(ROOT)
                else f"$TMPDIR/{path.relative_to(machine.bench_folder().parent)}"
                if path.is_relative_to(machine.bench_folder().parent)
                else path.name
            )
        parts.append(part if part.startswith("$TMPDIR/") else shlex.quote(part))
    return " ".join(parts)


def prepare(
    rows: list[Row], args: argparse.Namespace, model: Path, found: dict[str, str], log: Path
) -> dict[str, Path]:
    """Converts the model for each engine that needs it: row label -> what that engine opens."""
    paths = {}
    folder = machine.bench_folder() / "converted" / f"{model.name}-{fingerprint(model)}"
    for row in rows:
        engine = row.engine
        if engine == "shoehorn":
            if row.form not in GGUF_FORMS:
                continue
            engine = "llama-cpp-python"
        if PEERS[engine].package not in found:
            row.problem = f"{PEERS[engine].package} is not installed"
            continue
        say(f"preparing {row.label}")
        outcome = child.run(
            [args.python, WORKER, "prepare", engine, row.form, model, folder],
            args.threads,
            args.timeout,
            log=log,
        )
        if outcome.result is None:
            row.problem = f"conversion: {outcome.problem}"
        else:
            paths[row.label] = Path(outcome.result["path"])
    return paths


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def measure(
    rows: list[Row],
    args: argparse.Namespace,
    model: Path,
    shape: LlamaShape,
    paths: dict[str, Path],
    log: Path,
) -> None:
    for repetition in range(args.repetitions):
        for row in rows:
            if row.problem:
                continue
            machine.read_through(paths.get(row.label, model))
            busy = machine.wait_until_idle(args.wait_idle)
            run = (
                run_shoehorn(row, args, paths.get(row.label, model), log)
                if row.engine == "shoehorn"
                else run_peer(row, args, paths[row.label], shape, log)
            )
            if run is None:
                say(f"{repetition + 1}/{args.repetitions} {row.label}: {row.problem}")
                continue
            row.runs.append({**run, "others_busy": busy})
            say(
                f"{repetition + 1}/{args.repetitions} {row.label}: prefill {run['prefill_tok_s']:.1f} tok/s, decode "
                f"{run['decode_tok_s']:.2f} tok/s, load {run['load_s']:.2f} s"
                + (f" (others used {busy:.0%} of the processor)" if busy > 0.05 else "")
            )


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", nargs="?", default="llama-1.1b", help="checkpoint folder or shape (default llama-1.1b)")
    add(
        "--peers",
        default="all",
        help=f"engines, each with its forms after a colon: {', '.join(PEERS)}; all; none",
    )
    add(
        "--shoehorn",
        default="bf16,bf16@avx2",
        help=f"forms of shoehorn's rows: {', '.join(SHOEHORN_FORMS)}, with "
        "@ISA for SHOEHORN_ISA; none (default bf16,bf16@avx2)",
    )
    add("--shoehorn-binary", type=Path, default=ROOT / "build/release/shoehorn")
    add("--prompt-tokens", type=int, default=512, help="length of the prompt whose prefill is timed")
    add(
        "--decode-prompt-tokens", type=int, default=128, help="length of the prompt before the decoded tokens"
    )
    add("--gen-tokens", type=int, default=64, help="tokens whose decoding is timed")
    add(
        "--threads",
        type=int,
        default=machine.describe()["cores"],
        help="default: all cores this process may use",
    )
    add("--repetitions", type=int, default=3)
    add("--timeout", type=float, default=900, help="seconds for one process")
    add("--wait-idle", type=float, default=20, help="seconds to wait for others to leave the processor")
    add(
        "--max-memory",
        default="",
        help="given to shoehorn and accelerate, which then stream the rest from disk",
    )
    add("--python", default=sys.executable, help="the Python that has the engines")
    add("--name", default="", help="name of the section (default: model and lengths)")
    add("--save", type=Path, help="where the full record goes")
    add("--doc", type=Path, default=ROOT / "docs/benchmarks.md")
    add("--no-doc", action="store_true", help="print the section instead of writing it")
    add("--render", type=Path, metavar="RESULT.json", help="write the section of an earlier record")
    return parser.parse_args(argv)


def shoehorn_rows(text: str) -> list[Row]:
    rows = []
    for item in [] if text == "none" else text.split(","):
        form, _, isa = item.partition("@")
        if form not in SHOEHORN_FORMS:
            raise SystemExit(f"--shoehorn {form}: its forms are {', '.join(SHOEHORN_FORMS)}")
        rows.append(Row("shoehorn", form, isa))
    return rows


def main() -> None:
    args = parse()
    if args.render:
        report.publish(json.loads(args.render.read_text()), None if args.no_doc else args.doc)
        return
    rows = shoehorn_rows(args.shoehorn) + [Row(name, form) for name, form in parse_peers(args.peers)]
    model = find_model(args.model, args.python)
    shape = LlamaShape.from_config(json.loads((model / "config.json").read_text()))
    name = args.name or re.sub(
        r"[^\w.-]",
        "-",
        f"{model.name}-p{args.prompt_tokens}-d{args.decode_prompt_tokens}"
        f"-g{args.gen_tokens}" + (f"-{args.max_memory}" if args.max_memory else ""),
    )
    save = args.save or machine.bench_folder() / "results" / f"{name}.json"
    save.parent.mkdir(parents=True, exist_ok=True)
    log = save.with_suffix(".log")
    log.write_text("")
    found = versions(args.python)
    paths = prepare(rows, args, model, found, log)
    measure(rows, args, model, shape, paths, log)
    settings = {
        key: getattr(args, key)
        for key in (
            "prompt_tokens",
            "decode_prompt_tokens",
            "gen_tokens",
            "threads",
            "repetitions",
            "max_memory",
        )
    }
    result = {
        "name": name,
        "model": model.name,
        "config": json.loads((model / "config.json").read_text()),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.describe(),
        "versions": found,
        "settings": settings,
        "rows": [row.record() for row in rows],
    }
    save.write_text(json.dumps(result, indent=1) + "\n")
    say(f"full record: {save}; output of every process: {log}")
    report.publish(result, None if args.no_doc else args.doc)


if __name__ == "__main__":
    main()
