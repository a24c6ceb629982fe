#!/usr/bin/env python3
"""Checks and times shoehorn on a CUDA card in one call, on a machine that may have nothing but Python.

    python3 bench/gpu.py --out gpu.json                               builds the `cuda` preset first
    python3 bench/gpu.py --program build/cuda/shoehorn --only tests,kernels,bf16 --budget-seconds 300
    python3 bench/gpu_report.py gpu.json --doc docs/benchmarks.md     the tables

Weights are made up in memory (`shoehorn bench --synthetic`), those of transformers and bitsandbytes,
where they are installed, on the card: no model is downloaded. What the card's memory, its matrix units,
the link and the host's memory do at best is measured in the same call (steps `doctor` and `kernels`), and
every figure is put beside the bound that these rates set. The JSON is written anew after every step, so
that a call that is cut off leaves what it had.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import child
import machine
from llama_shape import SHAPES

ROOT = Path(__file__).resolve().parent.parent
GB = 1e9
FORMS = {
    "bf16": [],
    "int8": ["--load-in-8bit"],
    "nf4": ["--load-in-4bit", "--bnb-4bit-quant-type", "nf4", "--bnb-4bit-compute-dtype", "bfloat16"],
}
OFFLOAD_BATCHES = (1, 32)
# Shapes that `shoehorn --synthetic` and llama_shape.py both know.
MODELS = ("smollm2-135m", "llama-1.1b", "llama-3-8b", "llama-13b", "llama-30b")


@dataclass(frozen=True)
class Tools:
    """The programs of one build folder."""

    program: Path

    @property
    def build(self) -> Path:
        return self.program.parent

    def find(self, name: str) -> Path | None:
        found = [path for path in self.build.rglob(name) if path.is_file() and os.access(path, os.X_OK)]
        return found[0] if found else None


@dataclass(frozen=True)
class Step:
    name: str
    about: str
    action: Callable[[argparse.Namespace, Tools, float], dict]  # the last: seconds it may take
    by_default: bool = True


def run_text(command: list, limit_s: float) -> tuple[str, str]:
    """(all it said, why it failed or nothing)"""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        said = said if isinstance(said, str) else said.decode(errors="replace")
        return said, f"no end within {limit_s:.0f} s"
    except OSError as error:
        return "", f"cannot be started: {error.strerror}"
    problem = "" if done.returncode == 0 else f"exit code {done.returncode}: {child.last_words(done.stdout)}"
    return done.stdout, problem


def run_json(command: list, limit_s: float) -> dict:
    threads = len(os.sched_getaffinity(0))
    outcome = child.run(command, threads, limit_s)
    return {
        "command": " ".join(map(str, command)),
        "problem": outcome.problem,
        "result": outcome.result,
        "peak_rss_bytes": outcome.peak_rss_bytes,
    }


# The steps.


def build(args: argparse.Namespace, tools: Tools, limit_s: float) -> dict:
    configure = ["cmake", "--preset", "cuda", *args.cmake]
    said, problem = run_text(configure, limit_s)
    if not problem:
        targets = ["shoehorn", "cuda_checks", "cuda_bench"]
        jobs = str(len(os.sched_getaffinity(0)))
        said, problem = run_text(
            ["cmake", "--build", "--preset", "cuda", "-j", jobs, "--target", *targets], limit_s
        )
    return {"command": " ".join(configure), "problem": problem, "tail": said[-4000:] if problem else ""}


def doctor(args: argparse.Namespace, tools: Tools, limit_s: float) -> dict:
    return run_json([tools.program, "doctor", "--json"], limit_s)


def counts(text: str) -> dict:
    """What programs of GoogleTest say at their end, added up."""
    sums = {}
    for key, word in (("passed", "PASSED"), ("failed", "FAILED"), ("skipped", "SKIPPED")):
        sums[key] = sum(int(n) for n in re.findall(rf"\[  {word} *\] (\d+) test", text))
    return sums


def tests(args: argparse.Namespace, tools: Tools, limit_s: float) -> dict:
    command = ["ctest", "--test-dir", tools.build, "-L", "cuda", "--no-tests=error", "--verbose"]
    said, problem = run_text(command, limit_s)
    return {
        "command": " ".join(map(str, command)),
        "problem": problem,
        "result": counts(said),
        "failures": re.findall(r"\[  FAILED  \] (\S+\.\S+)", said)[:100],
        "tail": said[-6000:] if problem else "",
    }


def sanitize(tool: str) -> Callable[[argparse.Namespace, Tools, float], dict]:
    def step(args: argparse.Namespace, tools: Tools, limit_s: float) -> dict:
        program, sanitizer = tools.find("cuda_tests"), shutil.which("compute-sanitizer")
        if program is None or sanitizer is None:
            return {"problem": "there is no " + ("cuda_tests" if sanitizer else "compute-sanitizer")}
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", program]
        if args.sanitize_filter:
            command.append(f"--gtest_filter={args.sanitize_filter}")
        said, problem = run_text(command, limit_s)
        summary = re.findall(r"=+ (?:ERROR|RACECHECK) SUMMARY: (.*)", said)
        return {
            "command": " ".join(map(str, command)),
            "problem": problem,
            "result": {**counts(said), "summary": summary[-1] if summary else ""},
            "tail": said[-6000:] if problem else "",
        }

    return step


def kernels(args: argparse.Namespace, tools: Tools, limit_s: float) -> dict:
    program = tools.find("cuda_bench")
    if program is None:
        return {"problem": f"there is no cuda_bench in {tools.build}"}
    return run_json([program, "--json", *([args.kernels] if args.kernels else [])], limit_s)


def model(form: str) -> Callable[[argparse.Namespace, Tools, float], dict]:
    def step(args: argparse.Namespace, tools: Tools, limit_s: float) -> dict:
        command = [tools.program, "bench", "--synthetic", args.shape, "--device-map", "cuda:0"]
        command += ["--prompt-tokens", args.prompt_tokens, "--gen-tokens", args.gen_tokens]
        command += ["--repetitions", args.repetitions, "--no-probe", "--json", *FORMS[form]]
        return run_json(command, limit_s)

    return step


def offload(batch: int) -> Callable[[argparse.Namespace, Tools, float], dict]:
    def step(args: argparse.Namespace, tools: Tools, limit_s: float) -> dict:
        command = [tools.program, "bench", "--synthetic", args.offload_shape]
        command += ["--max-memory", args.offload_memory, "--batch", batch]
        command += ["--prompt-tokens", 16, "--gen-tokens", args.offload_tokens]
        command += ["--repetitions", 1, "--no-probe", "--json"]
        return run_json(command, limit_s)

    return step


def peer(form: str) -> Callable[[argparse.Namespace, Tools, float], dict]:
    def step(args: argparse.Namespace, tools: Tools, limit_s: float) -> dict:
        needed = ["torch", "transformers", *([] if form == "bf16" else ["bitsandbytes"])]
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            return {"problem": f"not installed: {', '.join(missing)}"}
        command = [sys.executable, Path(__file__).with_name("gpu_peer.py"), form, "--shape", args.shape]
        command += ["--prompt-tokens", args.prompt_tokens, "--gen-tokens", args.gen_tokens]
        command += ["--repetitions", args.repetitions]
        return run_json(command, limit_s)

    return step


STEPS = [
    Step("doctor", "what the machine is, what the host's memory does", doctor),
    Step("tests", "ctest -L cuda", tests),
    Step("kernels", "cuda_bench: every kernel, and what card and link do at best", kernels),
    *(Step(form, f"the model on the card, {form}", model(form)) for form in FORMS),
    *(Step(f"offload-{n}", f"weights in host memory, batch {n}", offload(n)) for n in OFFLOAD_BATCHES),
    *(Step(f"peer-{form}", "the same by transformers and bitsandbytes", peer(form)) for form in FORMS),
    Step("memcheck", "compute-sanitizer over the kernel tests", sanitize("memcheck"), by_default=False),
    Step("racecheck", "likewise", sanitize("racecheck"), by_default=False),
]


# Bounds and shares.


def rates(record: dict) -> dict[str, float]:
    """What was measured at best in this call, in GB/s and TFLOP/s; only what is known."""
    found = {}
    host = result_of(record, "doctor")
    if host:
        found["host_gb_s"] = host["rates"]["memory_gb_s"]
        cards = host.get("cuda", {}).get("cards", [])
        found |= {key: value for key, value in (cards[0]["rates"] or {}).items() if value} if cards else {}
    # What the kernels were timed beside, where both are there.
    bench = result_of(record, "kernels") or {}
    keys = ("copy_gb_s", "matrix_tflop_s", "host_beside_link_gb_s", "link_beside_host_gb_s")
    found |= {key: bench[key] for key in keys if bench.get(key)}
    return found


def result_of(record: dict, name: str) -> dict | None:
    return record["steps"].get(name, {}).get("result")


def share(value: float | None, bound: float | None) -> float | None:
    return value / bound if value and bound else None


def model_figures(record: dict, name: str) -> dict:
    """Rates, and their share of the card's memory (weights alone) and matrix rates."""
    settings, best = record["settings"], rates(record)
    result = result_of(record, name) or {}
    shape = SHAPES[settings["shape"]]
    figures = {key: result[key] for key in ("decode_tok_s", "prefill_tok_s") if result.get(key)}
    form = name.removeprefix("peer-")
    # The same count for every engine: what this form's weights take, the head in 16 bits.
    value_bytes = {"bf16": 2, "int8": 1, "nf4": 0.5 + 4 / 64}[form]
    weight_bytes = shape.decode_bytes(value_bytes, 2)
    flops = shape.prefill_flops(settings["prompt_tokens"]) / settings["prompt_tokens"]
    if "decode_tok_s" in figures:
        figures["decode_gb_s"] = figures["decode_tok_s"] * weight_bytes / GB
        figures["decode_share"] = share(figures["decode_gb_s"], best.get("copy_gb_s"))
    if "prefill_tok_s" in figures:
        figures["prefill_tflop_s"] = figures["prefill_tok_s"] * flops / 1e12
        figures["prefill_share"] = share(figures["prefill_tflop_s"], best.get("matrix_tflop_s"))
    return figures


def offload_figures(record: dict, batch: int) -> dict:
    """Decode, and its share of what reading the host's weights once a pass allows: over the link alone,
    and by link and processor side by side, at what both reached at once, or, where that was not measured,
    each alone."""
    result = result_of(record, f"offload-{batch}") or {}
    if not result.get("decode_tok_s"):
        return {}
    best = rates(record)
    figures = {"decode_tok_s": result["decode_tok_s"], "prefill_tok_s": result.get("prefill_tok_s")}
    shape = SHAPES[record["settings"]["offload_shape"]]
    host_bytes = result["bytes"].get("cpu", 0)
    if result["device_map"].get("model.embed_tokens", result["device_map"].get("")) == "cpu":
        host_bytes -= 2 * shape.head_values()  # one row of it is read
    figures["host_bytes"] = host_bytes
    passes_s = result["decode_tok_s"] / batch
    figures["host_gb_s"] = passes_s * host_bytes / GB
    figures["link_share"] = share(figures["host_gb_s"], best.get("link_gb_s"))
    if "link_beside_host_gb_s" in best:
        both = best["link_beside_host_gb_s"] + best["host_beside_link_gb_s"]
        figures["both_share"] = share(figures["host_gb_s"], both)
    elif "link_gb_s" in best and "host_gb_s" in best:
        figures["both_share"] = share(figures["host_gb_s"], best["link_gb_s"] + best["host_gb_s"])
    return figures


def add_figures(record: dict) -> None:
    record["rates"] = rates(record)
    figures = {}
    for form in FORMS:
        for name in (form, f"peer-{form}"):
            figures[name] = model_figures(record, name)
    for batch in OFFLOAD_BATCHES:
        figures[f"offload-{batch}"] = offload_figures(record, batch)
    record["figures"] = {name: found for name, found in figures.items() if found}


# The call.


def card_of(record: dict) -> str:
    cards = (result_of(record, "doctor") or {}).get("cuda", {}).get("cards", [])
    return cards[0]["name"] if cards else (result_of(record, "kernels") or {}).get("card", "")


def write(record: dict, out: Path) -> None:
    add_figures(record)
    record["card"] = card_of(record)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".tmp")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(out)


def say(record: dict, name: str) -> None:
    step = record["steps"][name]
    figures = {
        key: round(value, 3) for key, value in record["figures"].get(name, {}).items() if value is not None
    }
    result = step.get("result") if name in ("tests", "memcheck", "racecheck") else None
    print(f"{name:12} {step['seconds']:6.1f} s  {step['problem'] or result or figures or 'done'}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [step.name for step in STEPS]
    parser.add_argument("--program", type=Path, help="a built shoehorn; without it the cuda preset is built")
    parser.add_argument("--cmake", nargs="*", default=[], help="options for cmake: -DCMAKE_PREFIX_PATH=X")
    parser.add_argument("--out", type=Path, default=machine.bench_folder() / "gpu.json")
    parser.add_argument("--only", default="", help=f"steps, comma-separated, of {', '.join(names)}")
    parser.add_argument("--budget-seconds", type=float, default=600, help="for all steps together")
    parser.add_argument("--step-seconds", type=float, default=180, help="for any one of them")
    parser.add_argument("--kernels", default="", help="only the cases whose name holds this")
    parser.add_argument("--sanitize-filter", default="", help="a --gtest_filter for memcheck and racecheck")
    parser.add_argument("--shape", default="llama-3-8b", choices=MODELS)
    parser.add_argument("--prompt-tokens", type=int, default=2048)
    parser.add_argument("--gen-tokens", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--offload-shape", default="llama-30b", choices=MODELS)
    parser.add_argument("--offload-memory", default="0=16GiB,cpu=100GiB")
    parser.add_argument("--offload-tokens", type=int, default=8)
    args = parser.parse_args()
    args.only = [name for name in args.only.split(",") if name]
    unknown = [name for name in args.only if name not in names]
    if unknown:
        parser.error(f"--only {','.join(unknown)}: steps are {', '.join(names)}")
    return args


def main() -> int:
    args = parse_arguments()
    end = time.monotonic() + args.budget_seconds
    tools = Tools((args.program or ROOT / "build/cuda/shoehorn").resolve())
    args.out = args.out.resolve()
    os.chdir(ROOT)
    steps = [step for step in STEPS if (step.name in args.only if args.only else step.by_default)]
    if args.program is None:
        steps.insert(0, Step("build", "", build))
    elif not tools.program.exists():
        print(f"gpu.py: there is no {tools.program}", file=sys.stderr)
        return 2
    kept = ("shape", "prompt_tokens", "gen_tokens", "repetitions")
    offloaded = ("offload_shape", "offload_memory", "offload_tokens")
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.describe(),
        "settings": {key: getattr(args, key) for key in kept + offloaded},
        "steps": {},
    }
    for step in steps:
        left = end - time.monotonic()
        start = time.monotonic()
        limit = left if step.name == "build" else min(left, args.step_seconds)
        if limit < 1:
            outcome = {"problem": "no time was left"}
        else:
            outcome = step.action(args, tools, limit)
        outcome["seconds"] = time.monotonic() - start
        record["steps"][step.name] = outcome
        write(record, args.out)
        say(record, step.name)
        if step.name == "build" and outcome["problem"]:
            print(outcome["tail"], file=sys.stderr)
            break
    print(args.out)
    # A peer that is not there is no failure.
    failed = [name for name, step in record["steps"].items() if step["problem"]]
    return 0 if all(name.startswith("peer-") for name in failed) else 1


if __name__ == "__main__":
    sys.exit(main())
